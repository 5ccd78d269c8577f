"""Sources whose encoded images lie one after the other in few large files."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ssd_keras.data import checks, images
from ssd_keras.data.rows import Headers, RowTable
from ssd_keras.data.source import GroundTruth, Problem, Source
from ssd_keras.errors import one_line


@dataclasses.dataclass(frozen=True)
class Location:
    """Where the bytes of an encoded image lie: a file, or one that is already open."""

    file: str | int
    offset: int
    length: int


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
        self._locations = list(locations)
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()
        self._keep_open = keep_open

    def encoded(self, index: int) -> bytes:
        at = self._locations[index]
        try:
            return os.pread(self._descriptor(at.file), at.length, at.offset)
        except OSError as error:
            name = self._examples[index].image_id
            raise images.ImageError(name, f"cannot be read ({one_line(error)})") from error

    def image(self, index: int) -> np.ndarray:
        return images.decode_image(self.encoded(index), self._examples[index].image_id)

    def _descriptor(self, file: str | int) -> int:
        if isinstance(file, int):
            return file
        with self._lock:
            if file not in self._descriptors:
                self._descriptors[file] = os.open(file, os.O_RDONLY)
            return self._descriptors[file]

    def __del__(self):
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)


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

    def key(name: str) -> str:
        return name.lstrip("0") or "0" if name.isdecimal() else name

    taken, next_number = {key(row.image_id) for row in rows}, Counter()
    seen: set[str] = set()
    for row in rows:
        name = first = row.image_id
        while not name or key(name) in seen or (name != first and name in taken):
            next_number[first] += 1
            name = f"{first}-{next_number[first] + 1}"
        row.image_id = name
        seen.add(key(name))
