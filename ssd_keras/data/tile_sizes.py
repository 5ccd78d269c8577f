"""Which size of tiles makes the objects of a data set as large as a detector's default boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ssd_keras.boxes.coverage import THRESHOLD, best_default_boxes, draw_some
from ssd_keras.boxes.tiles import LEAST_SIDE, MOST_SIDE, Tiling, tiles_of
from ssd_keras.data.inspection import resized_boxes
from ssd_keras.data.source import Source
from ssd_keras.data.tiled import TiledSource

# Sides of tiles to try, in sides of the detector's input, from those that cost least.
FACTORS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5)
# A share of the objects more that has to be met by tiles that cost more.
SMALLER_IS_WORTH = 0.05
# Of more images and objects than these some are drawn.
MOST_IMAGES, MOST_OBJECTS = 200, 2000


@dataclasses.dataclass(frozen=True)
class TileFit:
    """Tiles that were tried.

    Attributes:
        tiling: None for images as a whole.
        met: share of the objects that some default box has an IoU of 0.5 with.
        tiles: how many an image has, on average.
    """

    tiling: Tiling | None
    met: float
    tiles: float

    def __str__(self) -> str:
        name = "whole images" if self.tiling is None else str(self.tiling)
        count = "" if self.tiling is None else f", {self.tiles:.1f} an image"
        return f"{name}: {self.met:.1%} of the objects are met{count}"


def fit_tile_size(
    source: Source,
    level_anchors: Sequence[np.ndarray],
    image_size: tuple[int, int],
    way: str,
    **given,
) -> list[TileFit]:
    """What sizes of tiles were tried on a source, the one to take first.

    A smaller one is taken only where it meets `SMALLER_IS_WORTH` more of the objects.

    Args:
        source: the images; crowds do not count.
        level_anchors: default boxes of each level, `[A_l, 4]`.
        image_size: (height, width) of the detector's input.
        way: of `resizing.WAYS`, by which tiles come to that size.
        **given: values of the `Tiling`.
    """
    part = _thin_out(source)
    fits = [_fit(part, None, level_anchors, image_size, way)]
    for tiling in _to_try(part, image_size, given):
        fits.append(_fit(part, tiling, level_anchors, image_size, way))
    best = fits[0]
    for fit in fits[1:]:
        if fit.met > best.met + SMALLER_IS_WORTH:
            best = fit
    return [best, *(fit for fit in fits if fit is not best)]


def _thin_out(source: Source) -> Source:
    truth = [one for one in source.ground_truth() if one.is_object.any()]
    chosen = [truth[index] for index in draw_some(len(truth), MOST_IMAGES)]
    return Source(source.spec, source.classes, chosen)


def _to_try(source: Source, image_size: tuple[int, int], given: dict) -> list[Tiling]:
    """Tilings by which at least one image in two becomes several."""
    found = []
    for factor in FACTORS:
        height, width = (round(factor * side) for side in image_size)
        if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SIDE:
            continue
        tiling = Tiling.of({"height": height, "width": width}, **given)
        if 2 * sum(count > 1 for count in _counts(source, tiling)) >= max(1, len(source)):
            found.append(tiling)
    return found


def _counts(source: Source, tiling: Tiling) -> list[int]:
    return [len(tiles_of((one.height, one.width), tiling)) for one in source.ground_truth()]


def _fit(source, tiling: Tiling | None, level_anchors, image_size, way) -> TileFit:
    seen = source if tiling is None else TiledSource(source, tiling, empty_tiles=0.0)
    parts = [resized_boxes(one, image_size, way)[one.is_object] for one in seen.ground_truth()]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *parts])
    boxes = boxes[draw_some(len(boxes), MOST_OBJECTS)]
    met = best_default_boxes(boxes, level_anchors)[0] >= THRESHOLD
    count = 1.0 if tiling is None else float(np.mean([0, *_counts(source, tiling)][1:] or [0]))
    return TileFit(tiling, float(met.mean()) if len(met) else 0.0, count)
