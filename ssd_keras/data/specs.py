"""From a data SPEC, `FORMAT:PLACE#SPLIT`, to a source."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from ssd_keras.data import coco, csv_file, images, shapes, tfds, tfrecord, voc, yolo
from ssd_keras.data.combined import CombinedSource
from ssd_keras.data.filtered import FILTERS, FilteredSource
from ssd_keras.data.source import Source
from ssd_keras.errors import UserError, did_you_mean

LOADERS = {
    "voc": voc.load,
    "coco": coco.load,
    "yolo": yolo.load,
    "csv": csv_file.load,
    "tfrecord": tfrecord.load,
    "tfds": tfds.load,
}
FORMATS = (*LOADERS, "shapes")


def load_source(spec: str, classes: Sequence[str] | None = None) -> Source:
    """Opens the data set that `spec` names.

    Args:
        spec: `FORMAT:PLACE#SPLIT` with a format of `FORMATS`; `shapes#SPLIT[,count=N]
        [,size=PIXELS]`; a bare folder or file, which is recognised by what it holds; or several
            of these joined by `+`.
        classes: class names in the order of their labels; None takes them from the data.

    Raises:
        UserError: the spec is not understood or nothing usable is there.
    """
    if not spec or not spec.strip():
        raise UserError("The data SPEC is empty; write FORMAT:PLACE#SPLIT, e.g. voc:DIR#train.")
    parts = _parts(spec)
    if len(parts) == 1:
        return _load(spec, classes)
    sources = [_load(part, classes) for part in parts]
    return CombinedSource(spec, sources, classes)


def _parts(spec: str) -> list[str]:
    """Splits at each `+` that a format name or an existing place follows."""
    parts = [""]
    for piece in spec.split("+"):
        place = re.split(r"[#?]", piece)[0]
        begins = place.partition(":")[0] in FORMATS or os.path.exists(place)
        if begins or not parts[-1]:
            parts.append(piece)
        else:
            parts[-1] += "+" + piece
    return [part for part in parts if part]


def _load(spec: str, classes) -> Source:
    if filtered := re.fullmatch(r"(.+)\?(\w+)=(.*)", spec):
        whole, kind, pattern = filtered.groups()
        if kind not in FILTERS:
            raise UserError(
                f"Unknown filter '{kind}' in '{spec}'; known: {', '.join(FILTERS)}."
                + did_you_mean(kind, FILTERS)
            )
        return FilteredSource(spec, _load(whole, classes), kind, pattern)
    head, _, split = spec.partition("#")
    name, colon, place = head.partition(":")
    if head == "shapes":
        return _shapes(spec, split, classes)
    if os.path.exists(head):
        return LOADERS[recognise(head)](spec, head, split or None, classes)
    if not colon:
        if os.sep in head or "." in head:
            parent = os.path.dirname(os.path.abspath(head))
            near = os.listdir(parent) if os.path.isdir(parent) else []
            hint = did_you_mean(os.path.basename(head.rstrip("/")), near)
            raise UserError(f"There is no file or folder '{head}'.{hint}")
        raise UserError(
            f"'{spec}' is neither FORMAT:PLACE#SPLIT nor a folder; formats: {', '.join(FORMATS)}."
            + did_you_mean(name, FORMATS)
        )
    if name not in LOADERS:
        raise UserError(
            f"Unknown data format '{name}' in '{spec}'; known: {', '.join(FORMATS)}."
            + did_you_mean(name, FORMATS)
        )
    if not place:
        raise UserError(f"'{spec}' names no place after '{name}:'.")
    return LOADERS[name](spec, place, split or None, classes)


def recognise(place: str) -> str:
    """The format of a file or folder, judged by what it holds.

    Raises:
        UserError: it holds nothing that looks like annotated images.
    """
    lower = place.lower()
    if os.path.isfile(place):
        if lower.endswith(".json"):
            return "coco"
        if lower.endswith((".yaml", ".yml")):
            return "yolo"
        if lower.endswith((".csv", ".tsv")):
            return "csv"
        if tfrecord.is_record(lower):
            return "tfrecord"
        raise UserError(f"'{place}' is no .json, .yaml, .csv, .tfrecord or .record file.")

    def has(*patterns: str) -> bool:
        base = glob.escape(place)
        return any(glob.glob(os.path.join(base, pattern)) for pattern in patterns)

    if has("features.json") and has("dataset_info.json"):
        return "tfds"
    if has("Annotations/*.xml", "VOC*/Annotations", "VOCdevkit/VOC*", "*.xml"):
        return "voc"
    if has("data.yaml", "data.yml", "dataset.yaml"):
        return "yolo"
    if has("instances.json", "annotations/instances_*.json", "*.json"):
        return "coco"
    if any(map(tfrecord.is_record, os.listdir(place))):
        return "tfrecord"
    if has("*.csv", "*.tsv"):
        return "csv"
    pictures = [f"*{extension}" for extension in images.EXTENSIONS]
    if has("labels", "images", *pictures):
        return "yolo"
    raise UserError(
        f"'{place}' holds no annotated images that are recognised: neither Annotations/*.xml, "
        "instances.json, data.yaml, images/ with labels/, *.csv nor *.tfrecord."
    )


def _shapes(spec: str, split: str, classes) -> Source:
    split, *options = (split or "train").split(",")
    values = {"count": shapes.DEFAULT_COUNTS.get(split, 300), "size": 300}
    for option in options:
        key, _, value = option.partition("=")
        if key not in values:
            raise UserError(f"Unknown option '{key}' in '{spec}'.{did_you_mean(key, values)}")
        if not value.isdigit() or int(value) < 1:
            raise UserError(f"'{key}' in '{spec}' must be a whole number from 1, not '{value}'.")
        values[key] = int(value)
    if classes is not None and tuple(classes) != shapes.CLASSES:
        raise UserError(f"The classes of '{spec}' are {','.join(shapes.CLASSES)}; leave them out.")
    return shapes.ShapesSource(spec, split, values["count"], values["size"])
