"""What the markers of a JPEG file say, up to its pixels (ITU-T T.81, annex B)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

START, END = b"\xff\xd8\xff", b"\xff\xd9"
FRAME, HUFFMAN, QUANTIZERS, SCAN, EXIF, ADOBE = 0xC0, 0xC4, 0xDB, 0xDA, 0xE1, 0xEE
# Encoders write less than a dozen; each is looked at in Python.
MOST_SEGMENTS = 1000
# Noise needs less than two bytes for each of a pixel's three values; an even grey two bits for 64.
BYTES_PER_PIXEL, PIXELS_PER_BYTE = 6, 1024


def plain_size(file: BinaryIO, upright: Callable[[], bool]) -> tuple[int, int] | None:
    """Height and width of a baseline JPEG that every decoder reads alike, else None.

    One frame of 8-bit grey or three components, well-formed tables, no EXIF orientation, no Adobe
    colours, an end marker, and not far more bytes than pixels.

    Args:
        file: at any place; left at any place.
        upright: whether the EXIF data ask for no turning; called only where there are any.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 64))
    ends = END in file.read(64)
    file.seek(0)
    if file.read(2) != START[:2] or not ends:
        return None
    header = _Header()
    for _ in range(MOST_SEGMENTS):
        marker, body = _segment(file)
        if marker == EXIF and body[:4] == b"Exif":
            at = file.tell()
            if not upright():
                return None
            file.seek(at)
        elif marker == SCAN:
            return header.size_at(body) if _in_proportion(header.size, length) else None
        elif marker is None or not header.take(marker, body):
            return None
    return None


def _in_proportion(size: tuple[int, int] | None, length: int) -> bool:
    if size is None:
        return False
    pixels = size[0] * size[1]
    return pixels / PIXELS_PER_BYTE <= length <= BYTES_PER_PIXEL * pixels + (1 << 20)


def _segment(file: BinaryIO) -> tuple[int | None, bytes]:
    """The next marker and what belongs to it; None where the file is not well formed."""
    if file.read(1) != b"\xff":
        return None, b""
    marker = file.read(1)
    for _ in range(16):
        if marker != b"\xff":
            break
        marker = file.read(1)
    length = int.from_bytes(file.read(2), "big")
    body = file.read(max(0, length - 2))
    if length < 2 or len(body) != length - 2:
        return None, b""
    return marker[0], body


class _Header:
    """The frame and the tables that the segments before the pixels define."""

    def __init__(self):
        self.size: tuple[int, int] | None = None
        self._needed, self._tables, self._quantizers = set(), set(), set()

    def take(self, marker: int, body: bytes) -> bool:
        """Takes a segment in; False if it is not one of a plain JPEG."""
        if marker == FRAME:
            return self._frame(body)
        if marker == HUFFMAN:
            return self._huffman(body)
        if marker == QUANTIZERS:
            return self._quantization(body)
        if marker == ADOBE and body[:5] == b"Adobe":
            return body[-1:] == b"\x01"
        others = marker in (0xD9, 0x00, 0x01) or 0xD0 <= marker <= 0xD8
        return not (0xC1 <= marker <= 0xCF or others)

    def size_at(self, scan: bytes) -> tuple[int, int] | None:
        """The size, if the scan has all the tables that it uses."""
        if not self._needed <= self._quantizers or len(scan) < 4 or scan[0] not in (1, 3):
            return None
        selected = scan[2 : 1 + 2 * scan[0] : 2]
        used = {choice >> 4 for choice in selected} | {16 + (c & 15) for c in selected}
        return self.size if used <= self._tables else None

    def _frame(self, body: bytes) -> bool:
        if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3):
            return False
        self.size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        components = body[6:]
        self._needed = set(components[2::3])
        return len(components) == 3 * body[5] and 0 not in self.size

    def _huffman(self, body: bytes) -> bool:
        while body:
            count = sum(body[1:17])
            if len(body) < 17 + count or count > 256:
                return False
            self._tables.add(body[0])
            body = body[17 + count :]
        return True

    def _quantization(self, body: bytes) -> bool:
        while body:
            wide = 128 if body[0] >> 4 else 64
            if len(body) < 1 + wide:
                return False
            self._quantizers.add(body[0] & 15)
            body = body[1 + wide :]
        return True
