"""The catalogue of published detectors: what each is, where it comes from and what it may do."""

from __future__ import annotations

import csv
import dataclasses
import functools
import urllib.parse
from pathlib import Path

from ssd_keras.errors import unknown
from ssd_keras.weights.label_maps import COCO, VOC

CATALOGUE = Path(__file__).with_name("catalogue.csv")
CLASS_LISTS = {"COCO": COCO, "VOC": VOC}


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file that others publish.

    Attributes:
        address: where it is.
        name: what it is called there, and in the cache.
        size: its bytes, or None if its publishers do not say.
        sha256: its checksum, or "" if its publishers do not say.
    """

    address: str
    name: str
    size: int | None = None
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A published detector.

    Attributes:
        name: what it is called here.
        architecture: the model name that it has once it is imported.
        classes: the class list it was trained with, a key of `CLASS_LISTS`.
        file: what is fetched.
        members: names of the files that are needed of an archive, the weights first; empty where
            the file itself holds the weights.
        inside: the first member as a file of its own.
        licence: what it may be used for.
        origin: whose work it is.
        accuracy: as its publishers print it, or "".
        measured_on: on what, by whom, and what there is to know about it.
        input: size of its images, height x width.
    """

    name: str
    architecture: str
    classes: str
    file: Remote
    members: tuple[str, ...]
    inside: Remote | None
    licence: str
    origin: str
    accuracy: str
    measured_on: str
    input: str

    @property
    def labels(self) -> dict[int, str]:
        """Class names by their numbers."""
        return CLASS_LISTS[self.classes]


class WeightsList(tuple):
    """The names of the published detectors; printed, or shown in a notebook, their table.

    Attributes:
        entries: an `Entry` for each.
    """

    def __new__(cls, entries: tuple[Entry, ...]):
        names = super().__new__(cls, [entry.name for entry in entries])
        names.entries = entries
        return names

    def __repr__(self) -> str:
        head = f"{'name':<30} {'model':<36} {'data':<5} {'MB':>5}  {'licence':<13} accuracy"
        return "\n".join(["Published weights:", head, *map(_line, self.entries)])

    __str__ = __repr__


def _line(entry: Entry) -> str:
    size = "" if entry.file.size is None else f"{entry.file.size / 1e6:.0f}"
    stated = f"{entry.accuracy} ({entry.measured_on})" if entry.accuracy else "not stated"
    return (
        f"{entry.name:<30} {entry.architecture:<36} {entry.classes:<5} {size:>5}  "
        f"{entry.licence:<13} {stated}"
    )


def list_weights() -> WeightsList:
    """The names of detectors that others trained and `load` fetches; printed, their table."""
    return WeightsList(entries())


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Every published detector of the table, in its order."""
    with CATALOGUE.open(newline="", encoding="utf-8") as file:
        return tuple(map(_entry, csv.DictReader(file)))


def is_published(name: str) -> bool:
    """Whether a name is one of the table."""
    return name in list_weights()


def find_entry(name: str) -> Entry:
    """The published detector of a name.

    Raises:
        UserError: there is none; names those that are called alike.
    """
    for entry in entries():
        if entry.name == name:
            return entry
    raise unknown("published detector", name, list_weights())


def _entry(row: dict[str, str]) -> Entry:
    members = tuple(row.pop("file_inside").split())
    file = _remote(row.pop("address"), row.pop("bytes"), row.pop("sha256"))
    size, digest = row.pop("inside_bytes"), row.pop("inside_sha256")
    inside = _remote(members[0], size, digest) if len(members) == 1 else None
    return Entry(file=file, members=members, inside=inside, **row)


def _remote(address: str, size: str, sha256: str) -> Remote:
    name = urllib.parse.urlsplit(address).path.rpartition("/")[2]
    return Remote(address, name, int(size) if size else None, sha256)
