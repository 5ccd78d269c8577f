"""Headers of image files, kept from one start to the next where there are many."""

from __future__ import annotations

import os

import numpy as np

from ssd_keras.data import images, index_file, pillow

# Fewer files are opened again in less than a second.
FEW = 5000
# An index keeps this many times as many headers as the last set had, of sets in the same folder.
_OTHERS = 4
_NUMBERS = ("bytes", "time", "height", "width", "standard_jpeg", "turned")


class HeaderIndex:
    """Reads the headers of the images of a set; of large sets what was found is kept.

    A header that was kept counts as long as the size and the time of its file are the same. Faults
    are not kept.

    Args:
        count: the images of the set.
    """

    def __init__(self, count: int):
        self._count = count
        self._place = None
        self._known: dict[str, tuple[int, ...]] = {}
        self._read: dict[str, tuple[int, ...]] = {}
        self._is_new = False

    def __enter__(self) -> HeaderIndex:
        return self

    def read(self, path: str) -> images.Header:
        """The header of an image file; ImageError as of `images.read_header`."""
        if self._count < FEW:
            return images.read_header(path)
        if self._place is None:
            self._place = index_file.place_of("headers", os.path.dirname(path) or ".")
            self._known = _load(self._place)
        stamp = index_file.stamp(path)
        kept = self._known.get(path)
        if kept is None or kept[:2] != stamp:
            header = images.read_header(path)
            kept = (
                *(stamp or ()),
                header.height,
                header.width,
                header.standard_jpeg,
                header.turned,
            )
            self._is_new = True
        else:
            pillow.check_size(kept[3], kept[2], path)
        if stamp:
            self._read[path] = kept
        return images.Header(*kept[-4:-2], bool(kept[-2]), bool(kept[-1]))

    def __exit__(self, *raised) -> None:
        if self._is_new and not any(raised):
            others = {path: kept for path, kept in self._known.items() if path not in self._read}
            few = list(others.items())[: _OTHERS * len(self._read)]
            _save(self._place, self._read | dict(few))


def _load(place) -> dict[str, tuple[int, ...]]:
    arrays = index_file.read(place)
    if arrays is None:
        return {}
    columns = [arrays[name].tolist() for name in _NUMBERS]
    return dict(zip(index_file.as_values(arrays["paths"]), zip(*columns, strict=True), strict=True))


def _save(place, headers: dict[str, tuple[int, ...]]) -> None:
    numbers = np.array(list(headers.values()), np.int64).reshape(-1, len(_NUMBERS))
    columns = dict(zip(_NUMBERS, numbers.T, strict=True))
    index_file.write(place, {"paths": index_file.as_array(list(headers)), **columns})
