"""The index of a TensorFlow checkpoint, looked at before TensorFlow takes memory by what it says.

It is a table of LevelDB: blocks of entries, a block that says where they lie, and a footer that
says where that one lies. TensorFlow takes as much memory as a place says that it has bytes.

Source: tensorflow/core/lib/io/format.h and block.cc.
"""

from __future__ import annotations

from collections.abc import Iterator

from ssd_keras.weights.caffe import varint

_FOOTER_BYTES = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER_BYTES = 5  # how the block is compressed, and its checksum
_NOT_COMPRESSED = 0


def check_index(data: bytes):
    """Refuses an index whose blocks lie beyond its end or are compressed, as none of TensorFlow's.

    Raises:
        ValueError: says what is wrong.
    """
    if len(data) < _FOOTER_BYTES or not data.endswith(_MAGIC):
        raise ValueError("it is no index of a checkpoint")
    view = memoryview(data)
    _, _, position = _place(view, len(data) - _FOOTER_BYTES)
    start, end, _ = _place(view, position)
    for value in _values(view, start, end):
        _place(view, value)


def _place(data: memoryview, position: int) -> tuple[int, int, int]:
    """Where the block starts and ends whose place stands at a position, and what comes behind."""
    start, position = varint(data, position)
    size, position = varint(data, position)
    if start + size + _TRAILER_BYTES > len(data):
        raise ValueError("a block of it lies beyond its end")
    if data[start + size] != _NOT_COMPRESSED:
        raise ValueError("a block of it is compressed")
    return start, start + size, position


def _values(data: memoryview, start: int, end: int) -> Iterator[int]:
    """Where the value of each entry of a block stands.

    An entry is three numbers (bytes of its key that are those of the key before, further bytes of
    its key, bytes of its value), the key's further bytes and the value. Behind the last stand the
    places of some entries, four bytes each, and their number.
    """
    restarts = int.from_bytes(data[max(start, end - 4) : end], "little")
    last = end - 4 * (restarts + 1)
    if last < start:
        raise ValueError("a block of it is too short")
    position = start
    while position < last:
        _, position = varint(data, position)
        key, position = varint(data, position)
        value, position = varint(data, position)
        yield position + key
        position += key + value
