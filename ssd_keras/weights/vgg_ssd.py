"""SSD300 and SSD512 with VGG16 of torchvision and of pierluigiferrari/ssd_keras, by name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import keras
import numpy as np

from ssd_keras.backbones import vgg16
from ssd_keras.box_networks import SSD, Extra, ListedAnchors
from ssd_keras.boxes.default_boxes import oblong_sizes
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights.imported import (
    Imported,
    Tensors,
    check_plan,
    common_class_count,
    fill,
    keep_classes,
    swap_codes,
)
from ssd_keras.weights.label_maps import class_list

SUPPRESSION = {"score_threshold": 0.01, "iou_threshold": 0.45, "max_detections": 200}
STEPS = {
    300: (8.0, 16.0, 32.0, 64.0, 100.0, 300.0),
    512: (8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0),
}
# Box sizes of each level as shares of the image, and of one level more (caffe-ssd's per cents).
SCALES = {
    (300, "voc"): (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05),
    (300, "coco"): (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    (512, "voc"): (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05),
    (512, "coco"): (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06),
}
_BLOCK_SIZES = (2, 2, 3, 3, 3)
_EXTRA_STEPS = ("reduce", "conv")
# Kernel, stride and padding of the extra levels.
_EXTRA_WINDOWS = {
    300: [(3, 2, 1)] * 2 + [(3, 1, "valid")] * 2,
    512: [(3, 2, 1)] * 4 + [(4, 1, 1)],
}

TORCHVISION_MEANS = (0.48235 * 255, 0.45882 * 255, 0.40784 * 255)
FERRARI_MEANS = (123.0, 117.0, 104.0)
COCO_CLASSES = 80


def import_torchvision(arrays: dict[str, np.ndarray], labels: dict[int, str] | None) -> Imported:
    """Builds and fills a detector from the state dict of torchvision's `ssd300_vgg16`.

    Raises:
        UserError: these are not its weights.
    """
    parts: dict[str, dict[str, tuple[str, np.ndarray]]] = {}
    unused = []
    for name, array in arrays.items():
        layer = _torchvision_layer(name)
        if layer is None:
            unused.append(name)
        else:
            part = "bias" if name.endswith(".bias") else "kernel"
            parts.setdefault(layer, {})[part] = (name, array)
    _refuse_unplaced(unused, "torchvision's ssd300_vgg16")
    weights = {}
    for layer, found in parts.items():
        kernel = found.get("kernel", (None, np.zeros(0)))[1]
        filled = [np.transpose(kernel, (2, 3, 1, 0)) if kernel.ndim == 4 else kernel]
        if "bias" in found:
            filled.append(found["bias"][1])
        weights[layer] = Tensors(filled, tuple(name for name, _ in found.values()))
    if "block1_conv1" in weights and weights["block1_conv1"].arrays[0].ndim == 4:
        # Its images are RGB, ours BGR behind the first layer.
        first = weights["block1_conv1"]
        first.arrays[0] = first.arrays[0][:, :, ::-1]

    def anchors(size, per_cell, _):
        # torchvision cuts sides down to the image's.
        return _anchors(size, "coco", per_cell, limit=1.0), "default boxes of its ssd300_vgg16"

    return _build(
        weights, "torchvision state dict", 300, TORCHVISION_MEANS, anchors, labels, unused
    )


def _torchvision_layer(name: str) -> str | None:
    """Our layer for a key of the state dict."""
    if name == "backbone.scale_weight":
        return "block4_conv3_norm"
    stem = re.sub(r"\.(weight|bias)$", "", name)
    match = re.fullmatch(r"head\.(classification|regression)_head\.module_list\.(\d+)", stem)
    if match:
        return f"level{match[2]}_{'classes' if match[1] == 'classification' else 'boxes'}"
    convolutions = {}
    position = 0
    for block, count in enumerate(_BLOCK_SIZES[:4], start=1):
        for i in range(1, count + 1):
            convolutions[f"backbone.features.{position}"] = f"block{block}_conv{i}"
            position += 2
        position += 1
    convolutions |= {f"backbone.extra.0.{2 * i - 1}": f"block5_conv{i}" for i in (1, 2, 3)}
    convolutions |= {"backbone.extra.0.7.1": "fc6", "backbone.extra.0.7.3": "fc7"}
    for level in range(1, 5):
        convolutions[f"backbone.extra.{level}.0"] = f"extra{level}_reduce"
        convolutions[f"backbone.extra.{level}.2"] = f"extra{level}_conv"
    return convolutions.get(stem)


def import_ferrari(arrays: dict[str, list[np.ndarray]], labels: dict[int, str] | None) -> Imported:
    """Builds and fills a detector from an .h5 file of pierluigiferrari/ssd_keras.

    Raises:
        UserError: these are not weights of its SSD300 or SSD512.
    """
    sources = ["conv4_3_norm", "fc7"]
    while f"conv{len(sources) + 4}_2" in arrays:
        sources.append(f"conv{len(sources) + 4}_2")
    weights, unused = {}, []
    for name, found in arrays.items():
        layer = _ferrari_layer(name, sources)
        if layer is None:
            unused.append(name)
        else:
            weights[layer] = Tensors(list(found), (name,))
    _refuse_unplaced(unused, "pierluigiferrari's SSD300 or SSD512")
    size = 512 if len(sources) == 7 else 300

    def anchors(size, per_cell, classes):
        scale = "coco" if classes == COCO_CLASSES else "voc"
        note = f"default boxes of its SSD{size} for {scale.upper()}, assumed for {classes} classes"
        return _anchors(size, scale, per_cell), note

    return _build(weights, "pierluigiferrari .h5", size, FERRARI_MEANS, anchors, labels, unused)


def _ferrari_layer(name: str, sources: list[str]) -> str | None:
    match = re.fullmatch(r"(\w+)_mbox_(loc|conf)", name)
    if match:
        if match[1] not in sources:
            return None
        kind = "boxes" if match[2] == "loc" else "classes"
        return f"level{sources.index(match[1])}_{kind}"
    match = re.fullmatch(r"conv(\d+)_(\d)", name)
    if match and int(match[1]) <= 5:
        return f"block{match[1]}_conv{match[2]}"
    if match:
        return f"extra{int(match[1]) - 5}_{'reduce' if match[2] == '1' else 'conv'}"
    return {"conv4_3_norm": "block4_conv3_norm", "fc6": "fc6", "fc7": "fc7"}.get(name)


def _refuse_unplaced(unused: list[str], what: str):
    if unused:
        raise UserError(
            f"{len(unused)} tensors of the file are not of {what}, the first is '{unused[0]}'."
        )


def _anchors(size: int, data: str, per_cell, limit: float = math.inf) -> ListedAnchors:
    levels = []
    scales = SCALES[size, data]
    for low, high, boxes in zip(scales[:-1], scales[1:], per_cell, strict=True):
        level = [(low, low), (math.sqrt(low * high),) * 2]
        level += oblong_sizes(low, (2.0, 3.0)[: boxes // 2 - 1])
        levels.append(tuple((min(h, limit), min(w, limit)) for h, w in level))
    return ListedAnchors(tuple(levels), STEPS[size])


def _build(
    weights: dict[str, Tensors],
    origin: str,
    size: int,
    means: tuple[float, ...],
    anchors: Callable,
    labels: dict[int, str] | None,
    unused: list[str],
) -> Imported:
    _check_complete(weights, origin, len(STEPS[size]))
    per_cell, count = _head_sizes(weights, origin, size)
    numbers, classes, note = class_list(labels, count)
    rule, anchor_note = anchors(size, per_cell, count)
    _convert_heads(weights, per_cell, numbers)
    backbone, extras = _backbone_and_extras(weights, origin, size, means, per_cell, count)
    network = SSD(
        len(classes),
        anchors=rule,
        extras=extras,
        extra_block="conv",
        activation="relu",
        head_kernels=3,
    )
    detector = Detector(backbone, network, classes, name=f"SSD_VGG16_{size}")
    weights = {
        name: Tensors([np.ascontiguousarray(a, np.float32) for a in tensors.arrays], tensors.names)
        for name, tensors in weights.items()
    }
    return Imported(
        detector=detector,
        origin=origin,
        mapped=fill(detector, weights),
        unused=tuple(unused),
        notes=(note, anchor_note),
        suppression=dict(SUPPRESSION),
    )


def _check_complete(weights: dict[str, Tensors], origin: str, levels: int):
    """Refuses a file without a layer that tells sizes."""
    needed = ["block1_conv1"]
    needed += [f"extra{i}_{step}" for i in range(1, levels - 1) for step in _EXTRA_STEPS]
    needed += [f"level{i}_{kind}" for i in range(levels) for kind in ("boxes", "classes")]
    for name in needed:
        if name not in weights or [array.ndim for array in weights[name].arrays] != [4, 1]:
            raise UserError(f"{origin}: it has no kernel and bias for '{name}', which it needs.")


def _head_sizes(weights: dict[str, Tensors], origin: str, size: int) -> tuple[list[int], int]:
    """Default boxes per cell of each level, and the number of classes."""
    levels = len(STEPS[size])
    per_cell = [len(weights[f"level{i}_boxes"].arrays[1]) // 4 for i in range(levels)]
    outputs = [len(weights[f"level{i}_classes"].arrays[1]) for i in range(levels)]
    columns = (found / max(1, boxes) for found, boxes in zip(outputs, per_cell, strict=True))
    count = common_class_count(origin, columns)
    if per_cell != [4, *[6] * (levels - 3), 4, 4]:
        raise UserError(f"{origin}: {per_cell} default boxes per cell are not those of SSD{size}.")
    return per_cell, count


def _convert_heads(weights: dict[str, Tensors], per_cell: list[int], numbers: tuple[int, ...]):
    """Puts box codes in our order and leaves only the classes to keep."""
    for level, boxes in enumerate(per_cell):
        head = weights[f"level{level}_boxes"]
        # Both projects code boxes as x, y, width, height.
        head.arrays = [swap_codes(array) for array in head.arrays]
        head = weights[f"level{level}_classes"]
        head.arrays = [keep_classes(array, boxes, numbers) for array in head.arrays]


def _backbone_and_extras(
    weights: dict[str, Tensors],
    origin: str,
    size: int,
    means: tuple[float, ...],
    per_cell: list[int],
    classes: int,
) -> tuple[keras.Model, list[Extra]]:
    """VGG16 and the extra levels of these widths, if they are not out of proportion."""
    extras = [
        Extra(
            len(weights[f"extra{i}_reduce"].arrays[1]),
            len(weights[f"extra{i}_conv"].arrays[1]),
            *window,
        )
        for i, window in enumerate(_EXTRA_WINDOWS[size], start=1)
    ]
    width = len(weights["block1_conv1"].arrays[1]) / 64
    check_plan(
        origin,
        image_size=(size, size),
        width=width,
        classes=classes,
        per_cell=per_cell,
        kernels=[3],
        extras=extras,
    )
    return vgg16((size, size), width=width, means=means), extras
