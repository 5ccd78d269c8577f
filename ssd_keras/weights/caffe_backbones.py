"""ImageNet weights of Caffe for Core Networks: fc-reduced VGG16 and ResNet-101."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ssd_keras.backbones.resnet import EPSILON
from ssd_keras.errors import UserError
from ssd_keras.reading import reading
from ssd_keras.weights.caffe import BATCH_NORM_EPSILON, read_caffemodel, statistics_of
from ssd_keras.weights.imported import batch_norm_arrays


def read_caffe_backbone(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads a `.caffemodel` of VGG16 or ResNet-101 as layer name -> arrays of our Core Networks.

    Layers that a Core Network does not have, such as classifiers, are left out.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    blobs = read_caffemodel(path)
    with reading(path, "VGG16 or ResNet-101 of Caffe"):
        arrays = {}
        for name, found in blobs.items():
            layer = _vgg_layer(name) or _resnet_layer(name)
            if layer is None or found[0].ndim != 4:
                continue
            arrays[layer] = [np.ascontiguousarray(found[0].transpose(2, 3, 1, 0))]
            if len(found) > 1:
                arrays[layer].append(found[1].reshape(-1))
            norm = f"bn_{name}" if name == "conv1" else name.replace("res", "bn", 1)
            if norm != name and norm in blobs:
                arrays[layer].append(np.zeros(found[0].shape[0], np.float32))
                scale = blobs[norm.replace("bn", "scale", 1)]
                arrays[layer.replace("_conv", "_bn")] = _batch_norm(blobs[norm], scale)
    if not arrays:
        raise UserError(
            f"'{path}' is neither VGG16 nor ResNet-101: it has no layer 'conv1_1' or "
            "'res2a_branch2a'."
        )
    return arrays


def _vgg_layer(name: str) -> str | None:
    match = re.fullmatch(r"conv([1-5])_([1-3])", name)
    if match:
        return f"block{match[1]}_conv{match[2]}"
    return name if name in ("fc6", "fc7") else None


def _resnet_layer(name: str) -> str | None:
    if name == "conv1":
        return "conv1_conv"
    match = re.fullmatch(r"res([2-5])([a-c])(\d*)_branch(1|2[a-c])", name)
    if not match:
        return None
    stage, letter, number, branch = match.groups()
    block = int(number) + 1 if number else "abc".index(letter) + 1
    place = 0 if branch == "1" else "abc".index(branch[1]) + 1
    return f"conv{stage}_block{block}_{place}_conv"


def _batch_norm(statistics: list[np.ndarray], scale: list[np.ndarray]) -> list[np.ndarray]:
    mean, variance = statistics_of(statistics)
    return batch_norm_arrays(
        EPSILON,
        gamma=scale[0].reshape(-1),
        beta=scale[1].reshape(-1),
        mean=mean,
        variance=variance,
        epsilon=BATCH_NORM_EPSILON,
    )
