"""What a graph of the TF Object Detection API tells beside its weights: constants, operations."""

from __future__ import annotations

import math
import re

import numpy as np

from ssd_keras.box_networks import ListedAnchors, ScaleAnchors
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.tensorflow_file import TensorFlowFile

SCORES = {"Sigmoid": "sigmoid", "Softmax": "softmax"}


def graph_facts(file: TensorFlowFile) -> Facts:
    """What a frozen graph or a SavedModel says of itself in its constants and operations."""
    return _detection_graph_facts(file).completed_by(_tflite_graph_facts(file))


def _tflite_graph_facts(file: TensorFlowFile) -> Facts:
    """What a graph says that `export_tflite_ssd_graph` made for TFLite's converter.

    How many are found at most, and whether classes suppress each other, was chosen for that file.
    """
    shape = file.inputs.get("normalized_input_image_tensor", ())
    numbers = file.post_processing
    sides = [numbers.get(f"{side}_scale", 0.0) for side in "yxhw"]
    suppression = {
        f"{kind}_threshold": float(f"{numbers[f'nms_{kind}_threshold']:.6g}")
        for kind in ("score", "iou")
        if f"nms_{kind}_threshold" in numbers
    }
    table = file.constants.get("anchors")
    return Facts(
        image_size=shape[1:3] if len(shape) == 4 and min(shape[1:3]) > 0 else None,
        anchor_table=table if table is not None and table.shape[1:] == (4,) else None,
        variances=tuple(1 / side for side in sides) if all(sides) else None,
        scores=SCORES.get(file.operations.get("convert_scores")),
        suppression=suppression or None,
    )


def _detection_graph_facts(file: TensorFlowFile) -> Facts:
    """What a graph says that resizes, and ends in detections."""
    constants = file.constants
    size = next(
        (
            tuple(int(side) for side in value)
            for name, value in constants.items()
            if re.search(r"Preprocessor/.*ResizeImage/(stack|size)$", name) and value.shape == (2,)
        ),
        None,
    )
    scales = [
        float(constants[name])
        for stem in ("div", "truediv", "RealDiv")
        for name in _decoder_scales(stem)
        if name in constants and constants[name].ndim == 0
    ]
    operation = file.operations.get("Postprocessor/convert_scores")
    suppression = {}
    for part, key in (("iou_threshold", "iou_threshold"), ("score_threshold", "score_threshold")):
        for name, value in constants.items():
            if re.search(rf"Postprocessor/.*non_max_suppression\w*/{part}$", name):
                suppression[key] = float(f"{float(value):.6g}")
    for name, value in constants.items():
        if re.search(r"MultiClassNonMaxSuppression/FilterGreaterThan\w*/Greater/y$", name):
            suppression["score_threshold"] = float(f"{float(value):.6g}")
    return Facts(
        image_size=size,
        anchors=_graph_anchors(constants),
        variances=tuple(1 / scale for scale in scales[:4]) if len(scales) >= 4 else None,
        scores=SCORES.get(operation),
        suppression=suppression or None,
    )


def _decoder_scales(stem: str) -> list[str]:
    """The constants that divide ty, tx, th and tw when box codes are decoded."""
    return [f"Postprocessor/Decode/{stem}{i}/y" for i in ("", "_1", "_2", "_3")]


def _graph_anchors(constants: dict[str, np.ndarray]) -> ScaleAnchors | ListedAnchors | None:
    """The anchors of the API's MultipleGridAnchorGenerator, whose lists are in the graph.

    Of each level there is a list of ratios, whose square root is taken, and a list of scales that
    are divided by it; the operations are numbered level by level.
    """

    def lists(pattern):
        found = [
            (int(match[1] or 0), value)
            for name, value in constants.items()
            if (match := re.search(rf"MultipleGridAnchorGenerator/{pattern}(?:_(\d+))?/x$", name))
            and value.ndim == 1
        ]
        return [value for _, value in sorted(found, key=lambda pair: pair[0])]

    ratios, scales = lists("Sqrt"), lists("(?:true|Real)?[dD]iv")
    if not ratios or [len(r) for r in ratios] != [len(s) for s in scales]:
        return None
    sizes = tuple(
        tuple(
            (float(s / math.sqrt(r)), float(s * math.sqrt(r))) for s, r in zip(*pair, strict=True)
        )
        for pair in zip(scales, ratios, strict=True)
    )
    if len(scales) > 2 and len(scales[0]) == 3:
        ratio_list = tuple(round(float(ratio), 6) for ratio in ratios[1][:-1])
        rule = ScaleAnchors(
            min_scale=round(float(scales[0][1]), 6),
            max_scale=round(float(scales[-1][0]), 6),
            smallest=round(float(scales[0][0]), 6),
            ratios=ratio_list,
        )
        levels = rule.levels([(1, 1)] * len(sizes), (1, 1))
        ruled = [np.asarray(level.sizes) for level in levels]
        if all(
            a.shape == np.shape(b) and np.allclose(a, b, atol=1e-6)
            for a, b in zip(ruled, sizes, strict=True)
        ):
            return rule
    return ListedAnchors(sizes)
