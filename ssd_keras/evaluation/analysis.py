"""Where a detector is good and where it is not: thresholds, confusions, sizes, levels, images."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.boxes.coverage import best_default_boxes
from ssd_keras.boxes.numpy_boxes import inclusive_iou
from ssd_keras.evaluation.tables import Table
from ssd_keras.evaluation.voc import by_score, counted_of_classes, table_hits
from ssd_keras.resizing import HALF_PIXEL, LETTERBOX, boxes_on_canvas

# Sides in pixels (root of the area). 32 and 96 are COCO's limits of small and large.
SIZE_LIMITS = (0, 16, 32, 64, 96, 192, np.inf)
_FALLBACK_THRESHOLD = 0.5
# A picture of 1,203 classes would have 36,000 pixels each way.
MOST_CONFUSED = 100


@dataclasses.dataclass(frozen=True)
class WorkingPoint:
    """The score threshold at which a class has its best F1, and what it gives there.

    All nan for a class without ground truth or without any hit.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


def working_points(table: Table, iou_threshold: float = 0.5) -> dict[str, WorkingPoint]:
    """The best-F1 threshold of each class; of equal ones the highest."""
    hits, counted = table_hits(table, iou_threshold)
    objects, found = table.objects_per_class(), counted_of_classes(table, counted)
    return {
        name: _best_f1(table, hits, found[i], int(objects[i]))
        for i, name in enumerate(table.classes)
    }


def thresholds(table: Table, points: Mapping[str, WorkingPoint]) -> np.ndarray:
    """The threshold of each class, float64 `[C]`.

    A class without one gets that of all classes pooled, or 0.5 if nothing was hit at all.
    """
    hits, counted = table_hits(table)
    index = by_score(table.score, np.flatnonzero(counted))
    pooled = _best_f1(table, hits, index, int(table.objects_per_class().sum())).threshold
    fallback = _FALLBACK_THRESHOLD if np.isnan(pooled) else pooled
    values = np.array([points[name].threshold for name in table.classes], np.float64)
    return np.where(np.isnan(values), fallback, values)


