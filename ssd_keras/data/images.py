"""Image files to RGB arrays, without TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from ssd_keras.data import jpeg, pillow
from ssd_keras.data.pillow import ImageError as ImageError
from ssd_keras.data.pillow import max_megapixels as max_megapixels
from ssd_keras.data.pillow import set_max_megapixels as set_max_megapixels
from ssd_keras.data.pixels import decode, is_deep
from ssd_keras.data.pixels import from_pillow as from_pillow

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm",
)  # fmt: skip
# Photographs that are not read; who opens one says which kind it is and what to do.
OTHER_EXTENSIONS = (".heic", ".heif", ".avif", ".jp2", ".jxl")

_ORIENTATION = 0x0112
_PNG_START, _MOST_CHUNKS = b"\x89PNG\r\n\x1a\n", 100_000


@dataclasses.dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say.

    Attributes:
        height, width: size in pixels once upright.
        standard_jpeg: a sound 8-bit grey or YCbCr JPEG that needs no turning, which any decoder
            reads alike.
        turned: the EXIF orientation swaps height and width.
        believed: the file was not opened: the size is what an annotation states.
    """

    height: int
    width: int
    standard_jpeg: bool
    turned: bool = False
    believed: bool = False


def read_header(path: str | os.PathLike) -> Header:
    """Reads the size of an image file without decoding it, from its first bytes.

    Raises:
        ImageError: it is no image that `read_image` could read, as far as its beginning says.
    """
    with pillow.open_file(path) as file:
        return _header(file, os.fspath(path))


def parse_header(data: bytes, name: str = "image") -> Header:
    """As `read_header`, from the bytes of the file; `name` is used in errors."""
    return _header(io.BytesIO(data), name)


def _header(file: BinaryIO, name: str) -> Header:
    size = jpeg.plain_size(file, lambda: _upright(file, name))
    if size is not None:
        pillow.check_size(size[1], size[0], name)
        return Header(*size, standard_jpeg=True)
    file.seek(0)
    with pillow.open_image(file, name) as image:
        width, height = image.size
        turned = _orientation(image) in (5, 6, 7, 8)
        # Pillow turns a TIFF by itself, and says its size as it is then.
        if turned and image.format != "TIFF":
            height, width = width, height
    return Header(height, width, standard_jpeg=False, turned=turned)


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and not _tells_after_pixels(image.fp):
        # Of a PNG, Pillow decodes all pixels first, since text may stand behind them.
        return Image.Image.getexif(image).get(_ORIENTATION, 1)
    return image.getexif().get(_ORIENTATION, 1)


def _tells_after_pixels(file: BinaryIO) -> bool:
    """Whether text or EXIF data of a PNG stand behind its pixels."""
    before = file.tell()
    file.seek(len(_PNG_START))
    pixels, found = False, True
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        kind = head[4:]
        if len(head) < 8 or kind == b"IEND":
            found = False
            break
        pixels |= kind == b"IDAT"
        if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            break
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    file.seek(before)
    return found


def _upright(file: BinaryIO, name: str) -> bool:
    file.seek(0)
    with contextlib.suppress(ImageError), pillow.open_image(file, name) as image:
        return _orientation(image) == 1
    return False


def is_upright(data: bytes) -> bool:
    """Whether the bytes of an image file ask for no turning by their EXIF orientation."""
    return _upright(io.BytesIO(data), "image")


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file as uint8 RGB `[H, W, 3]`, upright and complete.

    Greyscale, palette, CMYK and 16-bit images become 8-bit RGB; transparent pixels are laid on
    white; an EXIF orientation is applied. 16-bit values are divided by 257. Where the file says
    that its greatest value is another, or none of its values reaches 4096, which is what cameras
    of 12 bits leave, that value (4095) becomes 255.

    Raises:
        ImageError: the file is missing, empty, truncated, no image of a kind that is read, or
            larger than `max_megapixels()`.
    """
    with pillow.open_file(path) as file:
        return decode(file, os.fspath(path))[0]


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of an image file; ImageError if it cannot be read. Decodes nothing."""
    with pillow.open_file(path) as file:
        return file.read()


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """Decodes the bytes of an image file, as `read_image` does; `name` is used in errors."""
    return decode(io.BytesIO(data), name)[0]


def describe(image: str | os.PathLike | bytes) -> str:
    """What is unusual about an image's pixels and how it is read; "" for 8-bit upright RGB.

    Args:
        image: a file or the bytes of one. "" too if it cannot be read.
    """
    with contextlib.suppress(ImageError):
        if isinstance(image, bytes):
            return _describe(io.BytesIO(image))
        with pillow.open_file(image) as file:
            return _describe(file)
    return ""


def _describe(file: BinaryIO) -> str:
    with pillow.open_image(file, "image") as image:
        mode, deep, turn = image.mode, is_deep(image), _orientation(image)
        several = getattr(image, "is_animated", False)
        clear = "transparency" in image.info
    parts = []
    if deep:
        file.seek(0)
        parts.append(decode(file, "image")[1])
    if mode in _FORMS:
        parts.append(_FORMS[mode])
    elif clear:
        parts.append("has a transparent colour, which becomes white")
    if turn != 1:
        parts.append(f"EXIF orientation {turn}, it is turned upright")
    if several:
        parts.append("has several frames, the first is read")
    return "; ".join(parts)


_FORMS = {
    "1": "black and white, read as RGB",
    "L": "greyscale, read as RGB",
    "LA": "greyscale with transparency, laid on white",
    "P": "palette, read as RGB",
    "PA": "palette with transparency, laid on white",
    "RGBA": "has transparency, laid on white",
    "CMYK": "CMYK, read as RGB",
    "YCbCr": "YCbCr, read as RGB",
    "LAB": "Lab, read as RGB",
    "HSV": "HSV, read as RGB",
}
