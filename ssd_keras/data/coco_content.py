"""What a COCO file says, in columns where its annotations are as those of most files."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import json
import os
from collections.abc import Iterable, Sequence

import numpy as np

from ssd_keras.data import coco_layout, index_file, json_lists, text, turned
from ssd_keras.data.source import Problem
from ssd_keras.errors import UserError, one_line
from ssd_keras.reading import open_file

# Twice the annotations of the largest public data sets.
MAX_JSON_BYTES = 16 << 30
# Of a file that cannot be read piece by piece.
MAX_WHOLE_BYTES = 4 << 30
KEYS = ("images", "annotations", "categories")
# From here on not every whole number is a float.
LARGEST_ID = 1 << 53
NO_ID = -LARGEST_ID
# Files below this size are read in less than a second.
_KEPT_FROM = 16 << 20
_OF_IMAGES = ("id", "file_name", "height", "width")
_COLUMNS = {"image": np.int64, "category": np.int64, "number": np.int64, "boxes": np.float64,
            "crowd": bool, "area": np.float64, "turn": np.float64}  # fmt: skip


@dataclasses.dataclass
class Annotations:
    """Objects of all images in the order of the file.

    Attributes:
        image, category, number: int64 `[n]`, image_id, category_id and id; of an annotation
            without an id `NO_ID`.
        boxes: float64 `[n, 4]`, `[x, y, width, height]` in pixels.
        crowd: bool `[n]`.
        area: float64 `[n]`, nan where it is unknown.
        turn: float64 `[n]`, by how many degrees the object is turned from its box, as CVAT says.
        odd: by their index, annotations that have other values than numbers, as the file has them;
            their columns mean nothing.
    """

    image: np.ndarray
    category: np.ndarray
    number: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    turn: np.ndarray
    odd: dict[int, object]

    def __len__(self) -> int:
        return len(self.image)

    def at(self, index: int):
        """An annotation as the file has it, but for what is not read."""
        if index in self.odd:
            return self.odd[index]
        return {
            "image_id": int(self.image[index]),
            "category_id": int(self.category[index]),
            "bbox": self.boxes[index].tolist(),
            "iscrowd": int(self.crowd[index]),
            "area": float(self.area[index]),
            "attributes": {"rotation": float(self.turn[index])},
        }


@dataclasses.dataclass
class Content:
    """The three lists of a COCO file; of images only what is read."""

    images: list
    annotations: Annotations
    categories: list


def read(path: str, problems: list[Problem]) -> Content:
    """Reads a COCO file, or what was found in it when it was read before.

    Raises:
        UserError: it cannot be read, is no JSON, or lacks one of the three lists.
    """
    stamp = index_file.stamp(path)
    kept = stamp is not None and stamp[0] >= _KEPT_FROM
    place = index_file.place_of("coco", path) if kept else None
    about = {"path": os.path.realpath(path), "stamp": stamp, "columns": list(_COLUMNS)}
    if kept and (arrays := index_file.read(place, about)) is not None:
        return _from_arrays(arrays)
    content = _read(path, problems)
    if kept and index_file.stamp(path) == stamp:
        index_file.write(place, _as_arrays(content), about)
    return content


def _read(path: str, problems: list[Problem]) -> Content:
    try:
        with open_file(path, limit=MAX_JSON_BYTES) as file, no_collection():
            return _gather(json_lists.pieces(file, KEYS))
    except json_lists.Unusual:
        content = _whole(path, problems)
    return _gather((json_lists.Piece(key, content[key]) for key in KEYS), is_exact=True)


@contextlib.contextmanager
def no_collection():
    """Keeps Python from looking for cycles, of which JSON has none, at every thousandth list."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _whole(path: str, problems: list[Problem]) -> dict:
    written = text.read_text(path, problems, limit=MAX_WHOLE_BYTES)
    try:
        content = json.loads(written, object_pairs_hook=json_lists.without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is no readable JSON: {_reason(error)}.") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in KEYS):
        kind = coco_layout.json_kind(path)
        what = f" It is of {kind}." if kind else ""
        raise UserError(f"'{path}' needs the lists images, annotations and categories.{what}")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    # Python's advice is to allow longer numbers, which take it very long.
    return "a number is too long" if "Exceeds the limit" in str(error) else one_line(error)


def _gather(pieces: Iterable[json_lists.Piece], is_exact: bool = False) -> Content:
    """Puts the pieces together; Unusual where a number may have been rounded, if not `is_exact`."""
    images, categories, parts = [], [], [_columns([])]
    odd: dict[int, object] = {}
    count = 0
    for key, elements in pieces:
        if key == "categories":
            categories += elements
        elif key == "images":
            images += map(_brief, elements)
        else:
            columns = _columns(elements)
            if columns is None:
                unlike = {n: one for n, one in enumerate(elements) if not _is_plain(one)}
                odd |= {count + n: one for n, one in unlike.items()}
                columns = _columns(
                    [_PLAIN if n in unlike else one for n, one in enumerate(elements)]
                )
            parts.append(columns)
            count += len(elements)
    if not is_exact:
        for one in itertools.chain(images, categories, odd.values()):
            _check_ids(one)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}
    return Content(images, Annotations(**joined, odd=odd), categories)


