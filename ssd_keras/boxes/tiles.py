"""Tiles of a large image: where they lie, and what of its objects each of them shows."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Mapping

import numpy as np

from ssd_keras.display import named_size
from ssd_keras.errors import UserError, unknown

LEAST_SIDE, MOST_SIDE = 16, 1 << 16
# What a damaged file claims to have takes no memory out of proportion.
MAX_TILES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a large image is cut into tiles, and when detections of two tiles are of one object.

    Attributes:
        height, width: of a tile in pixels of the image.
        overlap: of neighbouring tiles, as a share of their sides.
        whole: whether the whole image is looked at as well, for objects that are larger than tiles.
        iou_threshold: detections of two tiles with a larger IoU are of one object.
        smaller_threshold: so are two of which one is cut by the edge of its tile, if they share
            more than this of the smaller one; and two halves, if they agree by this IoU on what
            both tiles show.
        margin: how near to the edge of its tile, as a share of the tile's side, a detection counts
            as cut by it.

    Raises:
        UserError: a value that makes no sense.
    """

    height: int
    width: int
    overlap: float = 0.2
    whole: bool = False
    iou_threshold: float = 0.45
    smaller_threshold: float = 0.5
    margin: float = 0.02

    def __post_init__(self):
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or not LEAST_SIDE <= value <= MOST_SIDE:
                raise UserError(
                    f"The {name} of a tile must be {LEAST_SIDE} to {MOST_SIDE} pixels, got {value}."
                )
            object.__setattr__(self, name, int(value))
        for name, most in (("overlap", 0.75), ("margin", 0.25)):
            value = getattr(self, name)
            if not (isinstance(value, numbers.Real) and 0.0 <= value <= most):
                raise UserError(f"The {name} of tiles must be in 0..{most}, got {value}.")
            object.__setattr__(self, name, float(value))
        for name in ("iou_threshold", "smaller_threshold"):
            value = getattr(self, name)
            if not (isinstance(value, numbers.Real) and 0.0 < value <= 1.0):
                raise UserError(f"The {name} of tiles must be in 0..1, got {value}.")
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "whole", bool(self.whole))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a tile."""
        return self.height, self.width

    @classmethod
    def of(cls, value, **given) -> Tiling | None:
        """The tiling that a value means; None for None, False, 0, "" and "none".

        Args:
            value: a `Tiling`, a dict of its values, or the size of a tile as `tile_size` takes it.
            **given: values that go before; None keeps one as it is.

        Raises:
            UserError: it is none, or there is no such value.
        """
        if value is None or value is False or value in (0, "", "none"):
            return None
        if isinstance(value, cls):
            values = value.as_dict()
        elif isinstance(value, Mapping):
            values = dict(value)
        else:
            values = dict(zip(("height", "width"), tile_size(value), strict=True))
        values |= {name: one for name, one in given.items() if one is not None}
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown("setting of tiles", name, known)
        if missing := {"height", "width"} - set(values):
            raise UserError(f"Tiles need a {min(missing)}.")
        return cls(**values)

    def as_dict(self) -> dict:
        """The values by their names."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        also = ", and the whole image" if self.whole else ""
        return f"tiles of {named_size(self.size)} pixels, overlap {self.overlap:.0%}{also}"


def tile_size(text: str | int) -> tuple[int, int]:
    """(height, width) of what is given as "512" or, height first, "384x640".

    Raises:
        UserError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", str(text).strip())
    if not found:
        raise UserError(f"Tiles are given as their side in pixels, 512 or 384x640, not '{text}'.")
    height = int(found[1])
    return height, int(found[2] or height)


def tiles_of(size: tuple[int, int], tiling: Tiling) -> np.ndarray:
    """The tiles of an image, row by row, then the whole image if that is looked at.

    The last tile of a row or column is moved inwards, so that all are of one size; an image that
    is smaller than a tile is one tile.

    Args:
        size: (height, width) of the image.
        tiling: how it is cut.

    Returns:
        int64 `[T, 4]`: top, left, bottom, right in pixels.

    Raises:
        UserError: they are more than anybody can wait for.
    """
    rows, columns = (
        _starts(length, side, tiling.overlap)
        for length, side in zip(size, tiling.size, strict=True)
    )
    if len(rows) * len(columns) > MAX_TILES:
        raise UserError(
            f"An image of {size[1]}x{size[0]} has {len(rows) * len(columns):,} {tiling}, more than "
            f"{MAX_TILES:,}: take larger tiles."
        )
    height, width = (min(pair) for pair in zip(size, tiling.size, strict=True))
    found = [(top, left, top + height, left + width) for top in rows for left in columns]
    if tiling.whole and len(found) > 1:
        found.append((0, 0, *size))
    return np.array(found, np.int64)


def _starts(length: int, side: int, overlap: float) -> range | list[int]:
    if length <= side:
        return [0]
    step = max(1, side - math.floor(overlap * side + 0.5))
    if length // step > MAX_TILES:
        return range(length // step)
    return [*range(0, length - side, step), length - side]


# === Objects on tiles ===


def visible_shares(boxes: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """How much of each box each tile shows, float64 `[T, N]`.

    Args:
        boxes: `[N, 4]` in pixels; of a box without area nothing is seen.
        tiles: `[T, 4]` in pixels.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    tiles = np.asarray(tiles, np.float64)[:, :, None]
    shown = np.ones((len(tiles), len(boxes)))
    for axis in (0, 1):
        low = np.maximum(boxes[:, axis], tiles[:, axis])
        high = np.minimum(boxes[:, axis + 2], tiles[:, axis + 2])
        shown *= (high - low).clip(0)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    return np.divide(shown, area, out=np.zeros_like(shown), where=area > 0)


def seen_enough(shares: np.ndarray, min_visible: float) -> np.ndarray:
    """Which of the boxes each tile shows well enough to be taught by it, bool `[T, N]`.

    Those of which it shows at least `min_visible`; each box is taught by the tile that shows most
    of it in any case, the first of equal ones.
    """
    enough = (shares >= min_visible) & (shares > 0)
    if len(shares):
        boxes = np.arange(shares.shape[1])
        best = shares.argmax(0)
        enough[best, boxes] |= shares[best, boxes] > 0
    return enough


def parts_on_tile(boxes: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Boxes `[N, 4]` in pixels of the image, cut to a tile `[4]`, in shares of it: float32."""
    top, left, bottom, right = (float(edge) for edge in tile)
    start = np.array([top, left, top, left])
    extent = np.array([bottom - top, right - left] * 2)
    return (
        ((np.asarray(boxes, np.float64).reshape(-1, 4) - start) / extent)
        .clip(0, 1)
        .astype(np.float32)
    )
