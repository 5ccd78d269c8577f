"""How a Box Network lays default boxes on its feature maps, whatever their number and size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ssd_keras import boxes


@dataclasses.dataclass(frozen=True)
class ScaleAnchors:
    """Default boxes by scales relative to the image, as in the TF Object Detection API.

    Scales go linearly from `min_scale` to `max_scale` over the levels. Every level has the
    `ratios` and one more square between its scale and the next. The finest level has three boxes:
    a square of `smallest`, and two of `min_scale` with ratios 2 and 1/2.

    Source: spec of ssd_mobilenet_v1_coco.config; multiple_grid_anchor_generator.py.
    """

    min_scale: float = 0.2
    max_scale: float = 0.95
    smallest: float = 0.1
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)

    def levels(
        self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> tuple[boxes.Level, ...]:
        """The levels for maps of these sizes, finest first."""
        return boxes.tf_od_levels(
            map_sizes,
            min_scale=self.min_scale,
            max_scale=self.max_scale,
            first=((self.smallest, 1.0), (self.min_scale, 2.0), (self.min_scale, 0.5)),
            ratios=self.ratios,
        )
