"""Whether the default boxes of a model can meet the objects of a data set."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ssd_keras.boxes.numpy_boxes import pairwise_iou
from ssd_keras.display import column, named_size

THRESHOLD = 0.5
# Sides in pixels of the resized picture; COCO's small, medium and large with smaller steps.
SIZE_EDGES = (0, 8, 16, 32, 64, 96, 192, np.inf)
# Objects that are held against all default boxes of a level at a time.
_PART = 64


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


def draw_some(count: int, most: int) -> np.ndarray:
    """Which of `count` are looked at where `most` are enough, ascending; the same ones always.

    Drawn, not every so-manieth: annotations come in patterns, such as each car before its plate.
    """
    if count <= most:
        return np.arange(count)
    ranks = np.random.Generator(np.random.Philox(key=[0, count])).random(count)
    return np.sort(np.argsort(ranks, kind="stable")[:most])


def best_default_boxes(
    boxes: np.ndarray, level_anchors: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """How well default boxes cover objects.

    Args:
        boxes: `[n, 4]`, `[ymin, xmin, ymax, xmax]` normalised.
        level_anchors: default boxes of each level, corners `[A_l, 4]`, normalised.

    Returns:
        IoU, float64 `[n]`, with the best default box, and its level `[n]`; the first of equal ones.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    overlaps = np.zeros((len(level_anchors), len(boxes)))
    for level, anchors in enumerate(level_anchors):
        for start in range(0, len(boxes), _PART):
            part = slice(start, start + _PART)
            overlaps[level, part] = pairwise_iou(boxes[part], anchors).max(1)
    return overlaps.max(0), overlaps.argmax(0)


def coverage(
    boxes: np.ndarray,
    labels: np.ndarray,
    level_anchors: Sequence[np.ndarray],
    image_size: tuple[int, int],
) -> Coverage:
    """Compares objects with default boxes.

    Args:
        boxes: `[n, 4]`, `[ymin, xmin, ymax, xmax]` normalised.
        labels: int `[n]`.
        level_anchors: default boxes of each level, corners `[A_l, 4]`, normalised.
        image_size: (height, width) of the model's input in pixels.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    overlaps, level = best_default_boxes(boxes, level_anchors)
    labels = np.asarray(labels, np.int64).reshape(-1)
    return Coverage(overlaps.astype(np.float32), level, labels, _sides(boxes, image_size))


def _sides(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Square roots of the areas in pixels of an image."""
    pixels = boxes * np.tile(np.asarray(image_size, np.float32), 2)
    return np.sqrt(np.prod(pixels[:, 2:] - pixels[:, :2], 1))


# === What it says ===


def size_table(result: Coverage) -> list[tuple[str, int, int]]:
    """Rows of size range in pixels, number of objects, number poorly covered."""
    rows = []
    for low, high in itertools.pairwise(SIZE_EDGES):
        name = f"{low:g} to {high:g} px" if np.isfinite(high) else f"over {low:g} px"
        rows.append(_row(result, name, (result.side >= low) & (result.side < high)))
    return [row for row in rows if row[1]]


def class_table(result: Coverage, classes: Sequence[str]) -> list[tuple[str, int, int]]:
    """Rows of class name, number of objects, number poorly covered."""
    rows = [_row(result, name, result.labels == index) for index, name in enumerate(classes)]
    return [row for row in rows if row[1]]


def _row(result: Coverage, name: str, inside: np.ndarray) -> tuple[str, int, int]:
    return name, int(inside.sum()), int(result.poor[inside].sum())


def level_table(
    result: Coverage, level_anchors: Sequence[np.ndarray], image_size: tuple[int, int]
) -> list[tuple[int, float, float, int]]:
    """Rows of number of default boxes, smallest and largest side in pixels, objects they take."""
    rows = []
    for index, anchors in enumerate(level_anchors):
        sides = _sides(anchors, image_size)
        taken = int((result.level == index).sum())
        rows.append((len(anchors), float(sides.min()), float(sides.max()), taken))
    return rows


def advice(result: Coverage, anchors: np.ndarray, image_size: tuple[int, int]) -> list[str]:
    """What to do where the coverage is poor; empty where it is good."""
    if not len(result.iou) or result.poor.mean() < 0.02:
        return []
    share = result.poor.mean()
    smallest = float(_sides(anchors, image_size).min())
    lines = [
        f"{share:.0%} of the objects have no default box with an IoU of {THRESHOLD}: they are "
        "taught by one forced match each and will be found less often."
    ]
    small = result.poor & (result.side < 0.75 * smallest)
    if small.sum() > 0.5 * result.poor.sum():
        side = float(np.median(result.side[small]))
        lines.append(
            f"Most are small (median {side:.0f} px at {named_size(image_size)}, the "
            f"smallest default box is {smallest:.0f} px): take a model with a larger input, a "
            "finer map (--finest_stride=8, where the backbone has the choice), smaller default "
            "boxes (--smallest_box, which moves the smallest size: check again with it, since "
            "objects of the size it had may lose theirs), or train on tiles (--tiles)."
        )
    else:
        lines.append(
            "Most are not small but long, or lie between the default boxes' places: a model with "
            "finer maps (SSD_VGG16, a larger input) meets them better."
        )
    return lines


def describe(
    result: Coverage,
    level_anchors: Sequence[np.ndarray],
    image_size: tuple[int, int],
    classes: Sequence[str],
    model: str,
) -> str:
    """All of it as text: by size, by class, by level, and advice."""
    anchors, total, poor = np.concatenate(level_anchors), len(result.iou), int(result.poor.sum())
    lines = [
        f"Default boxes of {model} ({len(anchors)}): {poor} of {total} objects "
        f"({poor / max(total, 1):.1%}) have no default box with IoU {THRESHOLD}",
        *_counts(size_table(result)),
        "  by class:",
        *_counts(class_table(result, classes)),
        "  by level:",
    ]
    for index, (count, low, high, taken) in enumerate(
        level_table(result, level_anchors, image_size), start=1
    ):
        lines.append(
            f"  level {index}: {count:6d} boxes of {low:.0f} to {high:.0f} px take {taken} objects"
        )
    return "\n".join([*lines, *(f"Advice: {line}" for line in advice(result, anchors, image_size))])


def _counts(rows: list[tuple[str, int, int]]) -> list[str]:
    cells = column([name for name, _, _ in rows], least=14)
    return [
        f"  {cell} {count:7d} objects, {below:6d} ({below / count:6.1%}) below"
        for cell, (_, count, below) in zip(cells, rows, strict=True)
    ]
