"""Adaptive training sample selection: each object has an IoU threshold of its own."""

import math

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.boxes.assigning import (
    INSIDE_PIXELS,
    best_object,
    pixels_inside,
    present,
    without_absent,
)
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.xla import run_with_xla

CANDIDATES = 9


def atss(boxes, layout: Layout, candidates: int = CANDIDATES, *, whole_cells: bool = False):
    """Index of the ground truth that each default box is assigned to.

    Each object looks at the `candidates` default boxes of each map whose centres are nearest to its
    own. Those whose IoU reaches the mean plus the standard deviation of all its candidates, and
    whose centre is inside of it, are its own. A default box that several objects have goes to the
    one with the highest IoU. Equal ones: lowest default box first, then lowest object.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1. Boxes without area and boxes that
            are not finite get none.
        layout: the default boxes.
        candidates: default boxes of each map.
        whole_cells: `candidates` are cells of each map, and all default boxes of theirs are looked
            at: as many times more of them as a cell has. Without it the cut goes through a cell,
            and always through the same shapes.

    Returns:
        int32 `[B, A]`: index into M, or -1. An object may have none, see
        `assigning.with_lost_objects`.

    Source: arXiv 1912.02424, algorithm 1; mmdet 3.3.0, atss_assigner.py, for the test of centres
    and for `candidates` that are default boxes; the paper's own code multiplies them by the default
    boxes of a cell.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    if boxes.shape[1] == 0:
        return ops.full((ops.shape(boxes)[0], len(layout.anchors)), -1, dtype="int32")
    return run_with_xla(
        atss_arrays,
        [boxes],
        [ops.convert_to_tensor(layout.anchors), ops.convert_to_tensor(layout.centers)],
        levels=layout.levels,
        image_size=layout.image_size,
        candidates=candidates,
        whole_cells=whole_cells,
    )


def atss_arrays(boxes, anchors, centers, *, levels, image_size, candidates, whole_cells=False):
    """The computation of `atss`, on float32 tensors `[B, M, 4]`, `[A, 4]` and `[A, 2]`."""
    boxes = without_absent(boxes)
    near = nearest(boxes, centers, levels, image_size, candidates, whole_cells)
    overlap = geometry.iou_aligned(boxes[:, :, None], ops.take(anchors, near, axis=0))
    middle = pixels_inside(ops.take(centers, near, axis=0), boxes[:, :, None], image_size)
    good = ops.logical_and(overlap >= thresholds(overlap)[..., None], middle > INSIDE_PIXELS)
    good = ops.logical_and(good, present(boxes)[..., None])
    return best_object(near, ops.where(good, overlap, 0.0), anchors.shape[0])


def nearest(boxes, centers, levels, image_size, count: int, whole_cells: bool = False):
    """The default boxes of each map whose centres are nearest to each object's.

    Args:
        boxes: `[B, M, 4]`.
        centers: of the default boxes, `[A, 2]`.
        levels: see `Layout`.
        image_size: (height, width); distances are those of pixels.
        count: how many of each map, or all that it has.
        whole_cells: whether `count` is one of cells.

    Returns:
        int32 `[B, M, K]`, map by map; of equally near ones the lowest come first.
    """
    height, width = image_size
    middle = (boxes[..., :2] + boxes[..., 2:]) * 0.5
    found, first = [], 0
    for cells, per_cell in levels:
        # One centre a cell: its default boxes are equally near, and stand in a row.
        cell = centers[first : first + cells * per_cell : per_cell]
        distance = geometry.distance_squared(
            (middle[:, :, None, 0] - cell[:, 0]) * height,
            (middle[:, :, None, 1] - cell[:, 1]) * width,
        )
        wanted = min(count * per_cell if whole_cells else count, cells * per_cell)
        near = ops.cast(ops.top_k(-distance, math.ceil(wanted / per_cell))[1], "int32")
        boxes_of = near[..., None] * per_cell + ops.arange(per_cell, dtype="int32")
        boxes_of = ops.reshape(boxes_of, (-1, boxes.shape[1], near.shape[-1] * per_cell))
        found.append(first + boxes_of[..., :wanted])
        first += cells * per_cell
    return ops.concatenate(found, axis=-1)


def thresholds(overlap):
    """Mean plus standard deviation of each object's candidates `[B, M, K]` -> `[B, M]`.

    The deviation is that of a sample (divided by K - 1), as in the paper's own code; with a single
    candidate it is 0.
    """
    mean = ops.mean(overlap, axis=-1, keepdims=True)
    variance = ops.sum(ops.square(overlap - mean), axis=-1) / max(overlap.shape[-1] - 1, 1)
    return mean[..., 0] + ops.sqrt(variance)
