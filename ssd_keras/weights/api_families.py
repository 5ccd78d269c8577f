"""Backbones of the TF Object Detection API, and what their layers are called here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import keras

from ssd_keras.backbones import (
    inception_v2,
    mobiledet,
    mobilenet,
    mobilenet_v2,
    mobilenet_v3,
    resnet50,
)
from ssd_keras.errors import UserError
from ssd_keras.weights.tensorflow_file import TensorFlowFile


@dataclasses.dataclass(frozen=True)
class Family:
    """A backbone of the API.

    Attributes:
        name: as in our model names.
        build: `(image_size, width, min_channels) -> keras.Model`.
        joins: the same with `finest_stride`, the maps that FPN joins; None if it is in no FPN.
        gate: what the API multiplies relu6(x + 3) by in squeeze and excitation, where that is not
            the sixth that hard sigmoid takes.
        layer: our names of (layer, batch norm) for a scope below the backbone's, or None.
        last: the layer whose output channels tell the width, and their number at width 1.
        first: the first layer and its output channels at width 1.
    """

    name: str
    build: Callable[..., keras.Model]
    layer: Callable[[str], tuple[str, str] | None]
    last: tuple[str, int]
    first: tuple[str, int]
    joins: Callable[..., keras.Model] | None = None
    gate: float | None = None

    def find_layer(self, scope: str) -> tuple[str, str] | None:
        """`layer` of a scope, or of its last part."""
        return self.layer(scope) or self.layer(scope.rpartition("/")[2])


def _mobilenet_layer(scope: str) -> tuple[str, str] | None:
    if scope in ("Conv2d_0", "conv1"):
        return "conv1", "conv1_bn"
    match = re.fullmatch(r"Conv2d_(\d+)_(depthwise|pointwise)", scope)
    if match:
        name = f"conv_{'dw' if match[2] == 'depthwise' else 'pw'}_{match[1]}"
        return name, f"{name}_bn"
    if re.fullmatch(r"conv_(dw|pw)_\d+", scope):
        return scope, f"{scope}_bn"
    return None


def _mobilenet_v2_layer(scope: str) -> tuple[str, str] | None:
    if scope in ("Conv", "Conv1"):
        return "Conv1", "bn_Conv1"
    if scope == "Conv_1":
        return "Conv_1", "Conv_1_bn"
    match = re.fullmatch(r"expanded_conv(?:_(\d+))?/(expand|depthwise|project)", scope)
    if match:
        block = f"block_{match[1]}" if match[1] else "expanded_conv"
        name = f"{block}_{match[2]}"
        return name, f"{name}_BN"
    if re.fullmatch(r"(block_\d+|expanded_conv)_(expand|depthwise|project)", scope):
        return scope, f"{scope}_BN"
    return None


def _mobilenet_v3_layer(scope: str) -> tuple[str, str] | None:
    if scope in ("Conv", "Conv_1"):
        return scope.lower(), f"{scope.lower()}_bn"
    block = r"expanded_conv(_\d+)?/(expand|depthwise|project|squeeze_excite/Conv(_1)?)"
    if re.fullmatch(block, scope):
        name = scope.replace("/", "_").lower()
        return name, f"{name}_bn"
    return None


def _mobilenet_v3_family(size: str, last: tuple[str, int]) -> Family:
    return Family(
        f"MobileNetV3{size.title()}Reduced",
        lambda image_size, width, least: mobilenet_v3(
            image_size, width=width, size=size, reduced_tail=True
        ),
        _mobilenet_v3_layer,
        last=last,
        first=("conv", 16),
        gate=0.16667,
    )


def _inception_layer(scope: str) -> tuple[str, str] | None:
    if re.fullmatch(r"(Mixed_\w+/Branch_\d/)?Conv2d_\d[a-z]_\dx\d", scope):
        name = scope.replace("/", "_")
        return name, f"{name}_bn"
    return None


def _mobiledet_layer(scope: str) -> tuple[str, str] | None:
    block = r"(IBN|IBNNoExpansion|FusedConv|TuckerConv)(_\d+)?/"
    if re.fullmatch(rf"({block}(SqueezeExcite/)?)?(Conv(_[12])?|SeparableConv2d)", scope):
        name = scope.replace("/", "_")
        return name, f"{name}_bn"
    return None


def _mobiledet_family(target: str, name: str, last: tuple[str, int], first: int) -> Family:
    return Family(
        name,
        lambda size, width, least: mobiledet(size, width=width, target=target),
        _mobiledet_layer,
        last=last,
        first=("Conv", first),
    )


def _resnet_layer(scope: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(conv1|conv[2-5]_block\d_[0-3])(_conv)?", scope)
    return (f"{match[1]}_conv", f"{match[1]}_bn") if match else None


_FAMILIES = {
    "MobilenetV1": Family(
        "MobileNet",
        lambda size, width, least: mobilenet(size, width=width, min_channels=least),
        _mobilenet_layer,
        last=("conv_pw_13", 1024),
        first=("conv1", 32),
        joins=lambda size, width, least, **maps: mobilenet(
            size, width=width, min_channels=least, **maps
        ),
    ),
    "MobilenetV2": Family(
        "MobileNetV2",
        lambda size, width, least: mobilenet_v2(size, width=width),
        _mobilenet_v2_layer,
        last=("block_16_project", 320),
        first=("Conv1", 32),
        joins=lambda size, width, least, **maps: mobilenet_v2(
            size, width=width, stage_ends=True, **maps
        ),
    ),
    # Both have one name; large goes on where small ends.
    "MobilenetV3/expanded_conv_14": _mobilenet_v3_family("large", ("expanded_conv_14_project", 80)),
    "MobilenetV3": _mobilenet_v3_family("small", ("expanded_conv_10_project", 48)),
    "InceptionV2": Family(
        "InceptionV2",
        lambda size, width, least: inception_v2(size, width=width),
        _inception_layer,
        last=("Mixed_5c_Branch_0_Conv2d_0a_1x1", 352),
        first=("Conv2d_1a_7x7", 64),
    ),
    "MobileDetCPU": _mobiledet_family("cpu", "MobileDetCPU", ("IBN_17_Conv_1", 144), 16),
    "MobileDetEdgeTPU": _mobiledet_family(
        "edgetpu", "MobileDetEdgeTPU", ("IBN_10_Conv_1", 384), 32
    ),
    "MobileDetDSP": _mobiledet_family("dsp", "MobileDetDSP", ("IBN_10_Conv_1", 240), 32),
    "ResNet50": Family(
        "ResNet50",
        lambda size, width, least: resnet50(size, width=width, version="api"),
        _resnet_layer,
        last=("conv5_block3_3_conv", 2048),
        first=("conv1_conv", 64),
        joins=lambda size, width, least, **maps: resnet50(size, width=width, version="api", **maps),
    ),
}


# Of families whose names do not say what they are, a layer that only they have.
_LAST_LAYERS = (
    ("MobilenetV1", "conv_pw_13"),
    ("MobilenetV2", "block_16_project"),
    ("ResNet50", "conv5_block3_3_conv"),
)


def find_family(file: TensorFlowFile, origin: str) -> Family:
    """The backbone that the tensors of a file belong to."""
    names = file.variables
    for key, family in _FAMILIES.items():
        if any(f"/{key}/" in f"/{name}" for name in names):
            return family
    tails = {name.rsplit("/", 2)[-2] for name in names if "/" in name}
    for key, layer in _LAST_LAYERS:
        if layer in tails:
            return _FAMILIES[key]
    known = ", ".join(family.name for family in _FAMILIES.values())
    raise UserError(
        f"{origin}: its tensors are not those of an SSD of the TF Object Detection API with one "
        f"of the backbones {known}."
    )


def width_of(parts: dict, family: Family, origin: str) -> float:
    """The width of the backbone, from the channels of its last layer."""
    name, full = family.last
    kernel = parts.get(name, {}).get("kernel")
    if kernel is None or kernel.ndim != 4:
        raise UserError(f"{origin}: the backbone has no layer '{name}' or not of this kind.")
    return kernel.shape[-1] / full


def fewest_channels(parts: dict, family: Family) -> int:
    """The fewest channels that a layer of the backbone has, which the API limits."""
    name, _ = family.first
    first = parts.get(name, {}).get("kernel")
    return int(first.shape[-1]) if first is not None else 8
