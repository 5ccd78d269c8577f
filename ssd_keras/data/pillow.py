"""The one place that opens images with Pillow: known formats only, and no size beyond a limit.

Pillow by itself also opens PostScript (by running Ghostscript), Photoshop, FITS and forty others,
whatever a file is called. What is not in `FORMATS` is refused by name here.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from ssd_keras.errors import UserError, one_line
from ssd_keras.files import open_regular

# Importing a plugin registers its format. MPO, which phones write, is opened by that of JPEG.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

# The largest sensors of phones have 200 megapixels. While an image is decoded, Pillow holds 4 bytes
# of each pixel and the array 3 more: 1.4 GB at this limit. Tile by tile it is Pillow's 4 alone.
DEFAULT_MEGAPIXELS = 200.0
# Larger images are decoded one after the other, so that a batch of them needs that memory once.
LARGE_MEGAPIXELS = 40.0
# The most pixels that a format can pack into a byte of its file; of others there is no bound. A
# header that claims more is damaged, and found out before memory is taken for it.
PIXELS_PER_BYTE = {"JPEG": 1024, "MPO": 1024, "PNG": 8400, "BMP": 1024, "GIF": 4096, "PPM": 8}
# No format needs more than 4 channels of 16 bits, and no file more than its pixels and some text.
BYTES_PER_PIXEL = 8

_limit = DEFAULT_MEGAPIXELS
_large = threading.Lock()


class ImageError(UserError):
    """An image that cannot be read; the message says which and why, `reason` only why."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")
        self.reason = reason


def max_megapixels() -> float:
    """The largest image that is read, in millions of pixels."""
    return _limit


def set_max_megapixels(megapixels: float) -> None:
    """Sets the largest image that is read in this process, in millions of pixels.

    Decoding takes 7 MB of memory for each of them; 4 MB where it is looked at tile by tile.

    Raises:
        UserError: it is no positive number.
    """
    global _limit
    if not 0 < megapixels < float("inf"):
        raise UserError(f"max_megapixels must be more than 0, got {megapixels}.")
    _limit = float(megapixels)


