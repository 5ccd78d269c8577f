"""Image files to RGB arrays, without TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import os

import numpy as np

from ssd_keras.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


class ImageError(UserError):
    """An image that cannot be read; the message says which and why, `reason` only why."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say.

    Attributes:
        height, width: size in pixels once upright.
        plain: a sound 8-bit grey or YCbCr JPEG that needs no turning, which any decoder reads.
        turned: the EXIF orientation swaps height and width.
    """

    height: int
    width: int
    plain: bool
    turned: bool = False


def read_header(path: str | os.PathLike) -> Header:
    """Reads the size of an image file without decoding it; ImageError if it is no image."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return parse_header(file.read(), name)
    except OSError as error:
        raise ImageError(name, f"cannot be opened ({error.strerror or error})") from error


def parse_header(data: bytes, name: str = "image") -> Header:
    """As `read_header`, from the bytes of the file."""
    from PIL import Image

    if not data:
        raise ImageError(name, "is empty (0 bytes)")
    size = _plain_jpeg_size(data)
    if size is not None:
        return Header(*size, plain=True)
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise ImageError(name, f"is no image that can be read ({_reason(error)})") from error
    if turned:
        height, width = width, height
    return Header(height, width, plain=False, turned=turned)


def describe(path: str | os.PathLike) -> str:
    """What is unusual about an image's pixels and how it is read; "" for 8-bit upright RGB."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, turn = image.mode, image.getexif().get(_ORIENTATION, 1)
            frames = getattr(image, "n_frames", 1)
            clear = "transparency" in image.info
    except Exception:
        return ""
    parts = []
    if mode in _FORMS:
        parts.append(_FORMS[mode])
    elif mode.startswith("I"):
        parts.append("16-bit grey, its values are divided by 257")
    if clear and mode not in _FORMS:
        parts.append("has a transparent colour, which becomes white")
    if turn != 1:
        parts.append(f"EXIF orientation {turn}, it is turned upright")
    if frames > 1:
        parts.append(f"has {frames} frames, the first is read")
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
_ORIENTATION = 0x0112


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a baseline JPEG that every decoder reads alike, else None.

    Follows the markers up to the pixels (ITU-T T.81, annex B): one frame of 8-bit grey or three
    components, well-formed tables, no EXIF orientation, no Adobe colours, an end marker.
    """
    if data[:3] != b"\xff\xd8\xff" or b"\xff\xd9" not in data[-64:]:
        return None
    at, size, tables, quantizers = 2, None, set(), set()
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            return None
        if marker == 0xC0:
            if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3):
                return None
            size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            components = body[6:]
            if len(components) != 3 * body[5] or 0 in size:
                return None
            needed = set(components[2::3])
        elif marker == 0xC4:
            while body:
                count = sum(body[1:17])
                if len(body) < 17 + count or count > 256:
                    return None
                tables.add(body[0])
                body = body[17 + count :]
        elif marker == 0xDB:
            while body:
                wide = 128 if body[0] >> 4 else 64
                if len(body) < 1 + wide:
                    return None
                quantizers.add(body[0] & 15)
                body = body[1 + wide :]
        elif marker == 0xE1 and body[:4] == b"Exif":
            if not _upright(data):
                return None
        elif marker == 0xEE and body[:5] == b"Adobe" and body[-1:] != b"\x01":
            return None
        elif marker == 0xDA:
            if size is None or not needed <= quantizers or len(body) < 4 or body[0] not in (1, 3):
                return None
            selected = body[2 : 1 + 2 * body[0] : 2]
            used = {choice >> 4 for choice in selected} | {16 + (c & 15) for c in selected}
            return size if used <= tables else None
        elif 0xC1 <= marker <= 0xCF or marker in (0xD9, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            return None
        at += 2 + length
    return None


def _upright(data: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:
        return False


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file as uint8 RGB `[H, W, 3]`, upright and complete.

    Greyscale, palette, CMYK and 16-bit images become 8-bit RGB (16-bit values are divided by
    257); transparent pixels are laid on white; an EXIF orientation is applied.

    Raises:
        ImageError: the file is missing, empty, truncated or no image.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return decode_image(file.read(), name)
    except OSError as error:
        raise ImageError(name, f"cannot be opened ({error.strerror or error})") from error


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """Decodes the bytes of an image file, as `read_image` does; `name` is used in errors."""
    from PIL import Image, ImageOps

    if not data:
        raise ImageError(name, "is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
            return _to_rgb(image)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        raise ImageError(name, f"cannot be decoded ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known kind"
    return " ".join(str(error).split()) or type(error).__name__


def _to_rgb(image) -> np.ndarray:
    from PIL import Image

    if image.mode.startswith(("I;16", "I", "F")):
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"pixels of mode {image.mode} with values {values.min():g}..{values.max():g} "
                "have no defined range; save it with 8 bits a channel"
            )
        grey = np.round(values / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, image)
    return np.asarray(image.convert("RGB"))
