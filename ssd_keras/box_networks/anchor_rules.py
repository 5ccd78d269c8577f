"""Rules that lay default boxes on the maps of a detector, whatever their sizes turn out to be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ssd_keras import boxes


@dataclasses.dataclass(frozen=True)
class ScaleAnchors:
    """Default boxes by scales relative to the shorter side, as in the TF Object Detection API.

    Scales go linearly from `min_scale` to `max_scale` over the levels. Every level has the
    `ratios` and one more square between its scale and the next. The finest level has three boxes:
    a square of `smallest`, and two of `min_scale` with ratios 2 and 1/2.

    The first `finer_levels` maps come before all that: each has the three boxes of the finest
    level of the rule, halved from map to map. The maps after them keep the boxes that they have
    without finer ones.

    Source: spec of ssd_mobilenet_v1_coco.config; multiple_grid_anchor_generator.py.
    """

    min_scale: float = 0.2
    max_scale: float = 0.95
    smallest: float = 0.1
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    finer_levels: int = 0

    def with_finer_levels(self, count: int) -> ScaleAnchors:
        """The rule for so many maps more, before the others."""
        return dataclasses.replace(self, finer_levels=count)

    def with_smallest(self, side: float) -> ScaleAnchors:
        """The rule whose smallest box, on the finest map, is this share of the shorter side."""
        return dataclasses.replace(self, smallest=side * 2**self.finer_levels)

    def levels(
        self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> tuple[boxes.Level, ...]:
        """The levels for maps of these sizes, finest first."""
        first = ((self.smallest, 1.0), (self.min_scale, 2.0), (self.min_scale, 0.5))
        levels = boxes.tf_od_levels(
            map_sizes[self.finer_levels :],
            min_scale=self.min_scale,
            max_scale=self.max_scale,
            first=first,
            ratios=self.ratios,
            image_size=image_size,
        )
        for map_size in reversed(map_sizes[: self.finer_levels]):
            first = tuple((scale / 2, ratio) for scale, ratio in first)
            finer = boxes.tf_od_levels([map_size], first=first, image_size=image_size)
            levels = (*finer, *levels)
        return levels


@dataclasses.dataclass(frozen=True)
class PercentAnchors:
    """Default boxes by per cents of the image's shorter side, as in caffe-ssd.

    The levels after the first divide `min_percent..max_percent` in steps of whole per cents; the
    first level has `first_percent`. Each level has a square of its size, one of the geometric mean
    with the next size, and two boxes for each of its ratios.

    Attributes:
        first_percent: size on the finest level.
        min_percent: size on the second level.
        max_percent: size on the last level, about.
        outer_ratios: of the first and the last two levels; each brings its inverse.
        inner_ratios: of the levels between.
        steps: distance of two cells of each level in pixels, a number or (y, x); None divides the
            image evenly.
        starts: centre of each level's first cell in pixels, a number or (y, x); None: half a step.
        truncate: cut sizes to whole pixels, as caffe-ssd does.

    Source: caffe-ssd, examples/ssd/ssd_pascal.py; caffe-dssd for the ratios of ResNet-101.
    """

    first_percent: float = 10.0
    min_percent: int = 20
    max_percent: int = 90
    outer_ratios: tuple[float, ...] = (2.0,)
    inner_ratios: tuple[float, ...] = (2.0, 3.0)
    steps: tuple[float | tuple[float, float], ...] | None = None
    starts: tuple[float | tuple[float, float], ...] | None = None
    truncate: bool = False

    def with_smallest(self, side: float) -> PercentAnchors:
        """The rule whose smallest box is this share of the image's shorter side."""
        return dataclasses.replace(self, first_percent=100 * side)

    def levels(
        self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> tuple[boxes.Level, ...]:
        """The levels for maps of these sizes, finest first."""
        count = len(map_sizes)
        min_sizes, max_sizes = boxes.ssd_scale_sizes(
            min(image_size), count, self.min_percent, self.max_percent, self.first_percent
        )
        outer = {0, count - 2, count - 1}
        return boxes.ssd_levels(
            map_sizes,
            image_size,
            min_sizes,
            max_sizes,
            [self.outer_ratios if k in outer else self.inner_ratios for k in range(count)],
            steps=self.steps,
            starts=self.starts,
            truncate=self.truncate,
        )


@dataclasses.dataclass(frozen=True)
class ListedAnchors:
    """Default boxes one by one, as published detectors bring them.

    Attributes:
        sizes: of each level the (height, width) of each box of a cell, as shares of the image.
        steps: distance of two cells of each level in pixels; None divides the image evenly.
        starts: centre of each level's first cell in pixels; None: half a step.
    """

    sizes: tuple[tuple[tuple[float, float], ...], ...]
    steps: tuple[float, ...] | None = None
    starts: tuple[float, ...] | None = None

    def levels(
        self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> tuple[boxes.Level, ...]:
        """The levels for maps of these sizes, finest first.

        Raises:
            ValueError: the sizes are those of another number of levels.
        """
        if len(self.sizes) != len(map_sizes):
            raise ValueError(
                f"Default boxes are listed for {len(self.sizes)} levels, but there are "
                f"{len(map_sizes)}."
            )
        levels = []
        for k, (map_size, sizes) in enumerate(zip(map_sizes, self.sizes, strict=True)):
            step = [1 / n for n in map_size]
            if self.steps is not None:
                step = [self.steps[k] / n for n in image_size]
            start = [side / 2 for side in step]
            if self.starts is not None:
                start = [self.starts[k] / n for n in image_size]
            levels.append(
                boxes.Level(
                    map_size=tuple(map_size),
                    sizes=tuple(tuple(size) for size in sizes),
                    step=tuple(step),
                    start=tuple(start),
                )
            )
        return tuple(levels)


MAX_SCALES_PER_OCTAVE = 16


@dataclasses.dataclass(frozen=True)
class MultiscaleAnchors:
    """Default boxes by the stride of each map, as in RetinaNet and the TF Object Detection API.

    A level of stride s has boxes of `scale` * s pixels and of the steps up to the double of that,
    each in all `ratios`. Their centres are those of the cells; along a side that the stride does
    not divide, the beginnings of the cells, where convolutions with "same" padding look. Maps of
    other sizes than such convolutions make divide the image evenly.

    Attributes:
        scale: side of the smallest square of a level in strides.
        ratios: width over height.
        scales_per_octave: steps from one level's size to the next one's.
        smallest: side of the finest level's smallest square, as a share of the image's shorter
            side; the coarser levels grow with it. None: by `scale`.

    Source: TF Object Detection API, multiscale_grid_anchor_generator.py.
    """

    scale: float = 4.0
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2
    smallest: float | None = None

    def __post_init__(self):
        # Files bring these numbers, too.
        if not 1 <= self.scales_per_octave <= MAX_SCALES_PER_OCTAVE:
            raise ValueError(
                f"scales_per_octave must be 1 to {MAX_SCALES_PER_OCTAVE}, got "
                f"{self.scales_per_octave}."
            )
        sizes = (self.scale, *self.ratios, *([] if self.smallest is None else [self.smallest]))
        if not all(0 < number < math.inf for number in sizes):
            raise ValueError(
                "scale, ratios and smallest of default boxes must be positive numbers."
            )

    def with_smallest(self, side: float) -> MultiscaleAnchors:
        """The rule whose smallest square, on the finest map, is this share of the shorter side."""
        return dataclasses.replace(self, smallest=side)

    def levels(
        self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> tuple[boxes.Level, ...]:
        """The levels for maps of these sizes, finest first."""
        scale = self.scale
        if self.smallest is not None:
            finest = nearest_stride(max(map_sizes[0]), max(image_size))
            scale = self.smallest * min(image_size) / finest
        return tuple(self._level(scale, map_size, image_size) for map_size in map_sizes)

    def _level(
        self, scale: float, map_size: tuple[int, int], image_size: tuple[int, int]
    ) -> boxes.Level:
        stride = nearest_stride(max(map_size), max(image_size))
        sides = [
            scale * stride * 2 ** (step / self.scales_per_octave)
            for step in range(self.scales_per_octave)
        ]
        height, width = image_size
        sizes = [
            (side / math.sqrt(ratio) / height, side * math.sqrt(ratio) / width)
            for ratio in self.ratios
            for side in sides
        ]
        axes = [_axis(*pair, stride) for pair in zip(map_size, image_size, strict=True)]
        step, start = zip(*axes, strict=True)
        return boxes.Level(tuple(map_size), tuple(sizes), step, start)


def nearest_stride(cells: int, pixels: int) -> int:
    """The power of two that comes nearest to the pixels of a cell."""
    return 2 ** max(0, round(math.log2(pixels / cells)))


def _axis(cells: int, pixels: int, stride: int) -> tuple[float, float]:
    """Distance and start of the centres along an axis, as shares of the image."""
    if cells != math.ceil(pixels / stride):
        return 1 / cells, 0.5 / cells
    start = 0.0 if pixels % stride else stride / 2
    return stride / pixels, start / pixels


RULES = {
    rule.__name__: rule for rule in (ScaleAnchors, PercentAnchors, MultiscaleAnchors, ListedAnchors)
}


def rule_config(rule) -> dict:
    """A rule as plain values, with its name."""
    return {"rule": type(rule).__name__, **dataclasses.asdict(rule)}


def rule_from_config(config: dict):
    """The reverse of `rule_config`."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k != "rule"}
    return RULES[config["rule"]](**values)
