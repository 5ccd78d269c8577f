"""The pixels of an image that Pillow has opened, as RGB of 8 bits, also of 12 and 16 bits."""

from __future__ import annotations

import sys
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ssd_keras.data import pillow

_MAX_SAMPLE_VALUE = 281
_TWELVE_BITS, _SIXTEEN_BITS = (1 << 12) - 1, (1 << 16) - 1
# Pixels that are turned into RGB at a time, so that of a large image no further copies are made.
_STRIP = 1 << 20


def decode(file: BinaryIO, name: str) -> tuple[np.ndarray, str]:
    """The pixels of an image file, and how those of more than 8 bits were read.

    Raises:
        ImageError: they cannot be read, or have no defined range.
    """
    with pillow.open_image(file, name) as image:
        if not is_deep(image):
            load_upright(image)
            return to_rgb(image), ""
        values = _low_and_high_bytes(image, file, name) if len(image.getbands()) > 1 else None
        greatest = _stated_greatest(image)
        if values is None:
            pillow.load(image)
            values = _grey_values(ImageOps.exif_transpose(image))
        pixels, note = _to_8_bits(values, greatest)
        return _three_channels(pixels), note


def from_pillow(image: Image.Image, name: str = "image") -> np.ndarray:
    """An image that the user opened with Pillow, as `images.read_image` gives it from its file.

    Raises:
        ImageError: it cannot be decoded, or has no defined range.
    """
    with pillow.faults(name):
        pillow.check_size(*image.size, name)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            return _three_channels(_to_8_bits(_grey_values(image), _stated_greatest(image))[0])
        return to_rgb(image)


def load_upright(image: Image.Image) -> None:
    """Decodes an opened image and turns it as its EXIF orientation says, without a copy."""
    pillow.load(image)
    ImageOps.exif_transpose(image, in_place=True)


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def is_deep(image: Image.Image) -> bool:
    """Whether a channel has more than 8 bits; of colours Pillow by itself keeps the upper 8."""
    return image.mode.startswith(("I", "F")) or ";16" in _rawmode(image)


def _rawmode(image: Image.Image) -> str:
    """How Pillow calls the form of the pixels in the file, such as "RGB;16B"."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _grey_values(image: Image.Image) -> np.ndarray:
    """The values of a grey image, 0..65535; ValueError where they have no defined range."""
    values = np.asarray(image)
    # A PNG or PPM of 16 bits has mode I in older versions of Pillow; others mean 32 bits.
    defined = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
    if image.mode == "F" or not defined or values.min() < 0 or values.max() > _SIXTEEN_BITS:
        raise ValueError(
            f"pixels of mode {image.mode} with values {values.min():g}..{values.max():g} "
            "have no defined range; save it with 8 bits a channel"
        )
    return values


def _low_and_high_bytes(image: Image.Image, file: BinaryIO, name: str) -> np.ndarray:
    """The values 0..65535 of a colour image, RGB.

    Pillow gives the upper byte of each value; with the order of bytes exchanged, the lower one.
    """
    kind, _, order = _rawmode(image).partition(";16")
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    pillow.load(image)
    high = to_rgb(ImageOps.exif_transpose(image))
    file.seek(0)
    with pillow.open_image(file, name) as other:
        if kind not in ("RGB", "RGBX"):
            # What is mixed with white by its upper bytes cannot be put together again.
            return high.astype(np.uint16) * 257 if int(high.max()) > 15 else _dim(kind)
        other.tile = [_with_rawmode(t, f"{kind};16{'B' if little else 'L'}") for t in other.tile]
        pillow.load(other)
        low = to_rgb(ImageOps.exif_transpose(other))
    return high.astype(np.uint16) << 8 | low


def _dim(kind: str):
    raise ValueError(
        f"pixels of mode {kind} with 16 bits of which 12 at most are used have no defined range; "
        "save it with 8 bits a channel"
    )


def _with_rawmode(tile, rawmode: str):
    arguments = tile[3]
    changed = (rawmode, *arguments[1:]) if isinstance(arguments, tuple) else rawmode
    return type(tile)(*tile[:3], changed)


def _stated_greatest(image: Image.Image) -> int:
    """The greatest value that a TIFF says it has, or 0."""
    stated = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE, 0)
    stated = max(stated) if isinstance(stated, tuple) else stated
    if "I;12" in _rawmode(image):
        return _TWELVE_BITS
    return int(stated) if 255 <= stated < _SIXTEEN_BITS else 0


def _to_8_bits(values: np.ndarray, greatest: int) -> tuple[np.ndarray, str]:
    """Values of 16 bits as uint8, and how that was done."""
    most = int(values.max())
    if greatest >= most > 0:
        top, how = greatest, f"its values become 8 bits by 255/{greatest}, as the file says"
    elif most <= _TWELVE_BITS:
        top, how = _TWELVE_BITS, f"none over {most}, so they are taken for 12 bits: by 255/4095"
    else:
        top, how = _SIXTEEN_BITS, f"its values (up to {most}) are divided by 257"
    table = np.round(np.minimum(np.arange(_SIXTEEN_BITS + 1) / (top / 255), 255)).astype(np.uint8)
    form = "16-bit grey" if values.ndim == 2 else "16-bit colours"
    return table[values], f"{form}, {how}"


def to_rgb(image: Image.Image) -> np.ndarray:
    """A decoded image as uint8 RGB `[H, W, 3]`; transparent pixels are laid on white."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        pixels[:] = _strip_to_rgb(image)
        return pixels
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = _strip_to_rgb(image.crop((0, top, image.width, bottom)))
    return pixels


def _strip_to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