def threshold_curves(table: Table, iou_threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of all classes pooled, over the score threshold.

    Returns:
        `threshold`, `precision`, `recall`, `f1`: `[101]`; precision is nan where nothing is left.
    """
    hits, counted = table_hits(table, iou_threshold)
    index = by_score(table.score, np.flatnonzero(counted))
    scores, true = table.score[index], np.cumsum(hits[index])
    objects = int((~table.object_ignored).sum())
    grid = np.linspace(0, 1, 101)
    kept = np.searchsorted(-scores, -grid, side="right")
    right = np.concatenate([[0], true])[kept]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "threshold": grid,
            "precision": right / kept,
            "recall": right / np.float64(objects),
            "f1": 2 * right / np.float64(kept + objects),
        }


def confusion_matrix(
    table: Table, score_thresholds: float | np.ndarray = 0.5, iou_threshold: float = 0.5
) -> np.ndarray:
    """What objects were taken for.

    Detections are taken by falling score, each to the free object it overlaps most, one of its
    own class first. Detections on objects that don't count are left out.

    Args:
        table: the data set.
        score_thresholds: one for all classes or `[C]`; detections below are left out.
        iou_threshold: least overlap.

    Returns:
        int `[C + 1, C + 1]`: row = class of the object, column = class of the detection; the last
        row counts detections on background, the last column missed objects.
    """
    count = len(table.classes)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    keep = table.score >= np.broadcast_to(score_thresholds, count)[table.label]
    for objects, detections in zip(table.object_slices, table.detection_slices, strict=True):
        found = np.flatnonzero(keep[detections]) + detections.start
        truth_label = table.object_label[objects]
        ignored = table.object_ignored[objects]
        overlaps = inclusive_iou(table.box[found], table.object_box[objects])
        free = np.ones(len(truth_label), bool)
        for row, label in zip(overlaps, table.label[found], strict=True):
            row = np.where((row >= iou_threshold) & free, row, 0)
            own = np.where(truth_label == label, row, 0)
            row = own if own.any() else row
            if not row.any():
                matrix[count, label] += 1
                continue
            target = int(row.argmax())
            if not ignored[target]:
                free[target] = False
                matrix[truth_label[target], label] += 1
        np.add.at(matrix, (truth_label[free & ~ignored], count), 1)
    return matrix


def objects_found(
    table: Table, score_thresholds: float | np.ndarray = 0.0, iou_threshold: float = 0.5
) -> np.ndarray:
    """Which objects have a hit among the detections with at least that score, bool `[G]`."""
    hits, _ = table_hits(table, iou_threshold)
    limits = np.broadcast_to(score_thresholds, len(table.classes))
    hits = hits & (table.score >= limits[table.label])
    found = np.zeros(len(table.object_label), bool)
    found[table.best["own"][hits]] = True
    return found


def most_confused(
    matrix: np.ndarray, classes: Sequence[str], most: int = MOST_CONFUSED
) -> tuple[np.ndarray, list[str]]:
    """The part of a confusion matrix that can be shown: the classes with most mistakes.

    Args:
        matrix: int `[C + 1, C + 1]`, from `confusion_matrix`.
        classes: class names.
        most: how many are shown; the others become one, "(others)", whose diagonal counts all that
            they were found as among themselves.

    Returns:
        The matrix of as many or fewer classes, and their names.
    """
    if len(classes) <= most:
        return matrix, list(classes)
    mistakes = (matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix))[:-1]
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:most])
    group = np.full(len(matrix), most)
    group[shown] = np.arange(most)
    group[-1] = most + 1
    small = np.zeros((most + 2, most + 2), matrix.dtype)
    np.add.at(small, (group[:, None], group[None]), matrix)
    return small, [*(classes[label] for label in shown), "(others)"]


def recall_by_size(table: Table, found: np.ndarray) -> list[dict]:
    """Recall of objects by the root of their area in pixels.

    Args:
        table: the data set.
        found: bool `[G]`, from `objects_found`.

    Returns:
        a row per size: `name`, `objects`, `found`, `recall` (nan without objects).
    """
    side = np.sqrt(table.object_area)
    pairs = list(itertools.pairwise(SIZE_LIMITS))
    names = [f"{a:g}-{b:g} px" if np.isfinite(b) else f"{a:g} px and up" for a, b in pairs]
    group = np.searchsorted(SIZE_LIMITS, side, side="right") - 1
    return _recall_rows(table, found, group, names)


def recall_by_level(
    table: Table,
    found: np.ndarray,
    level_anchors: Sequence[np.ndarray],
    image_size: tuple[int, int] = (1, 1),
    resize: str = HALF_PIXEL,
) -> list[dict]:
    """Recall of objects by the level whose default box fits them best; rows as `recall_by_size`.

    Args:
        table: the data set.
        found: bool `[G]`, from `objects_found`.
        level_anchors: normalised default boxes of each level, `[A_l, 4]`.
        image_size: (height, width) of the detector.
        resize: its way of `resizing.WAYS`; letterboxed objects lie elsewhere than in their image.
    """
    sizes = table.sizes[table.object_image]
    boxes = table.object_box / np.tile(sizes, 2).reshape(-1, 4)
    for size in np.unique(sizes, axis=0) if resize == LETTERBOX else ():
        of_size = (sizes == size).all(axis=1)
        boxes[of_size] = boxes_on_canvas(boxes[of_size], tuple(size), image_size, resize)
    _, level = best_default_boxes(boxes, level_anchors)
    names = [f"level {i + 1} ({len(a)} boxes)" for i, a in enumerate(level_anchors)]
    return _recall_rows(table, found, level, names)


def worst_images(
    table: Table, score_thresholds: float | np.ndarray = 0.5, count: int = 12
) -> list[dict]:
    """The images with most errors, detections below the thresholds left out.

    Returns:
        rows of `index`, `image_id`, `missed`, `false` (detections), `hits`, most errors first (of
        equal ones the one with fewer hits, then the earlier); images without errors are left out.
    """
    hits, counted = table_hits(table)
    keep = table.score >= np.broadcast_to(score_thresholds, len(table.classes))[table.label]
    images = len(table.sizes)
    missed = ~objects_found(table, score_thresholds) & ~table.object_ignored
    missing = np.bincount(table.object_image[missed], minlength=images)
    false = np.bincount(table.image[keep & counted & ~hits], minlength=images)
    right = np.bincount(table.image[keep & hits], minlength=images)
    order = np.lexsort((np.arange(images), right, -(missing + false)))
    return [
        {
            "index": int(i),
            "image_id": table.image_ids[i],
            "missed": int(missing[i]),
            "false": int(false[i]),
            "hits": int(right[i]),
        }
        for i in order[:count]
        if missing[i] + false[i]
    ]


def _best_f1(table: Table, hits, index: np.ndarray, objects: int) -> WorkingPoint:
    """That of the detections at `index`, by falling score."""
    true = np.cumsum(hits[index])
    if not objects or not len(index) or not true[-1]:
        return WorkingPoint(*[float("nan")] * 4)
    scores = table.score[index]
    kept = np.arange(1, len(index) + 1)
    f1 = 2 * true / (kept + objects)
    # A threshold takes all detections of one score or none.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    at = int(f1.argmax())
    return WorkingPoint(
        float(scores[at]), float(f1[at]), float(true[at] / kept[at]), float(true[at] / objects)
    )


def _recall_rows(table: Table, found, group, names) -> list[dict]:
    counts = ~table.object_ignored
    rows = []
    for i, name in enumerate(names):
        members = counts & (group == i)
        objects, hit = int(members.sum()), int((members & found).sum())
        recall = hit / objects if objects else float("nan")
        rows.append({"name": name, "objects": objects, "found": hit, "recall": recall})
    return rows
