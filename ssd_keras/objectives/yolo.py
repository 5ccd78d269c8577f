"""YOLO's objective: the cell that holds an object's centre answers for it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from keras import ops

from ssd_keras import boxes as box_ops


@dataclasses.dataclass(frozen=True)
class YoloObjective:
    """The objective of YOLO version 1.

    Attributes:
        box_weight: weight of the errors of centres and square roots of sizes.
        no_object_weight: weight of the confidences that should be 0.

    Source: YOLO paper, arXiv 1506.02640, equation 3.
    """

    box_weight: float = 5.0
    no_object_weight: float = 0.5

    background: ClassVar[bool] = False
    class_bias: ClassVar[float] = 0.0

    def encode(self, boxes, labels, grid) -> dict:
        """What each cell has to predict; see `yolo_targets`."""
        return yolo_targets(boxes, labels, grid)

    def loss(self, targets: dict, predictions: dict, grid) -> dict:
        """Scalars "loss", "class_loss", "box_loss", "positives"; see `yolo_loss`."""
        return yolo_loss(
            targets,
            predictions,
            grid,
            box_weight=self.box_weight,
            no_object_weight=self.no_object_weight,
        )

    def scores_of(self, predictions: dict):
        """The class's probability times the box's confidence `[B, P, C]`.

        Both are kept within 0..1, which linear outputs may leave.
        """
        confidences = ops.clip(ops.cast(predictions["confidences"], "float32"), 0.0, 1.0)
        classes = ops.clip(ops.cast(predictions["classes"], "float32"), 0.0, 1.0)
        per_cell = confidences.shape[1] // classes.shape[1]
        return confidences[..., None] * ops.repeat(classes, per_cell, axis=1)


def yolo_targets(boxes, labels, grid):
    """What each cell of YOLO's grid has to predict.

    The cell that holds an object's centre answers for it; of several objects the first.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1.
        labels: int `[B, M]` in 0..C-1, padded with -1.
        grid: (rows, columns).

    Returns:
        dict of `boxes` float32 [B, S, 4], corners (0 where the cell has no object), `classes`
        int32 [B, S] and `positive` bool [B, S], with S = rows * columns.
    """
    rows, columns = grid
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    sizes = _sizes(grid)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    cells = ops.cast(ops.clip(ops.floor(centers * sizes), 0.0, sizes - 1.0), "int32")
    index = cells[..., 0] * columns + cells[..., 1]
    objects = ops.arange(labels.shape[1], dtype="int32")
    absent = labels.shape[1]
    here = index[:, :, None] == ops.arange(rows * columns, dtype="int32")
    here = ops.logical_and(here, labels[:, :, None] >= 0)
    first = ops.min(ops.where(here, objects[None, :, None], absent), axis=1)
    positive = first < absent
    safe = ops.where(positive, first, 0)
    chosen = ops.take_along_axis(boxes, safe[..., None], axis=1)
    return {
        "boxes": ops.where(positive[..., None], chosen, 0.0),
        "classes": ops.where(positive, ops.take_along_axis(labels, safe, axis=1), 0),
        "positive": positive,
    }


def yolo_boxes(raw, grid):
    """Corners of YOLO's raw boxes `[B, S * boxes_per_cell, 4]`; see `YOLO.__call__`."""
    per_cell = raw.shape[1] // (grid[0] * grid[1])
    corner = ops.repeat(_cell_corners(grid), per_cell, axis=0)
    centers = (corner + raw[..., :2]) / _sizes(grid)
    half = ops.square(raw[..., 2:]) / 2
    return ops.concatenate([centers - half, centers + half], axis=-1)


