"""Metadata inside a .tflite file, by which device libraries know what they see.

MediaPipe Tasks' ObjectDetector and the older Task Library refuse a file without it. Written with
`flatbuffers` alone, after metadata_schema.fbs and object_detector_metadata_schema.fbs of
MediaPipe (mediapipe/tasks/metadata), because the writers in the mediapipe package need that
package and cannot be imported in every release of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping

import numpy as np

from ssd_keras.deploy.decoding import Decoding
from ssd_keras.deploy.packed_tables import make_table, pack
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.errors import UserError, one_line
from ssd_keras.labels import check_names, label_lines, label_text
from ssd_keras.reading import parse_json

METADATA_NAME = "TFLITE_METADATA"
# MediaPipe and its tools look for the first name, the Interpreter samples for the second.
LABEL_FILES = ("labels.txt", "labelmap.txt")
SETTINGS_FILE = "ssd_keras.json"
ANCHORS_FILE = "anchors.f32"

# Slots of the tables' fields, in the order of the schema.
_MODEL = ("name", "description", "version", "subgraphs", "author", "license", "files", "parser")
_SUBGRAPH = ("name", "description", "inputs", "outputs", "files", "input_units", "output_units")
_SUBGRAPH += ("input_groups", "output_groups", "custom")
_TENSOR = ("name", "description", "dimensions", "content", "units", "stats", "files")
_CONTENT = ("kind", "properties", "range")
_FILE = ("name", "description", "type", "locale", "version")
_DECODING = ("num_classes", "num_boxes", "num_coords", "keypoint_offset", "num_keypoints")
_DECODING += ("values_per_keypoint", "x_scale", "y_scale", "w_scale", "h_scale")
_DECODING += ("apply_exponential", "sigmoid_score")

_IMAGE_PROPERTIES, _BOX_PROPERTIES, _FEATURE_PROPERTIES = 2, 3, 1
_NORMALIZATION, _THRESHOLDING = 1, 3
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_RGB = 1
_BOUNDARIES = 1
# Where x min, y min, x max, y max stand in a box of ours.
_BOX_INDEX = (1, 0, 3, 2)


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a file says of itself.

    Attributes:
        name: name of the model.
        classes: class names; class 0 is the first object class, there is no background.
        image_size: (height, width) of the input.
        description: one or more sentences.
        author: who made it; "" for none.
        license: the terms; "" for none.
        version: version of the model; "" for none.
        score_threshold: below it no detections come out.
        letterbox: images keep their aspect ratio in the middle of the input.
        settings: anything else a program may want to know, packed as ssd_keras.json.

    Raises:
        UserError: a class name that no label file can hold, or a text that is none.
    """

    name: str
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    description: str = ""
    author: str = ""
    license: str = ""
    version: str = ""
    score_threshold: float = 0.0
    letterbox: bool = False
    settings: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_names(self.classes)
        for field in ("name", "description", "author", "license", "version"):
            _check_text(field, getattr(self, field))


def add_metadata(
    file: TFLiteFile, card: ModelCard, *, float_input: bool, raw: Decoding | None = None
):
    """Adds metadata, the label files and the settings.

    Args:
        file: has one image input and either the four outputs of a detection (boxes, classes,
            scores, count) or the raw ones (codes, scores).
        card: what to write.
        float_input: the input is float32 and so needs a normalisation entry, here the identity
            (mean 0, deviation 1), as the network normalises by itself.
        raw: for raw outputs: how codes become boxes.
    """
    subgraph = {
        "name": card.name,
        "description": card.description,
        "inputs": [_image_input(card, float_input)],
        "outputs": _detection_outputs(card) if raw is None else _raw_outputs(),
    }
    if raw is None:
        names = ["location", "category", "score"]
        group = make_table(("name", "tensors"), {"name": "detection_result", "tensors": names})
        subgraph["output_groups"] = [group]
    else:
        custom = {"name": "DETECTOR_METADATA", "data": pack(_decoding_options(raw), b"V001")}
        subgraph["custom"] = [make_table(("name", "data"), custom)]
    table = {
        "name": card.name,
        "description": card.description,
        "version": card.version,
        "subgraphs": [make_table(_SUBGRAPH, subgraph)],
        "author": card.author,
        "license": card.license,
        "parser": "1.0.0" if raw is None else "1.5.0",
    }
    file.set_metadata(METADATA_NAME, pack(make_table(_MODEL, table), b"M001"))
    file.files |= dict.fromkeys(LABEL_FILES, label_text(card.classes).encode())
    file.files[SETTINGS_FILE] = json.dumps(card.settings, indent=1, sort_keys=True).encode()
    if raw is not None:
        file.files[ANCHORS_FILE] = np.asarray(raw.centers, "<f4").tobytes()


def labels_of(files: Mapping[str, bytes]) -> tuple[str, ...] | None:
    """The class names among the files packed into a .tflite file, or None.

    Raises:
        UserError: the label file is no text.
    """
    for name in LABEL_FILES:
        if name in files:
            with _reading(name):
                return tuple(label_lines(files[name]))
    return None


