"""Sources whose encoded images lie one after the other in few large files."""

from __future__ import annotations

import dataclasses
import os
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

from ssd_keras import remote
from ssd_keras.data import checks, images
from ssd_keras.data.names import as_number
from ssd_keras.data.rows import Headers, RowTable
from ssd_keras.data.source import GroundTruth, Problem, Source
from ssd_keras.errors import UserError, one_line


@dataclasses.dataclass(frozen=True)
class Location:
    """Where the bytes of an encoded image lie: a file, or one that is already open.

    `checksum` is their CRC-32 where it is known.
    """

    file: str | int
    offset: int
    length: int
    checksum: int | None = None


class Locations(Sequence[Location]):
    """The places of many images as columns.

    Args:
        files: their names.
        file: int `[n]`, in which of them an image lies.
        offset, length, checksum: int `[n]`, as in `Location`.
    """

    def __init__(self, files: Sequence[str], file, offset, length, checksum):
        self._files = list(files)
        self._columns = tuple(map(np.asarray, (file, offset, length, checksum)))

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: int) -> Location:
        file, offset, length, checksum = (int(column[index]) for column in self._columns)
        return Location(self._files[file], offset, length, checksum)

    def take(self, indices: np.ndarray) -> Locations:
        """Those of some images."""
        return Locations(self._files, *(column[indices] for column in self._columns))


class PackedSource(Source):
    """A source that reads its images by place from large files, in any order."""

    def __init__(
        self,
        spec: str,
        classes: Sequence[str],
        examples: Iterable[GroundTruth],
        problems: Iterable[Problem],
        standard_jpeg: Sequence[bool],
        locations: Sequence[Location],
        keep_open: object = None,
    ):
        super().__init__(spec, classes, examples, problems, standard_jpeg=standard_jpeg)
        self._locations = locations if isinstance(locations, Locations) else list(locations)
        self._remote: dict[str, BinaryIO] = {}
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()
        self._keep_open = keep_open

    def encoded(self, index: int) -> bytes:
        at, name = self._locations[index], self._examples[index].image_id
        try:
            data = self._read(at)
        except (OSError, UserError) as error:
            raise images.ImageError(name, f"cannot be read ({one_line(error)})") from error
        if at.checksum is not None and zlib.crc32(data) != at.checksum:
            raise images.ImageError(name, f"is damaged in '{at.file}': its checksum differs")
        return data

    def _read(self, at: Location) -> bytes:
        if isinstance(at.file, int) or not remote.is_remote(at.file):
            return os.pread(self._descriptor(at.file), at.length, at.offset)
        with self._lock:
            if at.file not in self._remote:
                self._remote[at.file] = remote.open_binary(at.file)
            file = self._remote[at.file]
            file.seek(at.offset)
            return file.read(at.length)

    def image(self, index: int) -> np.ndarray:
        return images.decode_image(self.encoded(index), self._examples[index].image_id)

    def _descriptor(self, file: str | int) -> int:
        if isinstance(file, int):
            return file
        with self._lock:
            if file not in self._descriptors:
                self._descriptors[file] = os.open(file, os.O_RDONLY)
            return self._descriptors[file]

    # Bound here, since Python forgets the names of modules before its last objects.
    def __del__(self, close=os.close):
        for descriptor in getattr(self, "_descriptors", {}).values():
            close(descriptor)


def assemble_indexed(
    spec: str,
    classes: Sequence[str],
    indexed,
    problems: list[Problem],
    unit: str | None = None,
) -> PackedSource:
    """As `assemble`, of a `record_index.Indexed`."""
    table, headers, locations, _ = indexed
    checked, kept = checks.check_all(spec, classes, table, headers, problems, unit)
    return PackedSource(
        spec,
        checked.classes,
        checked.truth,
        problems,
        headers.standard_jpeg[kept],
        locations.take(kept),
    )


def assemble(
    spec: str,
    classes: Sequence[str],
    packed: Iterable[tuple[checks.Row, images.Header, Location]],
    problems: list[Problem],
    keep_open: object = None,
    unit: str | None = None,
) -> PackedSource:
    """Checks the rows, as `checks.assemble` does, and makes a source of what is good."""
    packed = list(packed)
    rows = [row for row, _, _ in packed]
    _tell_apart(rows)
    headers = Headers.of(header for _, header, _ in packed)
    checked, kept = checks.check_all(spec, classes, RowTable.of(rows), headers, problems, unit)
    locations = [packed[index][2] for index in kept]
    standard_jpeg = headers.standard_jpeg[kept]
    return PackedSource(
        spec, checked.classes, checked.truth, problems, standard_jpeg, locations, keep_open
    )


def _tell_apart(rows: Sequence[checks.Row]) -> None:
    """Gives a number to ids that occur again; "1" and "001" are the same in results files."""
    taken, next_number = {as_number(row.image_id) for row in rows}, Counter()
    seen: set[str] = set()
    for row in rows:
        name = first = row.image_id
        while not name or as_number(name) in seen or (name != first and name in taken):
            next_number[first] += 1
            name = f"{first}-{next_number[first] + 1}"
        row.image_id = name
        seen.add(as_number(name))
