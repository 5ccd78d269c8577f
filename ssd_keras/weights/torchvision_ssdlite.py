"""SSDLite with MobileNetV3 of torchvision, from its state dict."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict

import numpy as np

from ssd_keras.backbones import mobilenet_v3
from ssd_keras.backbones.mobilenet_v3 import BLOCKS, HALVING_BLOCKS
from ssd_keras.box_networks import SSD, Extra, ListedAnchors
from ssd_keras.boxes.default_boxes import oblong_sizes
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights.imported import (
    Imported,
    Tensors,
    batch_norm_arrays,
    batch_norm_epsilons,
    check_plan,
    common_class_count,
    fill,
    keep_classes,
    swap_codes,
)
from ssd_keras.weights.label_maps import class_list

ORIGIN = "torchvision state dict"
SIZE = (320, 320)
EPSILON = 1e-3
SUPPRESSION = {
    "score_threshold": 0.001,
    "iou_threshold": 0.55,
    "max_detections": 300,
    "max_per_class": 300,
}
# Box sizes of each level as shares of the image, and of one level more.
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
RATIOS = (2.0, 3.0)
LEVELS = len(SCALES) - 1
PER_CELL = 2 + 2 * len(RATIOS)
WHOLE_TAIL, REDUCED_TAIL = 960, 480

# The block at which torchvision cuts its network in two, behind what this block expands.
_CUT = HALVING_BLOCKS["large"][16]
_EXTRA_STEPS = ("reduce", "depthwise", "conv")
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "mean",
    "running_var": "variance",
}


def is_ssdlite(arrays: dict[str, np.ndarray]) -> bool:
    """Whether a state dict is of torchvision's SSDLite, and not of its SSD300."""
    return "backbone.features.0.0.0.weight" in arrays


def import_ssdlite(arrays: dict[str, np.ndarray], labels: dict[int, str] | None) -> Imported:
    """Builds and fills a detector from the state dict of `ssdlite320_mobilenet_v3_large`.

    Raises:
        UserError: these are not its weights.
    """
    parts, names, unused = _collect(arrays)
    count = _classes(parts)
    numbers, classes, note = class_list(labels, count)
    detector = _detector(parts, classes, count)
    _to_our_order(parts, numbers)
    epsilons = batch_norm_epsilons(detector)
    weights = {
        name: Tensors(_arrays(found, epsilons.get(name)), tuple(names[name]))
        for name, found in parts.items()
    }
    return Imported(
        detector=detector,
        origin=ORIGIN,
        mapped=fill(detector, weights),
        unused=tuple(unused),
        notes=(note, "default boxes of its ssdlite320_mobilenet_v3_large"),
        suppression=dict(SUPPRESSION),
    )


def _collect(arrays: dict[str, np.ndarray]) -> tuple[dict, dict, list[str]]:
    """Our layer -> part -> array, our layer -> names in the file, and names that are not needed."""
    parts, names, unused = defaultdict(dict), defaultdict(list), []
    for name, array in arrays.items():
        if name.endswith(".num_batches_tracked"):
            unused.append(name)
            continue
        stem, _, part = name.rpartition(".")
        place = _place(stem, part)
        if place is None:
            raise UserError(
                f"A tensor of the file is not of torchvision's ssdlite320_mobilenet_v3_large: "
                f"'{name}'."
            )
        layer, part = place
        parts[layer][part] = array
        names[layer].append(name)
    return parts, names, unused


def _place(stem: str, part: str) -> tuple[str, str] | None:
    """(our layer, part of it) of a tensor, from the name of its module."""
    match = re.fullmatch(r"head\.(classification|regression)_head\.module_list\.(\d+)\.1", stem)
    if match:
        kind = "classes" if match[1] == "classification" else "boxes"
        return f"level{match[2]}_{kind}", part
    match = re.fullmatch(r"backbone\.features\.(.+)\.fc([12])", stem)
    if match:
        layer = _backbone_layer(match[1])
        return (f"{layer}_conv{'_1' if match[2] == '2' else ''}", part) if layer else None
    module, _, position = stem.rpartition(".")
    layer = _layer(module)
    if layer is None or position not in ("0", "1"):
        return None
    return (layer, part) if position == "0" else (f"{layer}_bn", _BATCH_NORM.get(part, part))


def _layer(module: str) -> str | None:
    """Our convolution for a module of torchvision that has a convolution and a batch norm."""
    match = re.fullmatch(r"head\.(classification|regression)_head\.module_list\.(\d+)\.0", module)
    if match:
        kind = "classes" if match[1] == "classification" else "boxes"
        return f"level{match[2]}_{kind}_depthwise"
    match = re.fullmatch(r"backbone\.extra\.(\d+)\.([012])", module)
    if match:
        return f"extra{int(match[1]) + 1}_{_EXTRA_STEPS[int(match[2])]}"
    if module.startswith("backbone.features."):
        return _backbone_layer(module.removeprefix("backbone.features."))
    return None


