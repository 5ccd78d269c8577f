"""Whether the coordinates of a data set are what its reader takes them for: pixels or shares.

One box seldom tells, so all boxes of a set are judged together. Nothing is converted unless the
user says what the numbers are, by `,units=` behind the place.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

# What the user can say that coordinates are, and what they are divided by to become shares.
UNITS = {"pixels": None, "shares": 1.0, "percent": 100.0, "thousandths": 1000.0}
# Shares reach a little beyond 1 where boxes leave the image; most of a set do not reach far.
_SHARE = 1.01
_BEYOND_SHARE = 1.5
# What a single box among many shares must reach to be refused as pixels.
_PIXEL = 2.0
# By how much of the side a box may leave its image before it counts as misplaced.
_FAR = 0.1 + 1e-6
# By how much one of several must, to be doubted where all would lie within it as two corners.
_SLIGHTLY, _SEVERAL = 0.02, 5
_MOST = 0.5
# From this many boxes on their greatest coordinate says something about their scale.
_ENOUGH = 20
# Up to this side in pixels a box of one pixel is a thing that people annotate.
_TINY_IMAGE = 16


def by_columns(function: Callable, rows: np.ndarray) -> np.ndarray:
    """What `function.reduce` makes of each row `[n, 4]`, in a third of NumPy's time for it."""
    return functools.reduce(function, rows.T)


@dataclasses.dataclass(frozen=True)
class Boxes:
    """All boxes of a set whose corners are finite and in order.

    Attributes:
        corners: float64 `[n, 4]`, `[ymin, xmin, ymax, xmax]` as they were read.
        sides: float64 `[n, 4]`, height and width of each box's image, twice, in the unit that the
            reader takes the corners for.
    """

    corners: np.ndarray
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    @classmethod
    def of_rows(
        cls, corners: np.ndarray, counts: np.ndarray, sides: np.ndarray, used: np.ndarray
    ) -> Boxes:
        """From those of some images.

        Args:
            corners: float64 `[n, 4]` of all images, one after the other.
            counts: int `[images]`, how many of them each has.
            sides: float64 `[images, 2]`, height and width.
            used: bool `[images]`, which to take.
        """
        if not used.all():
            corners = corners[np.repeat(used, counts)]
        sides = np.repeat(sides[used], counts[used], axis=0)
        with np.errstate(invalid="ignore"):
            good = by_columns(np.logical_and, corners[:, 2:] > corners[:, :2])
            good &= by_columns(np.logical_and, np.isfinite(corners))
        return cls(corners[good], np.tile(sides[good], 2))

    @property
    def reach(self) -> np.ndarray:
        """float64 `[n]`, greatest distance of a coordinate from 0."""
        return by_columns(np.maximum, np.abs(self.corners))

    @property
    def are_far_out(self) -> np.ndarray:
        """bool `[n]`, boxes that reach far beyond their images."""
        return self.leave(_FAR)

    def leave(self, much: float) -> np.ndarray:
        """bool `[n]`, boxes that leave their images by more than this share of the side."""
        share = self.corners / self.sides
        greatest, least = by_columns(np.maximum, share), by_columns(np.minimum, share)
        return (greatest > 1 + much) | (least < -much)


def like_shares(corners: np.ndarray) -> np.ndarray:
    """bool `[n]`: boxes `[n, 4]` that can be no pixels: within one pixel, and not of whole ones."""
    inside = by_columns(np.maximum, np.abs(corners)) <= _SHARE
    return inside & by_columns(np.logical_or, corners != np.round(corners))


def like_pixels(corners: np.ndarray) -> np.ndarray:
    """bool `[n]`: boxes `[n, 4]` that can be no shares."""
    return by_columns(np.maximum, np.abs(corners)) > _PIXEL


