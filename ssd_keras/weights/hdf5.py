"""HDF5 files as plain data: every array lies in the file itself and is as large as it says.

HDF5 can do more: a dataset may lie in another file (external storage, virtual datasets), a name may
lead to another file (external links), a few bytes may stand for gigabytes (compressed chunks,
arrays that were never written). A weights file with any of that reads what it should not.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from ssd_keras.weights.files import MAX_ARRAYS

# Keras compresses nothing, so that a file is hardly smaller than its arrays; weights of which most
# are zero come to about a tenth by gzip.
MAX_EXPANSION = 32
ROOM = 1 << 20
_HARMLESS_FILTERS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)


@contextlib.contextmanager
def open_self_contained(content: Path | BinaryIO, size: int) -> Iterator[h5py.File]:
    """Opens a file of `size` bytes of which every array can be read without harm.

    Raises:
        ValueError: it leads out of itself, or its arrays are out of proportion.
        OSError, RuntimeError, KeyError: it is no HDF5 file, or a damaged one.
    """
    with h5py.File(content, "r") as file:
        check_self_contained(file, MAX_EXPANSION * size + ROOM)
        yield file


def check_self_contained(file: h5py.File, limit: int):
    """Refuses links and arrays that lead out of the file, and more than `limit` bytes of arrays.

    Raises:
        ValueError: says which object is refused and why.
    """
    left, seen = limit, set()
    groups = [file]
    while groups:
        group = groups.pop()
        _check_attributes(group, limit)
        for name in group:
            item = _follow_link(group, name)
            place = (item.name or name)[:80]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_ARRAYS:
                raise ValueError("it has too many objects")
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                left -= _checked_bytes(item, place, limit)
                if left < 0:
                    raise ValueError(f"its arrays say that they have more than {limit:,} bytes")
                _check_attributes(item, limit)


def _follow_link(group: h5py.Group, name: str):
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"'{name[:80]}' is a {type(link).__name__}, which could lead anywhere")
    return group[name]


def _check_attributes(item, limit: int):
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        if math.prod(attribute.shape) * attribute.dtype.itemsize > limit:
            raise ValueError(f"its attribute '{name[:80]}' is out of proportion")


def _checked_bytes(dataset: h5py.Dataset, place: str, limit: int) -> int:
    """The bytes that reading a dataset takes."""
    if dataset.external:
        raise ValueError(f"'{place}' lies in another file ('{dataset.external[0][0][:80]}')")
    if dataset.is_virtual:
        raise ValueError(f"'{place}' is put together from other files")
    if dataset.shape is None or dataset.dtype.kind not in "fiub":
        raise ValueError(f"'{place}' holds no numbers")
    if dataset.chunks is not None:
        _check_chunks(dataset, place, limit)
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _check_chunks(dataset: h5py.Dataset, place: str, limit: int):
    whole = math.prod(dataset.chunks) * dataset.dtype.itemsize
    count = dataset.id.get_num_chunks()
    if whole > limit or count > MAX_ARRAYS:
        raise ValueError(f"the pieces of '{place}' are out of proportion")
    filters = _filters(dataset)
    if any(kind != h5py.h5z.FILTER_DEFLATE for kind in filters):
        raise ValueError(f"'{place}' is compressed by another way than gzip")
    for index in range(count):
        stored = dataset.id.get_chunk_info(index)
        if stored.size > limit:
            raise ValueError(f"the pieces of '{place}' are out of proportion")
        if filters:
            _, packed = dataset.id.read_direct_chunk(stored.chunk_offset)
            # HDF5 takes as much memory as comes out, whatever the piece should have.
            if len(zlib.decompressobj().decompress(packed, whole + 1)) > whole:
                raise ValueError(f"a piece of '{place}' unpacks to more than it has")


def _filters(dataset: h5py.Dataset) -> list[int]:
    """What changes the size of the dataset's pieces."""
    properties = dataset.id.get_create_plist()
    kinds = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    return [kind for kind in kinds if kind not in _HARMLESS_FILTERS]
