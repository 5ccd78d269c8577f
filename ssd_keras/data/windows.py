"""Images that are too large for memory, read part by part: TIFF files, through `rasterio`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ssd_keras.data import pillow
from ssd_keras.data.pillow import ImageError
from ssd_keras.data.pixels import to_rgb
from ssd_keras.errors import one_line
from ssd_keras.files import open_regular

_ORIENTATION = 0x0112
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# GDAL opens nothing but the file itself: no list of its folder, no file of notes beside it.
_ALONE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 128,
}


def open_windows(path: str) -> TiffWindows | None:
    """A TIFF that has more pixels than the limit of images, to be read by windows; else None.

    The limit is there because of the memory that decoding takes; here it goes for what is decoded
    at a time, the blocks of the file.

    Raises:
        ImageError: it is such a file, but `rasterio` is not installed, or it cannot be read.
    """
    size, orientation = _header_of_tiff(path)
    if size[0] * size[1] <= 1e6 * pillow.max_megapixels():
        return None
    if orientation != 1:
        raise ImageError(
            path, f"is stored turned (orientation {orientation}), which large images must not be"
        )
    return TiffWindows(path, size)


def _header_of_tiff(path: str) -> tuple[tuple[int, int], int]:
    """(height, width) and orientation of a TIFF; no size of any other file."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        if file.read(4) in _STARTS:
            file.seek(0)
            with contextlib.suppress(Exception), pillow.faults(path):
                # Without a limit of size; decodes nothing.
                image = pillow.TiffImagePlugin.TiffImageFile(file)
                return (image.height, image.width), image.tag_v2.get(_ORIENTATION, 1)
    return (0, 0), 1


class TiffWindows:
    """A large TIFF of 8 bits, RGB or grey, read part by part; a context manager.

    Transparent pixels are laid on white. Further bands are not looked at, and what the file calls
    "no data" is shown as it is stored.

    Attributes:
        size: (height, width).

    Raises:
        ImageError: see `open_windows`.
    """

    def __init__(self, path: str, size: tuple[int, int]):
        self.path, self.size = path, size
        self._rasterio = _import_rasterio(path, size)
        with self._reading():
            self._file = self._rasterio.open(os.path.abspath(path), driver="GTiff")
        try:
            self._bands = self._chosen_bands()
            self._check_blocks()
        except ImageError:
            self.close()
            raise

    def _chosen_bands(self) -> list[int]:
        """The numbers of red, green, blue and, if there is one, alpha."""
        file = self._file
        kinds = [kind.name for kind in file.colorinterp]
        if "palette" in kinds:
            self._refuse("has a palette: gdal_translate -expand rgb IN OUT makes it RGB")
        bits = {file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "8") for band in file.indexes}
        alpha = [kinds.index("alpha") + 1] if "alpha" in kinds else []
        if set(file.dtypes) != {"uint8"} or bits != {"8"}:
            self._refuse_form(kinds)
        if {"red", "green", "blue"} <= set(kinds):
            return [kinds.index(colour) + 1 for colour in ("red", "green", "blue")] + alpha
        if kinds[0] != "gray" or len(kinds) > 1 + len(alpha):
            self._refuse_form(kinds)
        return [1, 1, 1, *alpha]

    def _refuse_form(self, kinds: list[str]):
        types = ", ".join(sorted(set(self._file.dtypes)))
        self._refuse(
            f"has {len(kinds)} bands of {types} ({', '.join(kinds)}), and large images are read "
            "as RGB or grey of 8 bits: gdal_translate makes them so, by -b 1 -b 2 -b 3 for the "
            "bands, -colorinterp red,green,blue for what they are, -ot Byte -scale for the values"
        )

    def _check_blocks(self):
        rows, columns = max(self._file.block_shapes, key=lambda shape: shape[0] * shape[1])
        if rows * columns > 1e6 * pillow.max_megapixels():
            self._refuse(
                f"is stored in blocks of {columns}x{rows} pixels, each more than --max_megapixels="
                f"{pillow.max_megapixels():g}: gdal_translate -co TILED=YES IN OUT makes them small"
            )

    def _refuse(self, reason: str):
        raise ImageError(self.path, reason)

    @contextlib.contextmanager
    def _reading(self):
        try:
            with self._rasterio.Env(**_ALONE):
                yield
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(self.path, f"cannot be read ({_why(error)})") from error

    def window(self, tile: Sequence[int]) -> np.ndarray:
        """The pixels from top, left to bottom, right, uint8 `[H, W, 3]`.

        Raises:
            ImageError: that part of the file is damaged or missing.
        """
        top, left, bottom, right = tile
        with self._reading():
            pixels = self._file.read(self._bands, window=((top, bottom), (left, right)))
        pixels = np.moveaxis(pixels, 0, -1)
        return pixels if len(self._bands) == 3 else to_rgb(Image.fromarray(pixels))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> TiffWindows:
        return self

    def __exit__(self, *_):
        self.close()


def _why(error: Exception) -> str:
    """What rasterio says, with GDAL's own words where it only points to them."""
    return one_line(error.__cause__ or error)


def _import_rasterio(path: str, size: tuple[int, int]):
    try:
        import rasterio
    except ImportError as error:
        height, width = size
        raise ImageError(
            path,
            f"has {height * width / 1e6:.0f} megapixels ({width}x{height}), more than "
            f"{pillow.max_megapixels():g}: to read it part by part, pip install "
            '"ssd-keras[geotiff]"; or read it as a whole by '
            f"--max_megapixels={-(-width * height // 1_000_000)}, with 4 MB of memory for each",
        ) from error
    return rasterio
