"""FPN detectors of the TF Object Detection API, from the names and shapes of their tensors."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from ssd_keras.box_networks import FPN, FPNLite, MultiscaleAnchors
from ssd_keras.box_networks.fpn import PREDICTOR, PYRAMID
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.resizing import CORNER
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.api_families import Family, fewest_channels, find_family, width_of
from ssd_keras.weights.api_names import scope_of
from ssd_keras.weights.imported import (
    Imported,
    batch_norm_epsilons,
    check_plan,
    fill,
    keep_classes,
)
from ssd_keras.weights.label_maps import class_list
from ssd_keras.weights.object_detection_api import (
    DEFAULT_EPSILON,
    DEFAULT_SUPPRESSION,
    notes_on,
    tensors_of,
)
from ssd_keras.weights.tensorflow_file import TensorFlowFile

# Maps of the Core Network that are joined -> stride of the finest.
FINEST_STRIDES = {2: 16, 3: 8}

_SHARED = "WeightSharedConvolutionalBoxPredictor/"
_PROJECTION = re.compile(r"top_down/projection_(\d+)$")
_SMOOTHING = re.compile(r"top_down/smoothing_(\d+)(_depthwise)?(_conv)?$")
_COARSE = re.compile(r"bottom_up_(?:Conv2d_|block)(\d+)(_depthwise)?(_conv)?$")
_TOWER = re.compile(r"(Box|Class|)PredictionTower/conv2d_(\d+)(?:/BatchNorm/feature_(\d+))?$")
_HEAD = re.compile(r"WeightSharedConvolutional(?:Box|Class)Head/(Box|Class)Predictor$")


def has_pyramid(file: TensorFlowFile) -> bool:
    """Whether the tensors are those of a detector whose levels share a predictor."""
    return any(_SHARED in name for name in file.variables)


def import_pyramid(
    file: TensorFlowFile,
    origin: str,
    facts: Facts,
    *,
    labels: dict[int, str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Imported:
    """Builds the FPN detector that these tensors belong to and fills it.

    Args and errors: see `object_detection_api.import_tensors`.
    """
    family = find_family(file, origin)
    parts, names = _collect(file.variables, family)
    size = image_size or facts.image_size
    if size is None:
        raise UserError(
            f"{origin}: the size of its images is not in it: keep its pipeline.config beside it, "
            "or give --image_size."
        )
    shape = _shape(parts, facts, origin)
    numbers, classes, label_note = class_list(labels, shape.classes)
    detector = _detector(parts, family, origin, facts, size, shape, classes)
    for part in ("kernel", "bias"):
        head = parts[f"{PREDICTOR}_classes"]
        head[part] = keep_classes(head[part], shape.per_cell, numbers)
    epsilons = batch_norm_epsilons(detector)
    for name in epsilons:
        parts.get(name, {})["epsilon"] = _epsilon(file, facts)
    weights = tensors_of(parts, names, epsilons)
    told_boxes = "in the configuration" if facts.anchors else "usual; the file does not say"
    return Imported(
        detector=detector,
        origin=origin,
        mapped=fill(detector, weights),
        unused=(),
        notes=(label_note, f"default boxes: {told_boxes}", *notes_on(detector, facts, True, 0)),
        suppression={**DEFAULT_SUPPRESSION, **(facts.suppression or {})},
    )


# === Names ===


def _collect(variables: dict[str, np.ndarray], family: Family) -> tuple[dict, dict]:
    """Our layer -> part -> array, and our layer -> names in the file."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    names: dict[str, list[str]] = {}
    coarse = sorted(
        {int(match[1]) for name in variables if (match := _COARSE.search(scope_of(name)[0]))}
    )
    joined = sum(bool(re.search(r"top_down/projection_\d+/kernel$", name)) for name in variables)
    for name, array in variables.items():
        scope, part, in_norm = scope_of(name)
        layer = part and _our_layer(scope, in_norm, family, coarse, joined)
        if not layer:
            raise UserError(
                f"'{name}' of the file has no place in an FPN: this variant is not supported."
            )
        if part == "depthwise" and layer.startswith((PYRAMID, PREDICTOR)):
            layer = f"{layer}_depthwise"
        part = "kernel" if part == "pointwise" else part
        if part in parts.setdefault(layer, {}):
            raise UserError(f"'{name}' and another tensor of the file are the same part.")
        parts[layer][part] = array
        names.setdefault(layer, []).append(name)
    return parts, names


def _our_layer(
    scope: str, in_norm: bool, family: Family, coarse: list[int], joined: int
) -> str | None:
    """Our name of a layer, or of the batch norm behind it."""
    norm = "_bn" if in_norm else ""
    if match := _PROJECTION.search(scope):
        return f"{PYRAMID}{int(match[1]) - 1}_lateral"
    if match := _SMOOTHING.search(scope):
        return f"{PYRAMID}{int(match[1]) - 1}_smooth{norm}"
    if match := _COARSE.search(scope):
        return f"{PYRAMID}{joined + coarse.index(int(match[1]))}_coarse{norm}"
    if match := _TOWER.search(scope):
        kind = f"{match[1].lower()}_" if match[1] else ""
        level = f"_level{match[3]}{norm}" if match[3] else ""
        return f"{PREDICTOR}_{kind}tower{match[2]}{level}"
    if match := _HEAD.search(scope):
        return f"{PREDICTOR}_{'boxes' if match[1] == 'Box' else 'classes'}"
    found = family.find_layer(scope)
    return found[in_norm] if found else None


