"""Images that are too large for memory, read part by part: TIFF files, through `rasterio`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import numpy as np

from ssd_keras.data import pillow
from ssd_keras.data.pillow import ImageError
from ssd_keras.errors import one_line
from ssd_keras.files import open_regular

_ORIENTATION = 0x0112
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# GDAL opens nothing but the file itself: no list of its folder, no file of notes beside it.
_ALONE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 256,
}
# Of a larger part fewer pixels are read: it is to be made smaller in any case.
MOST_SIDE = 4096


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
    """A large TIFF, RGB or grey of 8 bits, read part by part; a context manager.

    Raises:
        ImageError: see `open_windows`.
    """

    def __init__(self, path: str, size: tuple[int, int]):
        self.path, self.size = path, size
        self._rasterio = _import_rasterio(path, size)
        with self._reading():
            self._file = self._rasterio.open(os.path.abspath(path), driver="GTiff")
        try:
            self._check()
        except ImageError:
            self.close()
            raise

    def _check(self):
        file = self._file
        if file.count not in (1, 3, 4) or any(kind != "uint8" for kind in file.dtypes):
            kinds = ", ".join(sorted(set(file.dtypes)))
            self._refuse(
                f"has {file.count} bands of {kinds}, and large images are read with 1, 3 or 4 "
                "bands of 8 bits: gdal_translate -b 1 -b 2 -b 3 -ot Byte -scale IN OUT makes them"
            )
        if file.count == 1 and self._palette():
            self._refuse("has a palette: gdal_translate -expand rgb IN OUT makes it RGB")
        rows, columns = max(file.block_shapes, key=lambda shape: shape[0] * shape[1])
        if rows * columns > 1e6 * pillow.max_megapixels():
            self._refuse(
                f"is stored in blocks of {columns}x{rows} pixels, each more than --max_megapixels="
                f"{pillow.max_megapixels():g}: gdal_translate -co TILED=YES IN OUT makes them small"
            )

    def _palette(self) -> bool:
        return self._file.colorinterp[0].name == "palette"

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
            raise ImageError(self.path, f"cannot be read ({one_line(error)})") from error

    def window(self, tile: Sequence[int]) -> np.ndarray:
        """The pixels from top, left to bottom, right, uint8 `[H, W, 3]`; 4096 a side at most."""
        top, left, bottom, right = tile
        rows, columns = (min(side, MOST_SIDE) for side in (bottom - top, right - left))
        bands = [1, 1, 1] if self._file.count == 1 else [1, 2, 3]
        with self._reading():
            return np.moveaxis(
                self._file.read(
                    bands,
                    window=((top, bottom), (left, right)),
                    out_shape=(3, rows, columns),
                ),
                0,
                -1,
            )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> TiffWindows:
        return self

    def __exit__(self, *_):
        self.close()


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
            f"--max_megapixels={-(-width * height // 1_000_000)}, with 7 MB of memory for each",
        ) from error
    return rasterio
