"""ImageNet weights of PyTorch's projects for the Core Networks that are built after them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.weights.safetensors_file import read_safetensors
from ssd_keras.weights.torch_files import read_state_dict

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
# What a batch normalization holds, in Keras' order.
_NORM = ("weight", "bias", "running_mean", "running_var")
# Modules behind the last map.
_HEADS = ("fc", "classifier", "conv_head", "norm_head")


def read_torch_backbone(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads layer name -> arrays, in Keras' names, order and layout.

    Known are torchvision's `resnet50` (Core Network ResNet50V15), and timm's `mobilenetv1_100`
    (MobileNetTorch) and `mobilenetv4_conv_small` (MobileNetV4ConvSmall). What stands behind the
    last map, such as the classifier, is left out.

    Args:
        path: a state dict (.pth, .pt, .bin) or a .safetensors file.

    Raises:
        UserError: the file cannot be read, or holds another network.

    Source: torchvision, models/resnet.py; timm, models/efficientnet.py and models/mobilenetv3.py.
    """
    safe = Path(path).suffix == ".safetensors"
    tensors = read_safetensors(path) if safe else read_state_dict(path)
    for mark, rename in _NETWORKS.items():
        if mark in tensors:
            return _layers(path, tensors, rename)
    raise UserError(
        f"'{path}' holds none of the networks that are known of PyTorch: torchvision's resnet50, "
        "timm's mobilenetv1_100 and mobilenetv4_conv_small. Give weights of Keras' own form for "
        "other backbones."
    )


def _layers(path, tensors: Mapping[str, np.ndarray], rename: Callable[[str], str]) -> dict:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, values in tensors.items():
        module, _, part = name.rpartition(".")
        if module.split(".")[0] not in _HEADS and part != "num_batches_tracked":
            modules.setdefault(module, {})[part] = values
    return {rename(module): _arrays(path, module, parts) for module, parts in modules.items()}


def _arrays(path, module: str, parts: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    if set(parts) == set(_NORM):
        return [parts[name] for name in _NORM]
    kernel = parts.get("weight")
    if set(parts) != {"weight"} or kernel.ndim != 4:
        raise UserError(
            f"'{path}': '{module}' ({', '.join(sorted(parts))}) is neither a convolution without "
            "bias nor a batch normalization."
        )
    if kernel.shape[1] == 1:
        # [channels, 1, height, width], a depthwise one.
        return [kernel.transpose(2, 3, 0, 1)]
    return [kernel.transpose(2, 3, 1, 0)]


def _resnet_name(module: str) -> str:
    """layer1.0.conv2 -> conv2_block1_2_conv."""
    found = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)", module)
    if not found:
        return {"conv1": "conv1_conv", "bn1": "conv1_bn"}.get(module, module)
    stage, block, kind, number = found.groups()
    if kind == "downsample.":
        kind, number = ("conv", "bn")[int(number)], 0
    return f"conv{int(stage) + 1}_block{int(block) + 1}_{number}_{kind}"


# Blocks of each stage of MobileNet, which has them numbered through.
_MOBILENET_STAGES = (1, 2, 2, 6, 2)


def _mobilenet_name(module: str) -> str:
    """blocks.1.0.bn2 -> conv_pw_2_bn."""
    found = re.fullmatch(r"blocks\.(\d)\.(\d)\.(conv_dw|bn1|conv_pw|bn2)", module)
    if not found:
        return {"conv_stem": "conv1", "bn1": "conv1_bn"}.get(module, module)
    stage, block, part = found.groups()
    number = sum(_MOBILENET_STAGES[: int(stage)]) + int(block) + 1
    layer = "conv_dw" if part in ("conv_dw", "bn1") else "conv_pw"
    return f"{layer}_{number}" + ("_bn" if part.startswith("bn") else "")


def _mobilenet_v4_name(module: str) -> str:
    """blocks.2.0.dw_start.bn -> blocks_2_0_dw_start_bn; blocks.0.0.bn1 -> blocks_0_0_bn."""
    if module in ("conv_stem", "bn1"):
        return "conv_stem_conv" if module == "conv_stem" else "conv_stem_bn"
    return re.sub(r"_bn1$", "_bn", module.replace(".", "_"))


# A tensor that no other of the networks has -> the names of layers from those of modules.
_NETWORKS: dict[str, Callable[[str], str]] = {
    "layer1.0.downsample.0.weight": _resnet_name,
    "blocks.0.0.conv_dw.weight": _mobilenet_name,
    "blocks.2.0.dw_start.conv.weight": _mobilenet_v4_name,
}