def in_another_unit(corners: np.ndarray, normalized: bool | np.ndarray) -> np.ndarray:
    """bool `[n]`: boxes `[n, 4]` that are pixels among shares (`normalized`), or shares among
    pixels."""
    are_pixels = like_pixels(corners) & by_columns(np.logical_and, np.isfinite(corners))
    has_area = by_columns(np.logical_and, corners[:, 2:] > corners[:, :2])
    return np.where(normalized, are_pixels, like_shares(corners) & has_area)


def fault_of_pixels(boxes: Boxes) -> str:
    """Why the boxes can be no pixels; "" where they can."""
    if not len(boxes):
        return ""
    within = boxes.reach <= _SHARE
    whole = by_columns(np.logical_and, boxes.corners == np.round(boxes.corners))
    # A box of one pixel is something to annotate where the image has hardly more.
    within &= ~(whole & (boxes.sides.max(1) <= _TINY_IMAGE))
    if not within.all() and (within & ~whole).mean() < _MOST:
        return ""
    return (
        f"{_of(within)} boxes lie within the first pixel, with coordinates from 0 to "
        f"{boxes.reach[within].max():.4g}: shares of the image, not pixels"
    )


def fault_of_shares(boxes: Boxes) -> str:
    """Why the boxes can be no shares of the image; "" where they can."""
    wrong = boxes.reach > _BEYOND_SHARE
    if not len(boxes) or wrong.mean() < _MOST:
        return ""
    return (
        f"{_of(wrong)} boxes reach far beyond 0 to 1, up to {boxes.reach.max():.6g}: "
        f"{_scale_of(boxes.reach.max())}, not shares of the image"
    )


def _scale_of(reach: float) -> str:
    if reach <= 105:
        return "pixels or per cent"
    return "pixels or thousandths" if reach <= 1005 else "pixels"


def fault_of_sizes(boxes: Boxes, *, centre: bool = False) -> str:
    """Why boxes that are read as a point and a size are rather two corners; "" where they are not.

    Args:
        boxes: the corners that the reader made of them.
        centre: the point is the centre, not the first corner.
    """
    size = boxes.corners[:, 2:] - boxes.corners[:, :2]
    first = boxes.corners[:, :2] + size / 2 if centre else boxes.corners[:, :2]
    # Few boxes may all be large ones; one of them must be far out to tell.
    leave = boxes.leave(_SLIGHTLY if len(boxes) >= _SEVERAL else _FAR)
    within = (size > first) & (first >= 0) & (size <= boxes.sides[:, :2] * (1 + 1e-6))
    if not leave.any() or not within.all():
        return ""
    return (
        f"{_of(leave)} leave their images, and all lie within them if the last two numbers are the "
        "second corner"
    )


def fault_of_scale(boxes: Boxes) -> str:
    """Why most boxes do not match their images; "" where they do."""
    if not len(boxes):
        return ""
    far = boxes.are_far_out
    for name, scale in UNITS.items():
        if scale and scale > 1 and _is_on_scale(boxes, scale, far):
            return (
                f"no coordinate of {len(boxes):,} boxes exceeds {scale:g}, whatever the size of "
                f"the image: {name} rather than pixels? Say it behind the place, as "
                f"',units={name}' or ',units=pixels'"
            )
    if far.mean() > _MOST:
        return (
            f"{_of(far)} boxes reach far beyond their images: their coordinates were made for "
            "images of another size or on another scale"
        )
    return ""


def _is_on_scale(boxes: Boxes, scale: float, far: np.ndarray) -> bool:
    """Whether coordinates fill 0 to `scale` although the images are much larger, or smaller."""
    highest = boxes.corners[:, 2:].max(0)
    if len(boxes) < _ENOUGH or highest.max() > scale or highest.min() < 0.9 * scale:
        return False
    smallest_side = boxes.sides.min(1)
    return bool(np.median(smallest_side) > 1.5 * scale or far.mean() > 0.1)


def _of(mask: np.ndarray) -> str:
    return f"{int(mask.sum()):,} of {len(mask):,}"