@contextlib.contextmanager
def open_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens an image file as bytes.

    Raises:
        ImageError: there is none, it cannot be read, is no regular file, or is larger than any
            image within the limit.
    """
    name = os.fspath(path)
    try:
        file = open_regular(name)
    except OSError as error:
        raise ImageError(name, f"cannot be opened ({one_line(error)})") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > BYTES_PER_PIXEL * 1e6 * _limit + (1 << 20):
            raise ImageError(name, f"has {size / 1e9:.1f} GB, more than any image {_within()}")
        try:
            yield file
        except OSError as error:
            raise ImageError(name, f"cannot be read ({one_line(error)})") from error


def check_size(width: int, height: int, name: str) -> None:
    """Raises ImageError if an image has more pixels than the limit."""
    megapixels = width * height / 1e6
    if megapixels > _limit:
        raise ImageError(
            name,
            f"has {megapixels:.3g} megapixels ({width}x{height}), more than {_limit:g}: read it by "
            f"--max_megapixels={-(-width * height // 1_000_000)} (in Python: "
            "ssd_keras.data.set_max_megapixels), with 7 MB of memory for each (4 MB in tiles), or "
            "make it smaller",
        )


def _check_proportion(image: Image.Image, file: BinaryIO, name: str) -> None:
    at = file.tell()
    length = file.seek(0, os.SEEK_END)
    file.seek(at)
    most = PIXELS_PER_BYTE.get(image.format)
    if most is not None and image.width * image.height > most * length:
        raise ImageError(
            name,
            f"claims {image.width}x{image.height} pixels, which {length} bytes cannot hold: it is "
            "damaged or cut off",
        )


def _within() -> str:
    return f"within --max_megapixels={_limit:g}"


@contextlib.contextmanager
def open_image(file: BinaryIO, name: str) -> Iterator[Image.Image]:
    """Opens an image of one of `FORMATS`, within the limit of size; decodes nothing yet.

    Args:
        file: the bytes, from their beginning.
        name: for errors.

    Raises:
        ImageError: it is no such image, or what is done inside the `with` fails on it.
    """
    if not file.read(1):
        raise ImageError(name, "is empty (0 bytes)")
    file.seek(0)
    with faults(name), _identify(file, name) as image:
        check_size(*image.size, name)
        _check_proportion(image, file, name)
        yield image


@contextlib.contextmanager
def faults(name: str) -> Iterator[None]:
    """Whatever Pillow raises inside becomes an ImageError, and its warnings are not shown."""
    try:
        with _quiet:
            yield
    except ImageError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        raise ImageError(name, f"cannot be decoded ({_why(error)})") from error


def _why(error: Exception) -> str:
    # Some readers of Pillow say "cannot identify image file <_io.BufferedReader ...>".
    return "its beginning" if isinstance(error, UnidentifiedImageError) else one_line(error)


def load(image: Image.Image) -> None:
    """Decodes an opened image; the large ones one after the other."""
    large = image.width * image.height > 1e6 * LARGE_MEGAPIXELS
    with _large if large else contextlib.nullcontext():
        image.load()


def _identify(file: BinaryIO, name: str) -> Image.Image:
    """As `Image.open`, without its own limit of size, which cannot be set for one image."""
    prefix = file.read(64).ljust(64, b"\0")
    for kind in FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts(prefix[:16]) is True:
            file.seek(0)
            try:
                return factory(file, None)
            except Exception as error:
                raise ImageError(
                    name, f"cannot be read: a damaged {kind} ({_why(error)})"
                ) from error
    raise ImageError(name, f"is no image that can be read ({_kind_of(prefix)})")


# First bytes, where they stand, and what they say.
_SIGNATURES = (
    (b"ftyphe", 4, "HEIC"), (b"ftypmif1", 4, "HEIC"),
    (b"ftypavif", 4, "AVIF"), (b"8BPS", 0, "Photoshop"), (b"%!PS", 0, "PostScript"),
    (b"\xc5\xd0\xd3\xc6", 0, "PostScript"), (b"%PDF", 0, "PDF"), (b"SIMPLE  =", 0, "FITS"),
    (b"jP  ", 4, "JPEG 2000"), (b"\xff\x4f\xff\x51", 0, "JPEG 2000"), (b"jXL ", 4, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"), (b"ftypqt", 4, "video"), (b"ftypisom", 4, "video"),
    (b"ftypmp4", 4, "video"), (b"\x1a\x45\xdf\xa3", 0, "video"), (b"\0\0\1\0", 0, "icon"),
    (b"PK\3\4", 0, "zip"), (b"\x89HDF", 0, "HDF5"), (b"\x1f\x8b", 0, "gzip"), (b"<svg", 0, "SVG"),
)  # fmt: skip
_READ = "JPEG, PNG, BMP, GIF, WebP, TIFF and PPM are read"


def _kind_of(prefix: bytes) -> str:
    for signature, at, kind in _SIGNATURES:
        if prefix[at : at + len(signature)] == signature:
            return f"it is a {kind} file: save it as JPEG or PNG; {_READ}"
    if prefix.lstrip()[:1] == b"<":
        return "it is no image of a known kind but a text, as a failed download leaves it"
    return f"it is no image of a known kind; {_READ}"


class _Quiet:
    """Keeps Pillow's warnings from the user while any thread is in it.

    Not `warnings.catch_warnings`, which mixes up the filters where several threads use it.
    """

    def __init__(self):
        self._lock, self._depth, self._entry = threading.Lock(), 0, None

    def __enter__(self):
        with self._lock:
            self._depth += 1
            if self._entry is None or self._entry not in warnings.filters:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._entry = warnings.filters[0]

    def __exit__(self, *_):
        with self._lock:
            self._depth -= 1
            if not self._depth:
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(self._entry)
                self._entry = None


_quiet = _Quiet()


def as_png(pixels) -> bytes:
    """An RGB array uint8 `[H, W, 3]` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
