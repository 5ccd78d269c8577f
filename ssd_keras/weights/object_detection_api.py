"""SSD detectors of the TF Object Detection API, from the names and shapes of their tensors."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from ssd_keras.box_networks import SSD, Extra, ListedAnchors, ScaleAnchors
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.resizing import CORNER
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.api_families import Family, fewest_channels, find_family, width_of
from ssd_keras.weights.api_names import collect, extra_levels, our_layer
from ssd_keras.weights.imported import (
    Imported,
    Tensors,
    batch_norm_arrays,
    batch_norm_epsilons,
    check_plan,
    fill,
    folded_batch_norm_arrays,
    keep_classes,
)
from ssd_keras.weights.label_maps import class_list
from ssd_keras.weights.tensorflow_file import TensorFlowFile

# What the API's configurations of these models say, where a file does not.
DEFAULT_SIZE = 300
DEFAULT_EPSILON = 1e-3
# How far 8 bits may round the side of a default box.
ROUNDING = 5e-3
DEFAULT_SUPPRESSION = {"score_threshold": 1e-8, "iou_threshold": 0.6, "max_detections": 100}


def import_tensors(
    file: TensorFlowFile,
    origin: str,
    facts: Facts,
    *,
    labels: dict[int, str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Imported:
    """Builds the detector that these tensors belong to and fills it.

    Width, extra levels, kernel sizes, depthwise parts and the number of classes are read from the
    tensors.

    Args:
        file: the tensors; TF1's names or those that Keras layers give.
        origin: what the file was, for messages.
        facts: what the file says beside.
        labels: class names by number; classes without a name are left out.
        image_size: (height, width), where the file does not say.

    Raises:
        UserError: this is no SSD of a known backbone, or a tensor has no place in it.
    """
    family = find_family(file, origin)
    parts, names, unused = collect(file.variables, family)
    _fix_epsilons(parts, file, family)
    _fold_gates(parts, family.gate)
    size = image_size or facts.image_size or (DEFAULT_SIZE, DEFAULT_SIZE)
    heads = _heads(parts, origin)
    numbers, classes, label_note = class_list(labels, heads.classes)
    anchors, anchor_note = _anchors(facts, size, heads.per_cell)
    detector = _detector(parts, family, origin, facts, size, heads, anchors, classes)
    _keep_classes(parts, heads.per_cell, numbers)
    epsilons = batch_norm_epsilons(detector)
    folded = tuple(name for name in epsilons if name in parts and "bias" in parts[name])
    weights = tensors_of(parts, names, epsilons)
    size_told = bool(facts.image_size or image_size)
    return Imported(
        detector=detector,
        origin=origin,
        mapped=fill(detector, weights),
        unused=tuple(sorted(unused)),
        notes=(label_note, anchor_note, *notes_on(detector, facts, size_told, len(folded))),
        suppression={**DEFAULT_SUPPRESSION, **(facts.suppression or {})},
        folded=folded,
    )


def _detector(
    parts: dict,
    family: Family,
    origin: str,
    facts: Facts,
    size: tuple[int, int],
    heads: _Heads,
    anchors: ScaleAnchors | ListedAnchors,
    classes: tuple[str, ...],
) -> Detector:
    """The detector of these shapes, whose weights are still random."""
    width = width_of(parts, family, origin)
    extras, separable = _extras(parts, origin)
    check_plan(
        origin,
        image_size=size,
        width=width,
        classes=heads.classes,
        per_cell=heads.per_cell,
        kernels=heads.kernels,
        extras=extras,
    )
    backbone = family.build(size, width, fewest_channels(parts, family))
    try:
        network = SSD(
            len(classes),
            anchors=anchors,
            extras=extras,
            extra_block="separable" if separable else "conv_bn",
            activation="relu6",
            head_kernels=heads.kernels,
            separable_heads=heads.separable,
            scores=facts.scores or "sigmoid",
            variances=facts.variances or (0.1, 0.1, 0.2, 0.2),
        )
        lite = "SSDLite" if heads.separable else "SSD"
        name = f"{lite}_{family.name}_{size[0]}"
        return Detector(backbone, network, classes, name=name, resize=CORNER)
    except ValueError as error:
        raise UserError(
            f"{origin}: no detector can be built of these tensors ({error})."
        ) from error


def _keep_classes(parts: dict, per_cell: tuple[int, ...], numbers: tuple[int, ...]):
    """Leaves only these classes in the heads."""
    for level, boxes in enumerate(per_cell):
        head = parts[f"level{level}_classes"]
        for part in ("kernel", "bias"):
            head[part] = keep_classes(head[part], boxes, numbers)


def notes_on(detector: Detector, facts: Facts, size_told: bool, folded: int) -> list[str]:
    """What was taken from the file and what was assumed."""
    height, width = detector.image_size
    network = detector.box_network
    notes = [
        told(f"image size {height}x{width}", size_told),
        "images are resized as the API does, sampled at the corners of pixels",
        told(f"{network.scores} scores", facts.scores),
        told("box coder " + ", ".join(f"{1 / v:g}" for v in network.variances), facts.variances),
    ]
    if folded:
        notes.append(f"{folded} batch norms were folded into their convolutions")
    return notes


def _fix_epsilons(parts: dict, file: TensorFlowFile, family: Family):
    """Notes beside each batch norm the epsilon that the graph gives it."""
    found = {
        re.sub(r"/FusedBatchNorm\w*$", "", name): epsilon for name, epsilon in file.epsilons.items()
    }
    for name, value in file.constants.items():
        if name.endswith("/BatchNorm/batchnorm/add/y"):
            found[name.removesuffix("/batchnorm/add/y")] = float(value)
    levels = extra_levels(file.variables)
    for scope, epsilon in found.items():
        layer = our_layer(scope.removesuffix("/BatchNorm"), True, family, levels)
        if layer in parts and 0 < epsilon < 1:
            parts[layer]["epsilon"] = epsilon


def _fold_gates(parts: dict, gate: float | None):
    """Moves what a gate is more than hard sigmoid into the convolution that follows it."""
    suffix = "squeeze_excite_conv_1"
    gated = [name.removesuffix(suffix) for name in parts if name.endswith(suffix)]
    for block in gated if gate else ():
        project = parts.get(f"{block}project", {})
        if "kernel" in project:
            project["kernel"] = project["kernel"] * np.float32(6 * gate)


def _extras(parts: dict, origin: str) -> tuple[list[Extra], bool]:
    extras, separable = [], []
    for index in range(1, 1 + sum(bool(re.fullmatch(r"extra\d+_conv", name)) for name in parts)):
        reduce, conv = (parts.get(f"extra{index}_{step}", {}) for step in ("reduce", "conv"))
        depthwise = parts.get(f"extra{index}_depthwise", {}).get("depthwise")
        if "kernel" not in reduce or "kernel" not in conv:
            raise UserError(
                f"{origin}: extra level {index} is not a 1x1 and a strided convolution."
            )
        kernel = conv["kernel"] if depthwise is None else depthwise
        extras.append(Extra(reduce["kernel"].shape[-1], conv["kernel"].shape[-1], kernel.shape[0]))
        separable.append(depthwise is not None)
    if len(set(separable)) > 1:
        raise UserError(f"{origin}: some extra levels are depthwise-separable and some are not.")
    return extras, any(separable)


@dataclasses.dataclass(frozen=True)
class _Heads:
    classes: int
    per_cell: tuple[int, ...]
    kernels: tuple[int, ...]
    separable: bool


def _heads(parts: dict, origin: str) -> _Heads:
    per_cell, kernels, separable, classes = [], [], set(), set()
    level = 0
    while f"level{level}_boxes" in parts:
        boxes, found = parts[f"level{level}_boxes"], parts.get(f"level{level}_classes", {})
        if not all("kernel" in head and "bias" in head for head in (boxes, found)):
            raise UserError(f"{origin}: level {level} lacks a part of its heads.")
        depthwise = parts.get(f"level{level}_boxes_depthwise", {}).get("depthwise")
        per_cell.append(len(boxes["bias"]) // 4)
        kernels.append((boxes["kernel"] if depthwise is None else depthwise).shape[0])
        separable.add(depthwise is not None)
        classes.add(len(found["bias"]) / max(1, per_cell[-1]) - 1)
        level += 1
    if not per_cell:
        raise UserError(
            f"{origin}: it has no box predictors of the kind 'BoxPredictor_0': it is no SSD."
        )
    if len(classes) > 1 or len(separable) > 1 or not min(classes).is_integer() or min(classes) < 1:
        raise UserError(f"{origin}: the heads of its levels differ in classes or kind.")
    return _Heads(int(classes.pop()), tuple(per_cell), tuple(kernels), separable.pop())


def _anchors(facts: Facts, size: tuple[int, int], per_cell: tuple[int, ...]):
    """A rule for the default boxes, and a sentence on where it comes from."""
    if facts.anchors is not None:
        return facts.anchors, "default boxes as in the file"
    if facts.anchor_table is not None:
        sizes, start = [], 0
        rows, columns = (math.ceil(side / 16) for side in size)
        for count in per_cell:
            sizes.append(tuple(map(tuple, facts.anchor_table[start : start + count, 2:].tolist())))
            start += rows * columns * count
            rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
        if start != len(facts.anchor_table):
            raise UserError(f"The file's {len(facts.anchor_table)} default boxes are not {start}.")
        rule = ScaleAnchors()
        ruled = [level.sizes for level in rule.levels([(1, 1)] * len(sizes), (1, 1))]
        same = [
            len(a) == len(b) and np.allclose(a, b, atol=ROUNDING)
            for a, b in zip(ruled, sizes, strict=True)
        ]
        if all(same):
            return rule, "default boxes of the API's configuration, which the file holds rounded"
        return ListedAnchors(tuple(sizes)), "default boxes as in the file"
    return ScaleAnchors(), "default boxes of the API's configuration; the file does not say"


def told(what: str, said) -> str:
    return what if said else f"{what}: assumed, the file does not say"


def tensors_of(parts: dict, names: dict, epsilons: dict[str, float]) -> dict[str, Tensors]:
    """What fills each of our layers: its arrays, and what they are called in the file."""
    return {
        name: Tensors(_arrays_of(name, arrays, epsilons), tuple(names[name]))
        for name, arrays in parts.items()
    }


def _arrays_of(name: str, parts: dict, epsilons: dict[str, float]) -> list[np.ndarray]:
    """The arrays of one of our layers in Keras' order."""
    try:
        if name in epsilons:
            if "bias" in parts:
                return folded_batch_norm_arrays(epsilons[name], parts["bias"])
            return batch_norm_arrays(
                epsilons[name],
                gamma=parts.get("gamma"),
                beta=parts["beta"],
                mean=parts["mean"],
                variance=parts["variance"],
                epsilon=parts.get("epsilon", DEFAULT_EPSILON),
            )
    except KeyError as error:
        raise UserError(f"The batch norm '{name}' lacks its {error.args[0]} in the file.") from None
    order = ("depthwise", "pointwise", "kernel", "bias")
    return [parts[part] for part in order if part in parts]