def settings_of(files: Mapping[str, bytes]) -> dict:
    """The settings among the files packed into a .tflite file; empty if it is not one of ours.

    Raises:
        UserError: they are damaged.
    """
    with _reading(SETTINGS_FILE):
        settings = parse_json(files.get(SETTINGS_FILE, b"{}"))
        if not isinstance(settings, dict):
            raise ValueError("it is no JSON object")
        return settings


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{name}, which is packed into the .tflite file, is damaged: {one_line(error)}."
        ) from error


def _check_text(what: str, text: str):
    # Consumers read the texts as UTF-8 that ends at a zero byte.
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"The {what} {text[:80]!r} of the model is no text: write it in UTF-8.")


def _image_input(card: ModelCard, float_input: bool):
    height, width = card.image_size
    size = make_table(("width", "height"), {"width": np.uint32(width), "height": np.uint32(height)})
    properties = {"color_space": np.int8(_RGB), "size": size}
    fields = {
        "name": "image",
        "description": f"RGB image of {height} x {width} pixels, values 0..255.",
        "content": _content(
            _IMAGE_PROPERTIES, make_table(("color_space", "size"), properties), dimensions=None
        ),
        "stats": make_table(("max", "min"), {"max": [255.0], "min": [0.0]}),
    }
    if float_input:
        options = make_table(("mean", "std"), {"mean": [0.0], "std": [1.0]})
        fields["units"] = [_unit(_NORMALIZATION, options)]
    return make_table(_TENSOR, fields)


def _detection_outputs(card: ModelCard) -> list:
    threshold = make_table(("score",), {"score": np.float32(card.score_threshold)})
    features = make_table((), {})
    return [
        make_table(
            _TENSOR,
            {
                "name": "location",
                "description": f"Boxes as y min, x min, y max, x max, {_relative_to(card)}.",
                "content": _box_content(),
            },
        ),
        make_table(
            _TENSOR,
            {
                "name": "category",
                "description": "Class of each box; 0 is the first line of the label file.",
                "content": _content(_FEATURE_PROPERTIES, features),
                "files": _label_files(_VALUE_LABELS),
            },
        ),
        make_table(
            _TENSOR,
            {
                "name": "score",
                "description": "Probability of the class, best first.",
                "content": _content(_FEATURE_PROPERTIES, features),
                "units": [_unit(_THRESHOLDING, threshold)],
            },
        ),
        make_table(
            _TENSOR,
            {
                "name": "number of detections",
                "description": "How many boxes are used; the slots beyond are 0.",
                "content": _content(_FEATURE_PROPERTIES, features, dimensions=None),
            },
        ),
    ]


def _relative_to(card: ModelCard) -> str:
    """What boxes are shares of."""
    if card.letterbox:
        return "relative to the whole input with the edges around the image"
    return "relative to the image"


def _raw_outputs() -> list:
    return [
        make_table(
            _TENSOR,
            {
                "name": "location",
                "description": (
                    "Box codes dy, dx, dh, dw of each default box. With the default box (cy, cx, "
                    f"h, w) of {ANCHORS_FILE} (float32, little endian) and the variances of "
                    f"{SETTINGS_FILE}: centre = code * variance * size + centre, "
                    "size = exp(code * variance) * size."
                ),
                "content": _box_content(),
            },
        ),
        make_table(
            _TENSOR,
            {
                "name": "score",
                "description": "Probability of each class for each default box; no background.",
                "files": _label_files(_AXIS_LABELS),
            },
        ),
    ]


def _box_content():
    properties = make_table(
        ("index", "type", "coordinates"),
        {"index": np.array(_BOX_INDEX, np.uint32), "type": np.int8(_BOUNDARIES)},
    )
    return _content(_BOX_PROPERTIES, properties)


def _label_files(kind: int) -> list:
    return [
        make_table(
            _FILE,
            {
                "name": LABEL_FILES[0],
                "description": "Class names, a line each.",
                "type": np.int8(kind),
            },
        )
    ]


def _decoding_options(raw: Decoding):
    fields = ("x_center", "y_center", "width", "height")
    boxes = [
        make_table(
            fields, {key: np.float32(v) for key, v in zip(fields, (x, y, w, h), strict=True)}
        )
        for y, x, h, w in raw.centers
    ]
    y, x, h, w = (np.float32(1.0 / v) for v in raw.variances)
    decoding = {
        "num_classes": np.int32(raw.num_classes),
        "num_boxes": np.int32(len(boxes)),
        "num_coords": np.int32(4),
        # MediaPipe checks for 2 even where there are no keypoints.
        "values_per_keypoint": np.int32(2),
        "x_scale": x,
        "y_scale": y,
        "w_scale": w,
        "h_scale": h,
        "apply_exponential": np.bool_(True),
        "sigmoid_score": np.bool_(False),
    }
    fixed = make_table(("fixed",), {"fixed": make_table(("anchors",), {"anchors": boxes})})
    return make_table(
        ("parser", "anchors", "decoding"),
        {"parser": "1.0.0", "anchors": fixed, "decoding": make_table(_DECODING, decoding)},
    )


def _content(kind: int, properties, dimensions: int | None = 2):
    fields = {"kind": np.uint8(kind), "properties": properties}
    if dimensions is not None:
        value = np.int32(dimensions)
        fields["range"] = make_table(("min", "max"), {"min": value, "max": value})
    return make_table(_CONTENT, fields)


def _unit(kind: int, options):
    return make_table(("kind", "options"), {"kind": np.uint8(kind), "options": options})
