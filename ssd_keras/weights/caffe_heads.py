"""What a .prototxt says of an SSD's heads: their layers, default boxes, classes, suppression."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ssd_keras.box_networks import ListedAnchors
from ssd_keras.errors import UserError
from ssd_keras.weights.caffe import Layer, Network
from ssd_keras.weights.caffe_alignment import CONVOLUTIONS, Node, build_nodes, window_of

DEFAULT_SUPPRESSION = {"score_threshold": 0.01, "iou_threshold": 0.45, "max_detections": 200}
# Caffe codes boxes as x, y, width, height; we as y, x, height, width.
CODE_ORDER = [1, 0, 3, 2]


def check_shapes(network: Network, blobs: dict):
    """Both files must speak of the same convolutions, before anything is built of them."""
    for layer in network.layers.values():
        if layer.kind not in (*CONVOLUTIONS, "Deconvolution"):
            continue
        if layer.name not in blobs:
            raise UserError(f"The .caffemodel has no weights for '{layer.name}' of the .prototxt.")
        shape = blobs[layer.name][0].shape
        outputs = layer.parameter("convolution_param", "num_output", 0)
        kernel = window_of(layer).kernel
        told = (outputs, kernel, kernel)
        if layer.kind == "Deconvolution":
            shape = (*shape[1:2], *shape[:1], *shape[2:])
        if (*shape[:1], *shape[2:]) != told:
            raise UserError(
                f"'{layer.name}' has {told[0]} outputs and kernel {kernel} in the .prototxt, but "
                f"shape {list(shape)} in the .caffemodel: give the two files of one network."
            )


@dataclasses.dataclass(frozen=True)
class Heads:
    """The layers that predict, per level, finest first: PriorBox, box and class convolution."""

    priors: tuple[Layer, ...]
    boxes: tuple[Node, ...]
    classes: tuple[Node, ...]
    sources: tuple[Node, ...]

    def by_name(self, prefix: str) -> dict[str, Node]:
        """Our names of the heads, with a box network's prefix, and Caffe's layers."""
        pairs = enumerate(zip(self.boxes, self.classes, strict=True))
        return {
            f"{prefix}{level}_{kind}": node
            for level, both in pairs
            for kind, node in zip(("boxes", "classes"), both, strict=True)
        }


def read_heads(network: Network) -> Heads:
    """Finds the heads from the layer that takes them all, for detection or for the loss."""
    nodes = build_nodes(network)
    ends = network.of_kind("DetectionOutput") + network.of_kind("MultiBoxLoss")
    if not ends:
        raise UserError("The .prototxt has no DetectionOutput or MultiBoxLoss layer: it is no SSD.")
    inputs = nodes[ends[0].name].inputs
    if len(inputs) < 3:
        raise UserError(f"'{ends[0].name}' does not read boxes, classes and default boxes.")
    boxes, classes, priors = (_concat_inputs(node) for node in inputs[:3])
    convolutions = [[_before(node, CONVOLUTIONS) for node in side] for side in (boxes, classes)]
    priors = [_before(node, ("PriorBox",)) for node in priors]
    if not len(priors) == len(boxes) == len(classes):
        raise UserError("The levels of the .prototxt differ in number for boxes and classes.")
    return Heads(
        tuple(node.layer for node in priors),
        *map(tuple, convolutions),
        tuple(node.inputs[0] for node in convolutions[0]),
    )


def _concat_inputs(node: Node) -> tuple[Node, ...]:
    while node.kind != "Concat":
        if len(node.inputs) != 1:
            return (node,)
        node = node.inputs[0]
    return node.inputs


def _before(node: Node, kinds: Sequence[str]) -> Node:
    while node.kind not in kinds:
        if node.kind not in ("Flatten", "Permute", "Reshape") or not node.inputs:
            raise UserError(f"'{node.layer.name}' ({node.kind}) is not where a head should be.")
        node = node.inputs[0]
    return node


def class_count(heads: Heads) -> int:
    """Classes without background, which the heads of all levels must agree in."""
    counts = set()
    for boxes, classes in zip(heads.boxes, heads.classes, strict=True):
        per_cell = boxes.layer.parameter("convolution_param", "num_output", 0) // 4
        outputs = classes.layer.parameter("convolution_param", "num_output", 0)
        counts.add(outputs / max(1, per_cell) - 1)
    if len(counts) != 1 or not (count := counts.pop()).is_integer() or count < 1:
        raise UserError("The heads of the .prototxt do not agree in the number of classes.")
    return int(count)


def read_anchors(network: Network, heads: Heads) -> tuple[ListedAnchors, tuple[float, ...]]:
    """The default boxes of PriorBox layers, and the variances of their codes."""
    height, width = network.image_size
    sizes, steps, starts = [], [], []
    for prior, boxes in zip(heads.priors, heads.boxes, strict=True):
        count = boxes.layer.parameter("convolution_param", "num_output", 0) // 4

        def values(field, default=(), prior=prior):
            return prior.values("prior_box_param", field, default)

        if values("clip", [False])[0]:
            raise UserError(f"'{prior.name}' clips its default boxes, which is not supported.")
        ratios = []
        for ratio in values("aspect_ratio"):
            ratios += [ratio, 1 / ratio] if values("flip", [True])[0] else [ratio]
        level = []
        # caffe-ssd cuts sizes to whole pixels (prior_box_layer.cpp).
        for i, small in enumerate(map(int, values("min_size"))):
            level.append((small, small))
            if values("max_size"):
                middle = math.sqrt(small * int(values("max_size")[i]))
                level.append((middle, middle))
            level += [(small / math.sqrt(r), small * math.sqrt(r)) for r in ratios if r != 1]
        if len(level) != count:
            raise UserError(f"'{prior.name}' has {len(level)} default boxes, its heads {count}.")
        sizes.append(tuple((h / height, w / width) for h, w in level))
        steps.append(float(values("step", [0])[0]))
        starts.append(steps[-1] * float(values("offset", [0.5])[0]))
    variance = [float(v) for v in heads.priors[0].values("prior_box_param", "variance", [0.1])]
    variance = variance * 4 if len(variance) == 1 else [variance[i] for i in CODE_ORDER]
    if not any(steps):
        return ListedAnchors(tuple(sizes)), tuple(variance)
    if 0.0 in steps:
        raise UserError("Some PriorBox layers give a step and some do not: not supported.")
    return ListedAnchors(tuple(sizes), tuple(steps), tuple(starts)), tuple(variance)


def read_suppression(network: Network) -> dict[str, float]:
    """The settings of suppression that the network states, else those of caffe-ssd."""
    found = dict(DEFAULT_SUPPRESSION)
    for layer in network.of_kind("DetectionOutput"):
        nms = layer.parameter("detection_output_param", "nms_param", {})
        for key, value in (
            ("iou_threshold", (nms.get("nms_threshold") or [None])[0]),
            ("max_per_class", (nms.get("top_k") or [None])[0]),
            ("max_detections", layer.parameter("detection_output_param", "keep_top_k")),
            ("score_threshold", layer.parameter("detection_output_param", "confidence_threshold")),
        ):
            if value is not None and value > 0:
                found[key] = value
    return found
