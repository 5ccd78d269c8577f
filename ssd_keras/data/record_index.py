"""The index beside records: where each image lies, and its objects, so that no scan is needed.

A large set is opened by its index in the time that it takes to read the boxes. Of the files
themselves only the sizes, beginnings and ends are compared then; each image is compared with its
checksum when it is read.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras import remote
from ssd_keras.data import images, index_file, packed
from ssd_keras.data.ground_truth import GroundTruth
from ssd_keras.data.names import as_number
from ssd_keras.data.rows import SHARE_TOLERANCE, Headers, Row, RowsOnDemand, RowTable, known_area
from ssd_keras.data.source import NOTED, Problem

SUFFIX = ".index.npz"
# Files that are smaller together are read whole, which takes a few seconds and compares all
# checksums.
FROM_BYTES = 256 << 20
ABOUT = {"kind": "records"}
_OF_IMAGES = {"shard": np.int32, "offset": np.int64, "length": np.int64, "checksum": np.uint32,
              "height": np.int32, "width": np.int32, "standard_jpeg": bool, "turned": bool,
              "count": np.int32}  # fmt: skip
_OF_OBJECTS = {"labels": np.int32, "difficult": bool, "crowd": bool, "ignored": bool,
               "area": np.float32}  # fmt: skip


class Builder:
    """Gathers the index of records while they are written.

    Args:
        classes: class names in the order of their labels.
        shards: how many files there are.
    """

    def __init__(self, classes: Sequence[str], shards: int):
        self._classes = list(classes)
        self._ends = [0] * shards
        self._ids: list[str] = []
        self._images: list[tuple] = []
        self._truth: list[GroundTruth] = []

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(self._ends)

    def add(self, shard: int, record: bytes, encoded: bytes, truth: GroundTruth) -> None:
        """Takes in a record that is written behind the others of a shard."""
        offset = self._ends[shard] + _HEAD + record.index(encoded)
        self._ends[shard] += _HEAD + len(record) + _TAIL
        header = images.parse_header(encoded, truth.image_id)
        self._images.append(
            (shard, offset, len(encoded), zlib.crc32(encoded), header.height, header.width,
             header.standard_jpeg, header.turned, len(truth))
        )  # fmt: skip
        self._ids.append(truth.image_id)
        self._truth.append(truth)

    def arrays(self, paths: Sequence[str]) -> dict[str, np.ndarray]:
        """The index, once the shards lie where `paths` says."""
        in_order = sorted(range(len(self._images)), key=lambda n: self._images[n][:2])
        columns = zip(*(self._images[n] for n in in_order), strict=True)
        truth = [self._truth[n] for n in in_order]
        arrays = {
            name: np.array(values, dtype)
            for (name, dtype), values in zip(_OF_IMAGES.items(), columns, strict=True)
        }
        for name, dtype in _OF_OBJECTS.items():
            parts = [getattr(one, name) for one in truth]
            arrays[name] = np.concatenate(parts).astype(dtype)
        arrays["boxes"] = np.concatenate([one.boxes for one in truth])
        shards = [[os.path.basename(path), *_mark_of(path)] for path in paths]
        ids = [self._ids[n] for n in in_order]
        return arrays | {"rest": index_file.as_array([shards, self._classes, ids])}


# Bytes around the data of a record.
_HEAD, _TAIL = 12, 4


def _mark_of(path: str) -> list:
    """What a file is told from another one by: its size, beginning and end."""
    with remote.open_binary(path) as file:
        size = file.seek(0, os.SEEK_END)
        ends = []
        for at in (0, max(0, size - 16)):
            file.seek(at)
            ends.append(file.read(16).hex())
    return [size, *ends]


class Indexed(NamedTuple):
    """What the indexes of some files say: the columns of all images, and where they lie."""

    table: RowTable
    headers: Headers
    locations: packed.Locations
    classes: list[str]


def read(files: Sequence[str], problems: list[Problem]) -> Indexed | None:
    """What the indexes beside the files say; None where not all of them have one that fits.

    An index that does not fit its files is noted.
    """
    if sum(map(remote.size_of, files)) < FROM_BYTES:
        return None
    parts, waiting = [], {os.path.basename(path): path for path in files}
    if len(waiting) < len(files):  # of several folders
        return None
    folder = os.path.dirname(files[0])
    for place in remote.matching(os.path.join(remote.escape(folder), f"*{SUFFIX}")):
        arrays = index_file.read(place, ABOUT)
        if arrays is None:
            _note(place, "is damaged or of another version", problems)
            continue
        shards, classes, ids = index_file.as_values(arrays.pop("rest"))
        own = [waiting.get(name) for name, *_ in shards]
        if not any(own):
            continue
        if any(
            path and _mark_of(path) != mark for path, (_, *mark) in zip(own, shards, strict=True)
        ):
            _note(place, "was written for other files", problems)
            return None
        parts.append(_Part(arrays, own, classes, ids))
        for name, *_ in shards:
            waiting.pop(name, None)
    if waiting or not parts:
        return None
    return _concatenate(parts)


def _note(place: str, why: str, problems: list[Problem]) -> None:
    message = f"{why}: the files are read from beginning to end; make-records writes a new one"
    problems.append(Problem("record_index", place, message, NOTED))


class _Part(NamedTuple):
    """An index, and which of the files of its set are to be read."""

    arrays: Mapping[str, np.ndarray]
    paths: list[str | None]
    classes: list[str]
    ids: list[str]


def _concatenate(parts: Sequence[_Part]) -> Indexed | None:
    classes = list(dict.fromkeys(name for part in parts for name in part.classes))
    place = {name: n for n, name in enumerate(classes)}
    files = [path for part in parts for path in part.paths]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*_OF_IMAGES, *_OF_OBJECTS)}
    columns["boxes"], ids, first = [], [], 0
    for part in parts:
        used = np.array([path is not None for path in part.paths])[part.arrays["shard"]]
        objects = np.repeat(used, part.arrays["count"])
        labels = np.array([place[name] for name in part.classes], np.int32)
        arrays = part.arrays | {
            "shard": part.arrays["shard"] + first,
            "labels": labels[part.arrays["labels"]] if len(labels) else part.arrays["labels"],
        }
        first += len(part.paths)
        for name, found in columns.items():
            found.append(arrays[name][used if name in _OF_IMAGES else objects])
        ids += [name for name, is_used in zip(part.ids, used.tolist(), strict=True) if is_used]
    if len(set(map(as_number, ids))) < len(ids):
        return None
    whole = {name: np.concatenate(found) for name, found in columns.items()}
    table = RecordTable(ids, files, whole, classes)
    sizes = np.column_stack([whole["height"], whole["width"]]).astype(np.int64)
    none = np.zeros(len(ids), bool)
    headers = Headers(sizes, whole["standard_jpeg"], whole["turned"], none)
    numbers = (whole[name] for name in ("shard", "offset", "length", "checksum"))
    return Indexed(table, headers, packed.Locations(files, *numbers), classes)


class RecordTable(RowTable):
    """The rows of records, by their index."""

    def __init__(self, ids: Sequence[str], files, columns: Mapping, classes: Sequence[str]):
        super().__init__(RowsOnDemand(self))
        count = len(ids)
        self.image_ids, self.paths = list(ids), [""] * count
        self._shards = [os.fspath(files[n] or "") for n in range(len(files))]
        self._shard = columns["shard"]
        self.declared = np.full((count, 2), np.nan)
        self.normalized = np.ones(count, bool)
        self.tolerance = np.full(count, SHARE_TOLERANCE)
        self.points = np.full(count, "", "U6")
        self.starts = np.concatenate([[0], np.cumsum(columns["count"])]).astype(np.int64)
        self.names, self.name = list(classes), columns["labels"]
        self.boxes = columns["boxes"].astype(np.float64)
        for name in ("difficult", "crowd", "ignored"):
            setattr(self, name, columns[name])
        self.areas = columns["area"].astype(np.float64)

    def __len__(self) -> int:
        return len(self.image_ids)

    def state_unit(self, unit: str) -> None:
        """Nothing changes: what is indexed was checked when it was written, and is shares."""
        self.unit_stated = True

    def row(self, number: int) -> Row:
        """A row by itself."""
        part = slice(self.starts[number], self.starts[number + 1])
        place = f"{self._shards[self._shard[number]]}, image '{self.image_ids[number]}'"
        return Row(
            self.image_ids[number],
            "",
            declared_at=place,
            normalized=True,
            tolerance=SHARE_TOLERANCE,
            names=[self.names[index] for index in self.name[part]],
            boxes=[tuple(box) for box in self.boxes[part].tolist()],
            places=[f"{place}, object {n}" for n in range(part.stop - part.start)],
            difficult=self.difficult[part].tolist(),
            crowd=self.crowd[part].tolist(),
            ignored=self.ignored[part].tolist(),
            areas=[known_area(area) for area in self.areas[part].tolist()],
            unit_stated=self.unit_stated,
        )
