"""The records of TFRecord files: an encoded image and its objects each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ssd_keras.data import checks, images, packed
from ssd_keras.data.record_file import records
from ssd_keras.data.source import NOTED, REFUSED, Problem
from ssd_keras.errors import one_line

# What the features of objects begin with, by the TensorFlow Object Detection API.
OBJECT = "image/object/"
_CORNERS = ("ymin", "xmin", "ymax", "xmax")


class Entry(NamedTuple):
    """A record: its image and what else tells it apart from others."""

    row: checks.Row
    header: images.Header
    location: packed.Location
    numbers: list[int | None]
    other_ids: tuple[str, str]


def read_entries(path: str, problems: list[Problem]) -> Iterator[Entry]:
    """The good records of a file; what is wrong with others is added to `problems`."""
    for record in records(path, problems):
        if entry := read_entry(path, *record, problems):
            yield entry


def read_entry(
    path: str, index: int, offset: int, data: bytes, problems: list[Problem]
) -> Entry | None:
    """A record, whose `data` begin at `offset` of its file; None if it cannot be used."""
    import tensorflow as tf

    place = f"{path}, record {index}"
    try:
        feature = tf.train.Example.FromString(data).features.feature
    except Exception as error:
        message = f"is no tf.train.Example ({one_line(error)})"
        problems.append(Problem("broken_record", place, message, REFUSED, images_lost=1))
        return None
    record = _Record(feature, place)
    row, numbers = _row(record, problems)
    if row is None:
        return None
    if fault := record.fault_of_image():
        problems.append(row.left_out("broken_image", place, fault))
        return None
    encoded = record.first("image/encoded")
    try:
        header = images.parse_header(encoded, place)
    except images.ImageError as error:
        problems.append(row.left_out("broken_image", place, error.reason))
        return None
    location = packed.Location(path, offset + data.index(encoded), len(encoded))
    others = record.text("image/filename"), f"{os.path.basename(path)}-{index}"
    return Entry(row, header, location, numbers, others)


class _Record:
    """The features of a record."""

    def __init__(self, feature, place: str):
        self._feature = feature
        self.place = place

    def values(self, name: str) -> list:
        """All values of a feature, bytes or numbers; [] if there is none."""
        if name not in self._feature:
            return []
        kind = self._feature[name].WhichOneof("kind")
        return list(getattr(self._feature[name], kind).value) if kind else []

    def first(self, name: str, otherwise=None):
        """The first value of a feature."""
        return next(iter(self.values(name)), otherwise)

    def number(self, name: str) -> float | None:
        """The first value of a feature if it is a number."""
        value = self.first(name)
        return value if isinstance(value, int | float) else None

    def text(self, name: str) -> str:
        """The first value of a feature as text, whatever it is."""
        value = self.first(name, b"")
        return _text(value) if isinstance(value, bytes) else str(value)

    def numbers(self, name: str, count: int, unknown) -> list:
        """As many numbers as there are objects; `unknown` for each if there are others."""
        values = self.values(name)
        good = len(values) == count and not any(isinstance(value, bytes) for value in values)
        return values if good else [unknown] * count

    def fault_of_image(self) -> str:
        """Why the record has not one image; "" where it has."""
        values = self.values("image/encoded")
        if len(values) == 1 and isinstance(values[0], bytes):
            return ""
        if values:
            return f"has {len(values)} values as image/encoded, not the bytes of one image"
        there = sorted(self._feature)
        listed = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        return f"has no image/encoded, the bytes of the image; its features: {listed or 'none'}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace").strip()


def _row(record: _Record, problems: list[Problem]) -> tuple[checks.Row | None, list[int | None]]:
    """The objects of a record and their class numbers."""
    place = record.place
    row = checks.Row(
        record.text("image/source_id"),
        "",
        declared_size=(record.number("image/height"), record.number("image/width")),
        declared_at=place,
        normalized=True,
        tolerance=checks.SHARE_TOLERANCE,
    )
    corners = [record.values(f"{OBJECT}bbox/{key}") for key in _CORNERS]
    texts = record.values(f"{OBJECT}class/text")
    labels = record.values(f"{OBJECT}class/label")
    count = len(corners[0])
    if fault := _fault(corners, texts, labels):
        lost = ("",) * max(map(len, (*corners, texts, labels)))
        problem = Problem("broken_record", place, fault, REFUSED, lost, images_lost=1)
        problems.append(problem)
        return None, []
    names, numbers = _classes_of(texts, labels, count)
    marks = {"difficult": 0, "is_crowd": 0, "is_ignored": 0, "area": None}
    difficult, crowd, ignored, area = (
        record.numbers(f"{OBJECT}{key}", count, unknown) for key, unknown in marks.items()
    )
    known = [record.values(f"{OBJECT}{key}") for key in marks]
    if any(values and len(values) != count for values in known):
        message = f"has marks or areas that are not one for each of {count} objects: not read"
        problems.append(Problem("broken_marks", place, message, NOTED, image=row.image))
    for i, box in enumerate(zip(*corners, strict=True)):
        flags = {"difficult": bool(difficult[i]), "crowd": bool(crowd[i]), "area": area[i]}
        flags["ignored"] = bool(ignored[i])
        row.add("", box, f"{place}, object {i}", **flags)
    row.names = names  # their encoding is told by those of all records together
    return row, numbers


def _fault(corners, texts, labels) -> str:
    """Why the objects of a record cannot be read; "" where they can."""
    counts = [len(values) for values in corners]
    numbers_of_classes = {len(values) for values in (texts, labels) if values} or {0}
    if len(set(counts)) > 1 or counts[0] not in numbers_of_classes:
        classes = " and ".join(str(number) for number in sorted(numbers_of_classes))
        return f"has {counts} box corners ({', '.join(_CORNERS)}) for {classes} classes"
    strange = [
        name
        for name, values, kind in (
            *((f"bbox/{key}", v, int | float) for key, v in zip(_CORNERS, corners, strict=True)),
            ("class/text", texts, bytes),
            ("class/label", labels, int),
        )
        if not all(isinstance(value, kind) for value in values)
    ]
    return f"has {OBJECT}{strange[0]} of another type than that feature has" if strange else ""


def _classes_of(texts, labels, count) -> tuple[list[str], list[int | None]]:
    """The names of classes, "" where there is none, and their numbers, None where there is none."""
    names = [""] * count
    if len(texts) == count:
        names = [text.decode("utf-8", errors="surrogateescape").strip() for text in texts]
    return names, list(labels) if len(labels) == count else [None] * count
