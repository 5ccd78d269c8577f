"""Which images two data sets have in common, such as those to train on and to judge by."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ssd_keras.data.ground_truth import GroundTruth, TruthTable, table_of
from ssd_keras.data.source import Source

# By how much a side of one box may differ between formats: half a pixel of an image of 500.
_TOLERANCE = 1e-3


def shared_images(one: Source, other: Source) -> list[str]:
    """The ids of the images of `one` that are in `other`, too, in their order.

    An image is the same where it is the same file, links followed. It is the same, too, with the
    same id, size and objects, some edge of which lies within the image, and, where both are files,
    as many bytes: a copy, or an image that was packed. Ids alone say nothing, since most sets count
    from 0.

    No image is opened. Of a set that is read in sequence only the sample is looked at.
    """
    left, right = (table_of(source.sample.ground_truth()) for source in (one, other))
    files = set(filter(None, _real_paths(right.paths)))
    alike = defaultdict(list)
    for index in range(len(right)):
        alike[_key(right, index)].append(index)

    def is_copied(index: int) -> bool:
        candidates = alike.get(_key(left, index))
        if not candidates:
            return False
        first = left[index]
        return any(_are_copies(first, one.classes, right[at], other.classes) for at in candidates)

    return [
        left.image_ids[index]
        for index, path in enumerate(_real_paths(left.paths))
        if path in files or is_copied(index)
    ]


def _key(table: TruthTable, index: int) -> tuple[str, int, int]:
    # The primes of ids that joined sets had in common.
    return table.image_ids[index].rstrip("'"), *table.sizes[index].tolist()


def _are_copies(
    first: GroundTruth, classes: Sequence[str], second: GroundTruth, others: Sequence[str]
) -> bool:
    """Whether two images of one id and size have the same objects, and as many bytes."""
    if len(first) != len(second) or not ((first.boxes > 0) & (first.boxes < 1)).any():
        return False
    called = [classes[label] for label in first.labels]
    if called != [others[label] for label in second.labels]:
        return False
    if not np.allclose(first.boxes, second.boxes, rtol=0, atol=_TOLERANCE):
        return False
    if first.path is None or second.path is None:
        return True
    try:
        return os.path.getsize(first.path) == os.path.getsize(second.path)
    except OSError:
        return False


def _real_paths(paths: Sequence[str | None]) -> list[str | None]:
    """Where paths lead to; looks into each folder once and asks for no file that is no link."""
    folders: dict[str, tuple[str, set[str] | None]] = {}
    real: list[str | None] = []
    for path in paths:
        folder, name = os.path.split(path or "")
        if path and folder not in folders:
            folders[folder] = os.path.realpath(folder), _links(folder)
        if path:
            place, links = folders[folder]
            is_link = links is None or name in links
            path = os.path.realpath(path) if is_link else os.path.join(place, name)
        real.append(path)
    return real


def _links(folder: str) -> set[str] | None:
    """The names of the links in a folder; None where it cannot be looked into."""
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return None