def _brief(entry):
    """An image's entry without what is not read."""
    if not isinstance(entry, dict):
        return entry
    return {key: entry[key] for key in _OF_IMAGES if key in entry}


def _check_ids(one) -> None:
    """Raises Unusual if an id is a number that may have been rounded."""
    ids = (one.get(key) for key in _IDS) if isinstance(one, dict) else ()
    if any(isinstance(value, float) and abs(value) >= LARGEST_ID for value in ids):
        raise json_lists.Unusual("an id is a large number")


_IDS = ("id", "image_id", "category_id")
# What stands in the columns for an annotation that does not fit into them.
_PLAIN = {"id": None, "image_id": 0, "category_id": 0, "bbox": [0, 0, 0, 0]}
_NUMBERS = {int, float}


def _columns(elements: Sequence) -> dict[str, np.ndarray] | None:
    """The columns of annotations; None if one of them does not fit."""
    if not set(map(type, elements)) <= {dict}:
        return None
    values = {key: [one.get(key) for one in elements] for key in (*_IDS, "bbox", "area")}
    crowd = [one.get("iscrowd", 0) for one in elements]
    turn = [0.0] * len(elements)
    if any("attributes" in one for one in elements):
        turn = [turned.degrees_of(rotation_of(one)) for one in elements]
    boxes, kinds = values["bbox"], {key: set(map(type, of)) for key, of in values.items()}
    if not (kinds["bbox"] <= {list} and set(map(len, boxes)) <= {4}):
        return None
    corners = list(itertools.chain.from_iterable(boxes))
    fits = (
        kinds["image_id"] | kinds["category_id"] | set(map(type, crowd)) <= {int}
        and kinds["id"] <= {int, type(None)}
        and kinds["area"] <= _NUMBERS | {type(None)}
        and set(map(type, corners)) <= _NUMBERS
        and set(crowd) <= {0, 1}
        and None not in turn
    )
    if not fits:
        return None
    if type(None) in kinds["id"]:
        values["id"] = [NO_ID if value is None else value for value in values["id"]]
    try:
        ids = {key: np.array(values[key], np.int64) for key in _IDS}
        numbers = np.array(corners, np.float64).reshape(-1, 4)
        area = np.array(values["area"], np.float64)
    except OverflowError:
        return None
    if any((np.abs(of) > LARGEST_ID - (key != "id")).any() for key, of in ids.items()):
        return None
    area[~(np.isfinite(area) & (area >= 0))] = np.nan
    return {"image": ids["image_id"], "category": ids["category_id"], "number": ids["id"],
            "boxes": numbers, "crowd": np.array(crowd, bool), "area": area,
            "turn": np.array(turn, np.float64)}  # fmt: skip


def rotation_of(annotation: dict):
    """What an annotation says by how many degrees its object is turned from its box.

    Of an object with a segmentation the box is around that, and such an attribute means something
    else.
    """
    attributes = annotation.get("attributes")
    if not isinstance(attributes, dict) or annotation.get("segmentation"):
        return 0.0
    return attributes.get("rotation", 0.0)


def _is_plain(one) -> bool:
    return _columns([one]) is not None


def _as_arrays(content: Content) -> dict[str, np.ndarray]:
    """What is kept of a file."""
    annotations = content.annotations
    rest = [content.images, content.categories, list(annotations.odd.items())]
    return {name: getattr(annotations, name) for name in _COLUMNS} | {
        "rest": index_file.as_array(rest)
    }


def _from_arrays(arrays: dict[str, np.ndarray]) -> Content:
    images, categories, odd = index_file.as_values(arrays.pop("rest"))
    return Content(images, Annotations(**arrays, odd=dict(odd)), categories)
