"""Where the default boxes stand, as far as an assignment has to know it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ssd_keras.boxes.default_boxes import Level, cell_centers, default_boxes


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The default boxes of a detector on their maps.

    Attributes:
        anchors: corners, float32 `[A, 4]`.
        centers: centre (y, x) of each default box, float32 `[A, 2]`: that of its cell, which all
            boxes of the cell share to the bit, as their corners do not.
        levels: of each map (cells, boxes per cell), finest first.
        image_size: (height, width) of the image in pixels.
    """

    anchors: np.ndarray
    centers: np.ndarray
    levels: tuple[tuple[int, int], ...]
    image_size: tuple[int, int]

    @classmethod
    def of(cls, levels: Sequence[Level], image_size: tuple[int, int]) -> Layout:
        """The layout of default boxes that are given level by level."""
        centers = [np.repeat(cell_centers(one), len(one.sizes), axis=0) for one in levels]
        return cls(
            anchors=default_boxes(levels),
            centers=np.concatenate([np.zeros((0, 2), np.float32), *centers]),
            levels=tuple((one.count // len(one.sizes), len(one.sizes)) for one in levels),
            image_size=tuple(image_size),
        )