def _backbone_layer(place: str) -> str | None:
    """Our layer for a place in torchvision's two sequences of modules, such as "0.4.block.2"."""
    last = len(BLOCKS["large"]) - _CUT
    whole = {"0.0": "conv", f"0.{_CUT + 1}": _part(_CUT, 0), f"1.{last}": "conv_1"}
    if place in whole:
        return whole[place]
    match = re.fullmatch(r"1\.0\.(\d)", place)
    if match:
        return _part(_CUT, int(match[1]))
    match = re.fullmatch(r"([01])\.(\d+)\.block\.(\d)", place)
    if match:
        number = int(match[2]) + (_CUT if match[1] == "1" else -1)
        return _part(number, int(match[3]))
    return None


def _part(number: int, position: int) -> str | None:
    """Our layer for the position in a block."""
    if number >= len(BLOCKS["large"]):
        return None
    steps = ["expand"] * (number > 0) + ["depthwise"]
    steps += ["squeeze_excite"] * BLOCKS["large"][number].squeezes + ["project"]
    prefix = f"expanded_conv_{number}" if number else "expanded_conv"
    return f"{prefix}_{steps[position]}" if position < len(steps) else None


def _classes(parts: dict) -> int:
    """The number of classes, background not counted."""
    heads = (parts.get(f"level{level}_classes", {}) for level in range(LEVELS))
    biases = (head.get("bias", np.zeros(0)) for head in heads)
    return common_class_count(ORIGIN, (bias.size / PER_CELL for bias in biases))


def _detector(parts: dict, classes: tuple[str, ...], count: int) -> Detector:
    """The detector of these shapes, whose weights are still random."""
    tail = len(parts.get("conv_1_bn", {}).get("gamma", ()))
    if tail not in (WHOLE_TAIL, REDUCED_TAIL):
        raise UserError(f"{ORIGIN}: its last convolution has {tail} channels, not 960 or 480.")
    extras = [_extra(parts, level) for level in range(1, LEVELS - 1)]
    check_plan(
        ORIGIN,
        image_size=SIZE,
        width=1.0,
        classes=count,
        per_cell=[PER_CELL],
        kernels=[3],
        extras=extras,
    )
    reduced = tail == REDUCED_TAIL
    backbone = mobilenet_v3(SIZE, size="large", reduced_tail=reduced, explicit_padding=True)
    network = SSD(
        len(classes),
        anchors=_anchors(),
        extras=extras,
        extra_block="separable",
        activation="relu6",
        head_kernels=3,
        separable_heads=True,
    )
    name = f"SSDLite_MobileNetV3Large{'Reduced' if reduced else ''}_{SIZE[0]}"
    return Detector(backbone, network, classes, name=name)


def _extra(parts: dict, level: int) -> Extra:
    channels = [
        len(parts.get(f"extra{level}_{step}_bn", {}).get("gamma", ())) for step in _EXTRA_STEPS
    ]
    return Extra(channels[0], channels[-1], kernel=3, stride=2, padding=1)


def _anchors() -> ListedAnchors:
    """Sides are cut down to the image's."""
    levels = []
    for scale, following in itertools.pairwise(SCALES):
        between = math.sqrt(scale * following)
        level = [(scale, scale), (between, between), *oblong_sizes(scale, RATIOS)]
        levels.append(tuple((min(1.0, h), min(1.0, w)) for h, w in level))
    return ListedAnchors(tuple(levels))


def _to_our_order(parts: dict, numbers: tuple[int, ...]):
    """Kernels as Keras has them, box codes with y first, and the classes that are kept."""
    for name, found in parts.items():
        for part in ("weight", "bias"):
            array = found.get(part)
            if array is None:
                continue
            if array.ndim == 4:
                depthwise = name.endswith("_depthwise")
                array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            if re.fullmatch(r"level\d+_boxes", name):
                array = swap_codes(array)
            if re.fullmatch(r"level\d+_classes", name):
                array = keep_classes(array, PER_CELL, numbers)
            found[part] = np.ascontiguousarray(array, np.float32)


def _arrays(found: dict, epsilon: float | None) -> list[np.ndarray]:
    """The arrays of one of our layers in Keras' order."""
    if epsilon is None:
        return [found[part] for part in ("weight", "bias") if part in found]
    missing = [part for part in _BATCH_NORM.values() if part not in found]
    if missing:
        raise UserError(f"{ORIGIN}: a batch norm lacks its {missing[0]}.")
    return batch_norm_arrays(epsilon, epsilon=EPSILON, **found)
