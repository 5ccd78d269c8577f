"""Random layouts of objects on tiles, and a detector that is right on every tile."""

import dataclasses

import numpy as np

from ssd_keras.boxes.numpy_boxes import pairwise_iou
from ssd_keras.boxes.tiles import Tiling, tiles_of, visible_shares


@dataclasses.dataclass(frozen=True)
class Layout:
    """An image `size` with objects, and how it is cut."""

    size: tuple
    tiling: Tiling
    boxes: np.ndarray
    labels: np.ndarray

    @property
    def tiles(self) -> np.ndarray:
        return tiles_of(self.size, self.tiling)


def random_layout(seed: int, *, large: float = 0.2, most: int = 25) -> Layout:
    """Objects that a suppression keeps apart; the share `large` of them is larger than an overlap,
    up to three tiles, the others fit into one."""
    rng = np.random.default_rng(seed)
    size = tuple(int(side) for side in rng.integers(60, 900, 2))
    side, overlap = int(rng.integers(96, 300)), float(rng.choice([0.1, 0.2, 0.3, 0.5]))
    tiling = Tiling(height=side, width=side, overlap=overlap, whole=bool(rng.random() < 0.3))
    boxes = np.zeros((0, 4))
    for _ in range(rng.integers(1, most)):
        extent = rng.uniform(4, 3 * side if rng.random() < large else overlap * side - 1, 2)
        centre = rng.uniform(0, 1, 2) * size
        low = (centre - extent / 2).clip(0)
        box = np.concatenate([low, np.minimum(centre + extent / 2, size)])
        if (box[2:] - box[:2]).min() >= 4 and pairwise_iou(boxes, box[None]).max(initial=0) < 0.4:
            boxes = np.concatenate([boxes, box[None]])
    return Layout(size, tiling, boxes, rng.integers(0, 2, len(boxes)))


def found_on_tiles(layout: Layout, least: float = 1e-6, jitter: float = 0.0) -> tuple:
    """What `merge_tiles` takes: each object, cut to each tile that shows `least` of it.

    `jitter`: share of its sides by which each part is seen elsewhere.
    """
    rng = np.random.default_rng(len(layout.boxes))
    tiles = layout.tiles
    number, which = np.nonzero(visible_shares(layout.boxes, tiles) >= least)
    boxes, edges = layout.boxes[which], tiles[number]
    low, high = np.maximum(boxes[:, :2], edges[:, :2]), np.minimum(boxes[:, 2:], edges[:, 2:])
    moved = rng.uniform(-jitter, jitter, (len(low), 4)) * np.tile(high - low, 2)
    parts = np.concatenate([low, high], 1) + moved
    parts = np.concatenate(
        [np.maximum(parts[:, :2], edges[:, :2]), np.minimum(parts[:, 2:], edges[:, 2:])], 1
    )
    scores = rng.uniform(0.3, 1, len(number)).astype(np.float32)
    return tiles, number, parts, scores, layout.labels[which]