# === What is built ===


@dataclasses.dataclass(frozen=True)
class _Shape:
    """What the shapes of the tensors tell.

    Attributes:
        joined: maps of the Core Network.
        coarse_levels, kernel, tower_depth, channels: see `FPN`.
        shared_tower, separable: see `FPN`.
        classes: object classes.
        per_cell: default boxes of a cell.
    """

    joined: int
    coarse_levels: int
    channels: int
    kernel: int
    tower_depth: int
    shared_tower: bool
    separable: bool
    classes: int
    per_cell: int


def _shape(parts: dict, facts: Facts, origin: str) -> _Shape:
    def count(pattern: str) -> int:
        return sum(bool(re.fullmatch(pattern, name)) for name in parts)

    boxes, classes = (parts.get(f"{PREDICTOR}_{kind}", {}) for kind in ("boxes", "classes"))
    lateral = parts.get(f"{PYRAMID}0_lateral", {})
    if any("kernel" not in head or "bias" not in head for head in (boxes, classes, lateral)):
        raise UserError(f"{origin}: its predictor or the finest map of its pyramid is not whole.")
    separable = f"{PREDICTOR}_boxes_depthwise" in parts
    window = parts[f"{PREDICTOR}_boxes_depthwise"]["depthwise"] if separable else boxes["kernel"]
    per_cell = len(boxes["bias"]) // 4
    columns = len(classes["bias"]) / max(1, per_cell)
    anchors = facts.anchors or MultiscaleAnchors()
    if not columns.is_integer() or columns < 2 or per_cell != _boxes_per_cell(anchors):
        raise UserError(
            f"{origin}: {per_cell} default boxes a cell and {len(classes['bias'])} outputs for "
            "classes do not go together with its rule for default boxes."
        )
    shared = not count(rf"{PREDICTOR}_box_tower\d+")
    return _Shape(
        joined=count(rf"{PYRAMID}\d+_lateral"),
        coarse_levels=count(rf"{PYRAMID}\d+_coarse"),
        channels=len(lateral["bias"]),
        kernel=window.shape[0],
        tower_depth=count(rf"{PREDICTOR}_{'' if shared else 'box_'}tower\d+"),
        shared_tower=shared,
        separable=separable,
        classes=int(columns) - 1,
        per_cell=per_cell,
    )


def _boxes_per_cell(anchors) -> int:
    (level,) = anchors.levels([(1, 1)], (32, 32))
    return len(level.sizes)


def _detector(
    parts: dict,
    family: Family,
    origin: str,
    facts: Facts,
    size: tuple[int, int],
    shape: _Shape,
    classes: tuple[str, ...],
) -> Detector:
    """The detector of these shapes, whose weights are still random."""
    width = width_of(parts, family, origin)
    if shape.joined not in FINEST_STRIDES or not family.joins:
        raise UserError(
            f"{origin}: an FPN of {shape.joined} maps of {family.name} is not supported."
        )
    check_plan(
        origin,
        image_size=size,
        width=width,
        classes=shape.classes,
        per_cell=[shape.per_cell] * (shape.joined + shape.coarse_levels),
        kernels=[shape.kernel],
        channels=[shape.channels],
        depths=[shape.tower_depth],
    )
    stride = FINEST_STRIDES[shape.joined]
    backbone = family.joins(size, width, fewest_channels(parts, family), finest_stride=stride)
    kind = FPNLite if shape.separable else FPN
    options = {
        name: getattr(shape, name)
        for name in ("channels", "coarse_levels", "kernel", "tower_depth", "shared_tower")
    }
    try:
        network = kind(
            len(classes),
            anchors=facts.anchors or MultiscaleAnchors(),
            separable=shape.separable,
            activation=facts.activation or "relu6",
            scores=facts.scores or "sigmoid",
            class_loss="mined" if facts.scores == "softmax" else "focal",
            variances=facts.variances or (0.1, 0.1, 0.2, 0.2),
            **options,
        )
        name = f"{kind.__name__}_{family.name}_{size[0]}"
        if size[0] != size[1]:
            name += f"x{size[1]}"
        return Detector(backbone, network, classes, name=name, resize=CORNER)
    except ValueError as error:
        raise UserError(
            f"{origin}: no detector can be built of these tensors ({error})."
        ) from error


def _epsilon(file: TensorFlowFile, facts: Facts) -> float:
    """The epsilon of all batch norms: as the graph, the configuration, or the API says."""
    in_graph = {float(f"{epsilon:.6g}") for epsilon in file.epsilons.values()}
    if len(in_graph) > 1:
        raise UserError("Its batch norms differ in epsilon: this variant is not supported.")
    return in_graph.pop() if in_graph else facts.epsilon or DEFAULT_EPSILON
