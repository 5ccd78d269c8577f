"""What a file of the TF Object Detection API tells beside its weights: its pipeline.config."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ssd_keras.box_networks import ListedAnchors, MultiscaleAnchors, ScaleAnchors
from ssd_keras.reading import reading
from ssd_keras.text_format import parse_text
from ssd_keras.weights.files import MAX_TEXT_BYTES, read_file

CONFIG = "pipeline.config"
ACTIVATIONS = {"RELU_6": "relu6", "RELU": "relu"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a file tells beside its weights; None where it does not.

    Attributes:
        image_size: (height, width) of the network's input.
        anchors: a rule for default boxes.
        anchor_table: all default boxes as (centre y, centre x, height, width), `[A, 4]`.
        variances: divisors of box codes.
        scores: "sigmoid" or "softmax".
        suppression: thresholds of the detection that follows.
        activation: "relu6" or "relu", of the box network.
        epsilon: of the batch norms.
    """

    image_size: tuple[int, int] | None = None
    anchors: ScaleAnchors | MultiscaleAnchors | ListedAnchors | None = None
    anchor_table: np.ndarray | None = None
    variances: tuple[float, ...] | None = None
    scores: str | None = None
    suppression: dict | None = None
    activation: str | None = None
    epsilon: float | None = None

    def completed_by(self, other: Facts) -> Facts:
        """These facts, and the other's where these do not tell."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        missing = {name: getattr(other, name) for name, value in values.items() if value is None}
        return dataclasses.replace(self, **missing)


def config_beside(source: Path) -> Path | None:
    """The pipeline.config that belongs to a SavedModel or a checkpoint, or None.

    Archives of the zoo hold it above the folders `saved_model` and `checkpoint`.
    """
    folder = source if source.is_dir() else source.parent
    places = [place / CONFIG for place in (folder, folder.parent)]
    return next((place for place in places if place.is_file()), None)


def config_facts(path: Path) -> Facts:
    """What a pipeline.config says of an SSD.

    Raises:
        UserError: the file cannot be read, or is of a detector that resizes or decodes otherwise.
    """
    data = read_file(path, MAX_TEXT_BYTES, "configuration")
    with reading(path, "a configuration of the TF Object Detection API"):
        ssd = _message(parse_text(data.decode("utf-8")), "model", "ssd")
        if not ssd:
            raise ValueError("it describes no SSD")
        hyperparameters = _message(ssd, "feature_extractor", "conv_hyperparams")
        return Facts(
            image_size=_image_size(ssd),
            anchors=_anchors(_message(ssd, "anchor_generator")),
            variances=_variances(_message(ssd, "box_coder", "faster_rcnn_box_coder")),
            **_post_processing(_message(ssd, "post_processing")),
            activation=_activation(hyperparameters),
            epsilon=_number(_message(hyperparameters, "batch_norm"), "epsilon", None),
        )


def _message(message: dict, *path: str) -> dict:
    """A message inside of others, or an empty one."""
    for name in path:
        inner = (message.get(name) or [{}])[-1]
        if not isinstance(inner, dict):
            raise ValueError(f"'{name}' is no message")
        message = inner
    return message


def _number(message: dict, name: str, default):
    value = (message.get(name) or [default])[-1]
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"'{name}' is no number")
    return value


def _image_size(ssd: dict) -> tuple[int, int]:
    fixed = _message(ssd, "image_resizer", "fixed_shape_resizer")
    size = tuple(_number(fixed, side, None) for side in ("height", "width"))
    if not all(isinstance(side, int) for side in size):
        raise ValueError("it has no fixed_shape_resizer: other ways of resizing are not supported")
    method = (fixed.get("resize_method") or ["BILINEAR"])[-1]
    if method != "BILINEAR":
        raise ValueError(f"it resizes by {method}, which is not supported")
    return size


def _anchors(generator: dict) -> ScaleAnchors | MultiscaleAnchors | None:
    multiscale = _message(generator, "multiscale_anchor_generator")
    if multiscale:
        return MultiscaleAnchors(
            scale=float(_number(multiscale, "anchor_scale", 4.0)),
            ratios=tuple(map(float, multiscale.get("aspect_ratios", [1.0, 2.0, 0.5]))),
            scales_per_octave=int(_number(multiscale, "scales_per_octave", 2)),
        )
    return _scale_anchors(_message(generator, "ssd_anchor_generator"))


def _scale_anchors(generator: dict) -> ScaleAnchors | None:
    if not generator:
        return None
    usual = {"reduce_boxes_in_lowest_layer": True, "interpolated_scale_aspect_ratio": 1.0}
    for name, value in usual.items():
        if generator.get(name, [value])[-1] != value:
            raise ValueError(f"its '{name}' is not {value}, which is not supported")
    for name in ("scales", "height_stride", "width_stride", "height_offset", "width_offset"):
        if name in generator:
            raise ValueError(f"its default boxes have '{name}', which is not supported")
    rule = ScaleAnchors(
        min_scale=float(_number(generator, "min_scale", 0.2)),
        max_scale=float(_number(generator, "max_scale", 0.95)),
    )
    ratios = tuple(map(float, generator.get("aspect_ratios", rule.ratios)))
    return dataclasses.replace(rule, ratios=ratios)


def _variances(coder: dict) -> tuple[float, ...] | None:
    if not coder:
        return None
    usual = {"y_scale": 10.0, "x_scale": 10.0, "height_scale": 5.0, "width_scale": 5.0}
    return tuple(1 / float(_number(coder, name, value)) for name, value in usual.items())


def _post_processing(message: dict) -> dict:
    converter = (message.get("score_converter") or ["IDENTITY"])[-1]
    if converter not in ("SIGMOID", "SOFTMAX"):
        raise ValueError(f"its score_converter is {converter}, which is not supported")
    nms = _message(message, "batch_non_max_suppression")
    return {
        "scores": converter.lower(),
        "suppression": {
            "score_threshold": float(_number(nms, "score_threshold", 0.0)),
            "iou_threshold": float(_number(nms, "iou_threshold", 0.6)),
            "max_detections": int(_number(nms, "max_total_detections", 100)),
        },
    }


def _activation(hyperparameters: dict) -> str:
    name = (hyperparameters.get("activation") or ["RELU"])[-1]
    if name not in ACTIVATIONS:
        raise ValueError(f"its activation is {name}, which is not supported")
    return ACTIVATIONS[name]