def yolo_loss(targets, predictions, grid, *, box_weight=5.0, no_object_weight=0.5):
    """YOLO's sum of squared errors, divided by the number of images.

    Of a cell's boxes the one that overlaps its object most is responsible (where none overlaps,
    the nearest): it learns the box, and its overlap as confidence. All others learn confidence 0,
    but for those of cells without an object that are ignored.

    Args:
        targets: what `yolo_targets` returns, and perhaps `ignored`, bool `[B, S]`.
        predictions: what the YOLO box network predicts.
        grid: (rows, columns).
        box_weight: weight of the errors of centres and square roots of sizes.
        no_object_weight: weight of the confidences that should be 0.

    Returns:
        dict of scalars `loss`, `class_loss` (classes and confidences), `box_loss`, `positives` and
        `normalizer`, what the errors were divided by.

    Source: YOLO paper, arXiv 1506.02640, equation 3; darknet, detection_layer.c (rescore=1).
    """
    raw = ops.cast(ops.convert_to_tensor(predictions["boxes"]), "float32")
    confidences = ops.cast(ops.convert_to_tensor(predictions["confidences"]), "float32")
    classes = ops.cast(ops.convert_to_tensor(predictions["classes"]), "float32")
    positive = targets["positive"]
    found = _by_cell(ops.stop_gradient(yolo_boxes(raw, grid)), grid)
    responsible, overlap = _responsible(found, targets)

    others = 1.0 - responsible
    if "ignored" in targets:
        free = ops.logical_or(positive, ops.logical_not(targets["ignored"]))
        others = others * ops.cast(free, "float32")[..., None]

    # === Errors ===
    goal = _goal(targets["boxes"], grid)[:, :, None]
    box_error = ops.sum(ops.square(_by_cell(raw, grid) - goal), axis=-1)
    confidence = _by_cell(confidences, grid)
    one_hot = ops.one_hot(targets["classes"], classes.shape[-1], dtype="float32")
    class_error = ops.sum(ops.square(classes - one_hot), axis=-1)

    # === Sums ===
    images = ops.cast(ops.shape(raw)[0], "float32")
    box_loss = box_weight * ops.sum(responsible * box_error) / images
    class_loss = (
        ops.sum(responsible * ops.square(confidence - overlap))
        + no_object_weight * ops.sum(others * ops.square(confidence))
        + ops.sum(ops.where(positive, class_error, 0.0))
    ) / images
    return {
        "loss": class_loss + box_loss,
        "class_loss": class_loss,
        "box_loss": box_loss,
        "positives": ops.sum(ops.cast(positive, "float32")),
        "normalizer": images,
    }


def _responsible(found, targets):
    """Which of each cell's boxes answers for its object, and how well each box overlaps it.

    Args:
        found: corners of the predicted boxes `[B, S, boxes_per_cell, 4]`.
        targets: what `yolo_targets` returns.

    Returns:
        Two float32 `[B, S, boxes_per_cell]`: 1 for the box that is responsible, and IoU.
    """
    wanted = targets["boxes"][:, :, None]
    overlap = box_ops.iou_aligned(found, ops.broadcast_to(wanted, ops.shape(found)))
    difference = box_ops.corners_to_centers(found) - box_ops.corners_to_centers(wanted)
    nearest = ops.argmin(ops.sum(ops.square(difference), axis=-1), axis=-1)
    most = ops.argmax(overlap, axis=-1)
    choice = ops.where(ops.max(overlap, axis=-1) > 0, most, nearest)
    chosen = ops.cast(ops.one_hot(choice, found.shape[2]), "float32")
    return chosen * ops.cast(targets["positive"], "float32")[..., None], overlap


def _goal(boxes, grid):
    """The raw boxes that mean the corners `[B, S, 4]`, one for each cell."""
    center_size = box_ops.corners_to_centers(boxes)
    offset = center_size[..., :2] * _sizes(grid) - _cell_corners(grid)
    roots = ops.sqrt(ops.maximum(center_size[..., 2:], 0.0))
    return ops.concatenate([offset, roots], axis=-1)


def _by_cell(x, grid):
    """`[B, S * boxes_per_cell, ...]` -> `[B, S, boxes_per_cell, ...]`."""
    cells = grid[0] * grid[1]
    return ops.reshape(x, (-1, cells, x.shape[1] // cells, *x.shape[2:]))


def _sizes(grid):
    return ops.stack([float(side) for side in grid])


def _cell_corners(grid):
    """Row and column of each cell, float32 `[S, 2]`."""
    rows, columns = grid
    cells = ops.arange(rows * columns, dtype="int32")
    return ops.cast(ops.stack([cells // columns, cells % columns], axis=-1), "float32")
