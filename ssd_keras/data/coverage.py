"""Whether the default boxes of a model can meet the objects of a data set."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.5
# Sides in pixels of the resized picture; COCO's small, medium and large with smaller steps.
SIZE_EDGES = (0, 8, 16, 32, 64, 96, 192, np.inf)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How well each object is met by its best default box.

    Attributes:
        iou: float32 `[n]`, best IoU of each object with any default box.
        level: int `[n]`, the feature map that default box belongs to.
        labels: int `[n]`.
        side: float32 `[n]`, square root of the area in pixels of the resized picture.
    """

    iou: np.ndarray
    level: np.ndarray
    labels: np.ndarray
    side: np.ndarray

    @property
    def poor(self) -> np.ndarray:
        """bool `[n]`: no default box reaches an IoU of 0.5; only the forced match trains it."""
        return self.iou < THRESHOLD


def coverage(
    boxes: np.ndarray,
    labels: np.ndarray,
    anchors: np.ndarray,
    level_starts: Sequence[int],
    image_size: tuple[int, int],
) -> Coverage:
    """Compares objects with default boxes.

    Args:
        boxes: `[n, 4]`, `[ymin, xmin, ymax, xmax]` normalised.
        labels: int `[n]`.
        anchors: `[A, 4]` corners, normalised, the levels one after the other.
        level_starts: index of the first default box of each level.
        image_size: (height, width) of the model's input in pixels.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    anchors = np.asarray(anchors, np.float32)
    best_iou = np.zeros(len(boxes), np.float32)
    best = np.zeros(len(boxes), np.int64)
    area = np.prod(anchors[:, 2:] - anchors[:, :2], 1)
    for start in range(0, len(boxes), 64):  # so that [n, A] never grows large
        part = boxes[start : start + 64]
        low = np.maximum(part[:, None, :2], anchors[None, :, :2])
        high = np.minimum(part[:, None, 2:], anchors[None, :, 2:])
        common = np.prod(np.maximum(high - low, 0), 2)
        own = np.prod(part[:, 2:] - part[:, :2], 1)
        iou = common / np.maximum(own[:, None] + area - common, 1e-12)
        chosen = iou.argmax(1)
        best[start : start + 64] = chosen
        best_iou[start : start + 64] = iou[np.arange(len(part)), chosen]
    level = np.searchsorted(np.asarray(level_starts), best, side="right") - 1
    pixels = boxes * np.tile(np.asarray(image_size, np.float32), 2)
    side = np.sqrt(np.prod(pixels[:, 2:] - pixels[:, :2], 1))
    return Coverage(best_iou, level, np.asarray(labels, np.int64).reshape(-1), side)


def size_table(result: Coverage) -> list[tuple[str, int, int]]:
    """Rows of size range in pixels, number of objects, number poorly covered."""
    rows = []
    for low, high in itertools.pairwise(SIZE_EDGES):
        inside = (result.side >= low) & (result.side < high)
        if inside.any():
            name = f"{low:g} to {high:g} px" if np.isfinite(high) else f"over {low:g} px"
            rows.append((name, int(inside.sum()), int(result.poor[inside].sum())))
    return rows


def class_table(result: Coverage, classes: Sequence[str]) -> list[tuple[str, int, int]]:
    """Rows of class name, number of objects, number poorly covered."""
    rows = []
    for index, name in enumerate(classes):
        inside = result.labels == index
        if inside.any():
            rows.append((name, int(inside.sum()), int(result.poor[inside].sum())))
    return rows


def advice(result: Coverage, anchors: np.ndarray, image_size: tuple[int, int]) -> list[str]:
    """What to do where the coverage is poor; empty where it is good."""
    if not len(result.iou) or result.poor.mean() < 0.02:
        return []
    share = result.poor.mean()
    sides = (anchors[:, 2:] - anchors[:, :2]) * np.asarray(image_size)
    smallest = float(np.sqrt(np.prod(sides, 1)).min())
    lines = [
        f"{share:.0%} of the objects have no default box with an IoU of {THRESHOLD}: they are "
        "taught by one forced match each and will be found less often."
    ]
    small = result.poor & (result.side < 0.75 * smallest)
    if small.sum() > 0.5 * result.poor.sum():
        side = float(np.median(result.side[small]))
        lines.append(
            f"Most are small (median {side:.0f} px at {image_size[1]}x{image_size[0]}, the "
            f"smallest default box is {smallest:.0f} px): take a model with a larger input, a "
            "finer map (--finest_stride=8, with a MobileNet), smaller default boxes "
            "(--smallest_box, which moves the smallest size: check again with it, since objects "
            "of the size it had may lose theirs), or cut the images into tiles."
        )
    else:
        lines.append(
            "Most are not small but long, or lie between the default boxes' places: a model with "
            "finer maps (SSD_VGG16, a larger input) meets them better."
        )
    return lines
