"""The form of TFRecord files: records one after the other, each with its length and checksums."""

from __future__ import annotations

import functools
import itertools
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from ssd_keras import remote
from ssd_keras.data.source import REFUSED, Problem
from ssd_keras.errors import UserError, unreadable

# Length, its checksum; the data; their checksum.
_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
# Far above any photograph; a damaged length takes no more memory than this.
MAX_RECORD_BYTES = 1 << 30
_COMPRESSED = {b"\x1f\x8b": "GZIP", b"\x78\x01": "ZLIB", b"\x78\x9c": "ZLIB", b"\x78\xda": "ZLIB"}
# As TensorFlow, the Object Detection API, Roboflow and Kaggle call such files, in parts or whole.
_NAME = re.compile(
    r"tfrecord|\.(records?|tfrec)(-\d+-of-\d+|\.gz)?$|-\d{5}-of-\d{5}$", re.IGNORECASE
)


def is_record(name: str) -> bool:
    """Whether a file of that name is one of records."""
    return _NAME.search(os.path.basename(name)) is not None


class Frame(NamedTuple):
    """Where the data of a record lie."""

    index: int
    offset: int
    length: int


def records(path: str, problems: list[Problem]) -> Iterator[tuple[int, int, bytes]]:
    """Index, offset and bytes of each record of a file.

    Both checksums are compared, as TensorFlow's own reader does: that of the length, because behind
    a wrong one nothing is found again, and that of the data, because a damaged box or class name
    looks like any other. A damaged record is reported; what follows a damaged length is lost.

    Raises:
        UserError: the file cannot be read, or is compressed.
    """
    try:
        with remote.open_binary(path) as file:
            known = len(problems)
            frames = list(_frames(file, path, problems))
            # TensorFlow compares checksums at the speed of memory, but says no more than yes or no.
            sound = len(problems) == known and _is_sound(path)
            for index, offset, length in frames:
                file.seek(offset)
                data, tail = file.read(length), file.read(_TAIL.size)
                if sound or tail == _TAIL.pack(masked_crc32c(data)):
                    yield index, offset, data
                else:
                    problems.append(_broken(path, index, "is damaged: its checksum differs"))
    except OSError as error:
        raise unreadable(path, error) from error


def first_records(
    path: str, count: int, problems: list[Problem]
) -> Iterator[tuple[int, int, bytes]]:
    """As `records`, of the first `count` alone; no more of the file is read.

    Raises:
        UserError: the file cannot be read, or is compressed.
    """
    try:
        with remote.open_binary(path) as file:
            for index, offset, length in itertools.islice(_frames(file, path, problems), count):
                file.seek(offset)
                data, tail = file.read(length), file.read(_TAIL.size)
                if tail == _TAIL.pack(masked_crc32c(data)):
                    yield index, offset, data
                else:
                    problems.append(_broken(path, index, "is damaged: its checksum differs"))
    except OSError as error:
        raise unreadable(path, error) from error


def bytes_around(length: int) -> int:
    """What a record of so many bytes takes in its file."""
    return _HEAD.size + length + _TAIL.size


def _frames(file: BinaryIO, path: str, problems: list[Problem]) -> Iterator[Frame]:
    """The records as far as their lengths are sound, none of them larger than is possible."""
    size = file.seek(0, os.SEEK_END)
    at = index = 0
    while at < size:
        file.seek(at)
        head = file.read(_HEAD.size)
        length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (size, None)
        sound = checksum is not None and masked_crc32c(head[:8]) == checksum
        if not index and not sound:
            _check_compression(head, path)
        if not sound or at + _HEAD.size + length + _TAIL.size > size:
            problems.append(_lost_end(path, index, at, size))
            return
        if length > MAX_RECORD_BYTES:
            message = f"has {length / 1e9:.1f} GB, more than {MAX_RECORD_BYTES / 1e9:.1f}"
            problems.append(_broken(path, index, message))
        else:
            yield Frame(index, at + _HEAD.size, length)
        at += _HEAD.size + length + _TAIL.size
        index += 1


def _is_sound(path: str) -> bool:
    """Whether the checksums of all records are right."""
    import tensorflow as tf

    try:
        # AutoGraph would write its code to a file among the temporary ones.
        one_more = tf.autograph.experimental.do_not_convert(lambda count, _: count + 1)
        tf.data.TFRecordDataset(path).reduce(np.int64(0), one_more)
    except tf.errors.OpError:
        return False
    return True


def _broken(path: str, index: int, message: str) -> Problem:
    return Problem("broken_record", f"{path}, record {index}", message, REFUSED, images_lost=1)


def _lost_end(path: str, index: int, at: int, size: int) -> Problem:
    lost = max(1, round((size - at) * index / at)) if at else 1
    message = (
        f"the file ends or is damaged inside record {index}; what follows is lost, "
        f"{(size - at) / size:.0%} of the file"
    )
    return Problem("broken_record", path, message, REFUSED, images_lost=lost)


def _check_compression(head: bytes, path: str) -> None:
    kind = _COMPRESSED.get(head[:2])
    if kind == "GZIP":
        raise UserError(
            f"'{path}' is compressed (GZIP); images are read from it in any order, which only the "
            f"plain file allows: gunzip --stdout '{path}' > PLAIN.tfrecord"
        )
    if kind:
        raise UserError(
            f"'{path}' is compressed ({kind}); images are read from it in any order, which only "
            "the plain file allows: write it again without compression."
        )


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files: Castagnoli's, turned and with a constant added."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# The data are cut into lanes of so many bytes, which go through the register side by side.
_LANE = 64


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC-32 of bytes (RFC 3720)."""
    if len(data) < _LANE:
        return _few(data)
    lanes = 1 << (-(-len(data) // _LANE) - 1).bit_length()
    padded = np.zeros(lanes * _LANE, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    # Zeros in front change nothing, once the start of all ones is added to the first bytes.
    padded[start : start + 4] ^= 0xFF
    words = np.ascontiguousarray(padded.view("<u2").reshape(lanes, _LANE // 2).T)
    table, register = _pairs(), np.zeros(lanes, np.uint32)
    for word in words:
        register = table[(register ^ word) & 0xFFFF] ^ register >> 16
    doublings = _LANE.bit_length() - 1
    while len(register) > 1:
        register = _apply(_behind_zeros(doublings), register[0::2]) ^ register[1::2]
        doublings += 1
    return int(register[0]) ^ 0xFFFFFFFF


def _few(data: bytes) -> int:
    table, register = _byte_list(), 0xFFFFFFFF
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF


@functools.cache
def _byte_list() -> list[int]:
    return _bytes().tolist()


@functools.cache
def _bytes() -> np.ndarray:
    """uint32 `[256]`: what a byte becomes in the register."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


@functools.cache
def _pairs() -> np.ndarray:
    """uint32 `[65536]`: what two bytes become in the register."""
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        table = _bytes()[table & 0xFF] ^ table >> 8
    return table


@functools.cache
def _behind_zeros(doublings: int) -> np.ndarray:
    """uint32 `[4, 256]`: what each byte of the register becomes behind 2^doublings zero bytes."""
    if not doublings:
        register = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
        return _bytes()[register & 0xFF] ^ register >> 8
    half = _behind_zeros(doublings - 1)
    return _apply(half, half)


def _apply(tables: np.ndarray, register: np.ndarray) -> np.ndarray:
    found = [table[register >> 8 * place & 0xFF] for place, table in enumerate(tables)]
    return found[0] ^ found[1] ^ found[2] ^ found[3]
