"""Everything that is measured in one evaluation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ssd_keras.evaluation import analysis, text
from ssd_keras.evaluation.errors import KINDS, Errors, table_errors
from ssd_keras.evaluation.metrics import evaluate_table
from ssd_keras.evaluation.tables import Table, tabulate
from ssd_keras.evaluation.voc import table_ap
from ssd_keras.resizing import HALF_PIXEL


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Everything that was measured in one evaluation; printed, it is a table.

    Attributes:
        metrics: as `evaluation.evaluate`, and under `per_class` also the working point
            (`threshold`, `best_f1`, `precision`, `recall`), and under `errors` the counts and
            costs; ready for JSON but for nan.
        errors: the error analysis.
        curves: precision and recall of each class.
        threshold_curves: precision, recall and F1 over the score threshold.
        thresholds: float64 `[C]`, the score threshold of each class used below.
        confusion: int `[C + 1, C + 1]`.
        by_size, by_level: rows of recall, "all detections" and "at best F1"; `by_level` is empty
            without default boxes.
        worst: rows of the images with most errors.
    """

    metrics: dict
    errors: Errors
    curves: dict
    threshold_curves: dict
    thresholds: np.ndarray
    confusion: np.ndarray
    by_size: dict
    by_level: dict
    worst: list[dict]

    @property
    def mAP(self) -> float:
        """`voc.ap50`: mean AP at IoU 0.5, by VOC 2010 and later."""
        return self.metrics["voc"]["ap50"]

    @property
    def AP(self) -> float:
        """`coco.AP`: mean AP over IoU 0.50, 0.55 .. 0.95, by COCO."""
        return self.metrics["coco"]["AP"]

    @property
    def coco(self) -> dict[str, float]:
        """The twelve numbers of COCO: AP, AP50, AP75, APs .. ARl."""
        return self.metrics["coco"]

    @property
    def per_class(self) -> dict[str, dict]:
        """Class name to its numbers: `voc_ap50`, `coco_AP`, `objects`, `threshold` ..."""
        return self.metrics["per_class"]

    def __str__(self) -> str:
        return f"{text.numbers(self.metrics)}\n{text.class_lines(self.metrics)}"

    __repr__ = __str__


def measure(
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    level_anchors: Sequence[np.ndarray] = (),
    image_size: tuple[int, int] = (1, 1),
    resize: str = HALF_PIXEL,
    worst: int = 12,
) -> Evaluation:
    """Measures everything that `report` shows.

    Args:
        ground_truth, detections, classes: as in `evaluation.evaluate`.
        level_anchors: normalised default boxes of each level, where there is a model.
        image_size, resize: what they belong to, see `analysis.recall_by_level`.
        worst: how many of the worst images to name.
    """
    table = tabulate(ground_truth, detections, classes)
    points = analysis.working_points(table)
    limits = analysis.thresholds(table, points)
    errors = table_errors(table)
    by_size, by_level = _recalls(table, limits, level_anchors, image_size, resize)
    metrics = _with_points(evaluate_table(table), points)
    metrics["errors"] = _error_numbers(table, errors, limits)
    metrics["recall_by_size"] = by_size
    if by_level:
        metrics["recall_by_level"] = by_level
    return Evaluation(
        metrics=metrics,
        errors=errors,
        curves=table_ap(table)["curves"],
        threshold_curves=analysis.threshold_curves(table),
        thresholds=limits,
        confusion=analysis.confusion_matrix(table, limits),
        by_size=by_size,
        by_level=by_level,
        worst=analysis.worst_images(table, limits, worst),
    )


def _recalls(
    table: Table,
    limits: np.ndarray,
    level_anchors: Sequence,
    image_size: tuple[int, int],
    resize: str,
) -> tuple[dict, dict]:
    """Recall by size and by level, of all detections and of those a user would see."""
    found = {
        "all detections": analysis.objects_found(table),
        "at best F1": analysis.objects_found(table, limits),
    }
    by_size = {name: analysis.recall_by_size(table, f) for name, f in found.items()}
    if not level_anchors:
        return by_size, {}
    levels = (level_anchors, image_size, resize)
    by_level = {name: analysis.recall_by_level(table, f, *levels) for name, f in found.items()}
    return by_size, by_level


def _with_points(metrics: dict, points: dict) -> dict:
    """The metrics with the working point of each class."""
    for name, point in points.items():
        metrics["per_class"][name] |= {
            "threshold": point.threshold,
            "best_f1": point.f1,
            "precision": point.precision,
            "recall": point.recall,
        }
    return metrics


def _error_numbers(table: Table, errors: Errors, limits: np.ndarray) -> dict:
    return {
        "counts": errors.counts,
        "counts_at_best_f1": _counts_at(table, errors, limits),
        "cost": errors.cost,
        "alone": errors.alone,
    }


def json_ready(value):
    """The same nested dictionaries and lists with None for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): json_ready(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _counts_at(table: Table, errors: Errors, limits: np.ndarray) -> dict[str, int]:
    """Errors that a user sees who shows detections from the best-F1 thresholds up."""
    keep = table.score >= limits[table.label]
    counts = {name: int(((errors.kind == i) & keep).sum()) for i, name in enumerate(KINDS)}
    found = analysis.objects_found(table, limits)
    counts["missed"] = int((~found & ~table.object_ignored).sum())
    return counts
