"""Default boxes (anchors): where they stand and how large they are. NumPy only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

# A model file of a few bytes can ask for more than any memory holds.
MAX_BOXES = 1 << 23


@dataclasses.dataclass(frozen=True)
class Level:
    """The default boxes of one feature map; all lengths are fractions of the image.

    Attributes:
        map_size: rows and columns of the feature map.
        sizes: `(height, width)` of each box of a cell.
        step: `(y, x)` distance between the centres of neighbouring cells.
        start: `(y, x)` centre of the first cell.
    """

    map_size: tuple[int, int]
    sizes: tuple[tuple[float, float], ...]
    step: tuple[float, float]
    start: tuple[float, float]

    @property
    def count(self) -> int:
        """Number of default boxes of the level."""
        return self.map_size[0] * self.map_size[1] * len(self.sizes)


def default_boxes(levels: Sequence[Level]) -> np.ndarray:
    """Corners of all default boxes, unclipped, ordered by level, row, column, box.

    Centres and sizes are computed in float64 and rounded to float32 before the corners are taken
    from them: these are the corners that caffe-ssd and the PyTorch ports compute with, so that
    boxes of equal overlap in the references are equal here too.

    Returns:
        float32 `[A, 4]`, `[ymin, xmin, ymax, xmax]` normalised.

    Raises:
        ValueError: they are more than `MAX_BOXES`.
    """
    count = sum(level.count for level in levels)
    if count > MAX_BOXES:
        raise ValueError(f"There cannot be {count:,} default boxes: give a smaller image.")
    return np.concatenate([np.zeros((0, 4), np.float32), *map(_level_boxes, levels)])


def _level_boxes(level: Level) -> np.ndarray:
    rows, columns = level.map_size
    half = np.asarray(level.sizes, np.float64).astype(np.float32) / np.float32(2)
    cy, cx = _rows_and_columns(level)
    boxes = np.empty((rows, columns, len(half), 4), np.float32)
    boxes[..., 0] = cy[:, None, None] - half[:, 0]
    boxes[..., 1] = cx[None, :, None] - half[:, 1]
    boxes[..., 2] = cy[:, None, None] + half[:, 0]
    boxes[..., 3] = cx[None, :, None] + half[:, 1]
    return boxes.reshape(-1, 4)


def cell_centers(level: Level) -> np.ndarray:
    """Centre (y, x) of each cell of a level, row by row, float32 `[cells, 2]`."""
    return np.stack(np.meshgrid(*_rows_and_columns(level), indexing="ij"), axis=-1).reshape(-1, 2)


def _rows_and_columns(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """The y of each row of cells and the x of each column, float32."""
    return tuple(
        (start + step * np.arange(count)).astype(np.float32)
        for start, step, count in zip(level.start, level.step, level.map_size, strict=True)
    )


def ssd_scale_sizes(
    image_size: float, count: int, min_percent: int, max_percent: int, first_percent: float
) -> tuple[list[float], list[float]]:
    """Smallest and largest box size of each level in pixels, by SSD's rule.

    The levels after the first divide `min_percent..max_percent` in steps of whole per cents; the
    first level has its own size (caffe-ssd, examples/ssd/ssd_pascal.py).

    Returns:
        `(min_sizes, max_sizes)`, each of length `count` (>= 3).
    """
    if count < 3:
        raise ValueError(f"The rule needs at least 3 levels, got {count}.")
    step = (max_percent - min_percent) // (count - 2)
    percents = [min_percent + step * i for i in range(count)]
    min_sizes = [image_size * p / 100 for p in [first_percent, *percents[:-1]]]
    max_sizes = [image_size * p / 100 for p in percents]
    return min_sizes, max_sizes


def ssd_levels(
    map_sizes: Sequence,
    image_size,
    min_sizes: Sequence[float],
    max_sizes: Sequence[float | None],
    ratios: Sequence[Sequence[float]],
    *,
    steps: Sequence | None = None,
    starts: Sequence | None = None,
    truncate: bool = False,
) -> tuple[Level, ...]:
    """Levels with SSD's boxes: `[min, sqrt(min * max), r, 1/r, ...]` (caffe-ssd, PriorBox).

    Args:
        map_sizes: per level rows and columns, or one number for both.
        image_size: height and width in pixels, or one number for both.
        min_sizes: per level the size of the square box in pixels.
        max_sizes: per level the next size in pixels, or None: no second square box.
        ratios: per level the aspect ratios (width / height); each brings its inverse.
        steps: per level the distance of two cells in pixels (a number or `(y, x)`); None divides
            the image evenly.
        starts: per level the centre of the first cell in pixels (a number or `(y, x)`), as DSSD's
            receptive fields need; None: half a step.
        truncate: cut sizes to whole pixels, as caffe-ssd's PriorBox does (matters for 321, 512
            and 513 only).
    """
    count = len(map_sizes)
    steps = [None] * count if steps is None else steps
    starts = [None] * count if starts is None else starts
    columns = {
        "min_sizes": min_sizes,
        "max_sizes": max_sizes,
        "ratios": ratios,
        "steps": steps,
        "starts": starts,
    }
    for name, values in columns.items():
        if len(values) != count:
            raise ValueError(
                f"{name} has {len(values)} entries for {count} feature maps; give one per map."
            )
    image = _pair(image_size)
    rows = zip(map_sizes, min_sizes, max_sizes, ratios, steps, starts, strict=True)
    return tuple(
        _ssd_level(image, map_size, _ssd_sizes(low, high, level_ratios, truncate), step, start)
        for map_size, low, high, level_ratios, step, start in rows
    )


def _ssd_level(image, map_size, sizes: list[tuple[float, float]], step, start) -> Level:
    """A level from numbers in pixels."""
    height, width = image
    rows, cols = (int(n) for n in _pair(map_size))
    step_y, step_x = (height / rows, width / cols) if step is None else _pair(step)
    start_y, start_x = (step_y / 2, step_x / 2) if start is None else _pair(start)
    return Level(
        map_size=(rows, cols),
        sizes=tuple((h / height, w / width) for h, w in sizes),
        step=(step_y / height, step_x / width),
        start=(start_y / height, start_x / width),
    )


def _ssd_sizes(
    low: float, high: float | None, ratios: Sequence[float], truncate: bool
) -> list[tuple[float, float]]:
    """Heights and widths of the boxes of one cell in pixels."""
    if truncate:
        low, high = int(low), None if high is None else int(high)
    squares = [low] if high is None else [low, math.sqrt(low * high)]
    return [*((side, side) for side in squares), *oblong_sizes(low, ratios)]


def oblong_sizes(side: float, ratios: Iterable[float]) -> list[tuple[float, float]]:
    """(height, width) of a lying and a standing box of each ratio, of the area of a square."""
    sizes = []
    for ratio in ratios:
        long, short = side * math.sqrt(ratio), side / math.sqrt(ratio)
        sizes += [(short, long), (long, short)]
    return sizes


def tf_od_levels(
    map_sizes: Sequence,
    *,
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    first: Sequence[tuple[float, float]] | None = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5)),
    ratios: Sequence[float] = (1.0, 2.0, 0.5, 3.0, 0.3333),
    image_size: tuple[int, int] = (1, 1),
) -> tuple[Level, ...]:
    """Levels with the boxes of the TF Object Detection API's `ssd_anchor_generator`.

    Scales run linearly from `min_scale` to `max_scale`; each level holds one box per ratio and a
    square of the geometric mean with the next scale (1.0 after the last).

    Args:
        map_sizes: per level rows and columns, or one number for both.
        min_scale: scale of the first level as a fraction of the image's shorter side.
        max_scale: scale of the last level.
        first: `(scale, ratio)` of each box of the first level (`reduce_boxes_in_lowest_layer`);
            None: the first level is like the others.
        ratios: aspect ratios in pixels (width / height).
        image_size: height and width, in any unit.
    """
    count = len(map_sizes)
    height, width = (min(image_size) / side for side in image_size)
    scales = [*np.linspace(min_scale, max_scale, count), 1.0] if count > 1 else [min_scale, 1.0]
    levels = []
    for k, map_size in enumerate(map_sizes):
        rows, cols = (int(n) for n in _pair(map_size))
        boxes = [(scales[k], ratio) for ratio in ratios]
        boxes.append((math.sqrt(scales[k] * scales[k + 1]), 1.0))
        if k == 0 and first is not None:
            boxes = list(first)
        levels.append(
            Level(
                map_size=(rows, cols),
                sizes=tuple(
                    (height * s / math.sqrt(r), width * s * math.sqrt(r)) for s, r in boxes
                ),
                step=(1 / rows, 1 / cols),
                start=(0.5 / rows, 0.5 / cols),
            )
        )
    return tuple(levels)


def _pair(value) -> tuple[float, float]:
    """`(y, x)` from one number for both or from a pair."""
    return (value, value) if np.isscalar(value) else tuple(value)
