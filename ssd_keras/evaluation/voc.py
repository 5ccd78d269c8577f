"""Average precision by the rules of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssd_keras.evaluation.tables import Table, tabulate

METHODS = ("all_point", "11_point")


def voc_ap(
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    iou_threshold: float = 0.5,
    method: str = "all_point",
) -> dict:
    """Mean average precision of VOC (devkit `VOCevaldet.m`).

    Boxes include their last pixel (one is added to widths and heights). Detections of a class are
    taken by falling score; equal scores in the order of the images, then in the order within
    `Detections`. A detection belongs to the object of its class that it overlaps most: a hit if
    that overlap is at least `iou_threshold` and the object has no hit yet, false if it has one or
    the overlap is less, and neither if the object is difficult. Nor is false what lies in a crowd
    region of its class, by a share of its own area of at least `iou_threshold`.

    Args:
        ground_truth: one record per image (see `tables.tabulate`).
        detections: `Detections` of the same images in the same order.
        classes: class names.
        iou_threshold: least overlap of a hit.
        method: "all_point" (VOC 2010 and later: the area under the curve of precision made
            monotonic) or "11_point" (VOC 2007: mean of the best precision at recall 0, 0.1 .. 1).

    Returns:
        `map`: mean over the classes that have ground truth (nan if none has), `per_class`: name to
        AP (nan without ground truth), `curves`: name to `recall`, `precision`, `score` `[D_c]` of
        the classes that have ground truth.
    """
    return table_ap(tabulate(ground_truth, detections, classes), iou_threshold, method)


def table_ap(table: Table, iou_threshold: float = 0.5, method: str = "all_point") -> dict:
    """`voc_ap` of a `Table`."""
    hits, counted = table_hits(table, iou_threshold)
    return ap_of_hits(table, hits, counted, method)


def table_hits(table: Table, iou_threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Which detections hit an object, and which count at all.

    Returns:
        `hits` bool `[D]`, `counted` bool `[D]` (False: on a difficult object or in a crowd region).
    """
    best = table.best
    near = (best["own"] >= 0) & (best["own_iou"] >= iou_threshold)
    counted = np.ones(len(near), bool)
    counted[near] = ~table.object_ignored[best["own"][near]]
    hits = np.zeros(len(near), bool)
    candidates = by_score(table.score, np.flatnonzero(near & counted))
    # np.unique gives the first place of each object in the order of the scores.
    _, first = np.unique(best["own"][candidates], return_index=True)
    hits[candidates[first]] = True
    # As pycocotools has it: most of the detection lies in the region, whatever it leaves of it.
    return hits, counted & (hits | (best["in_crowd"] < iou_threshold))


def by_score(scores: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`index` in order of falling score, equal scores in the order they come."""
    return index[np.argsort(-scores[index], kind="stable")]


def of_classes(labels: np.ndarray, count: int, scores: np.ndarray | None = None) -> list:
    """For each of `count` classes where it stands in `labels`; with scores, by falling score."""
    keys = (labels,) if scores is None else (-scores, labels)
    order = np.lexsort(keys)
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def ap_of_hits(
    table: Table, hits: np.ndarray, counted: np.ndarray, method: str = "all_point"
) -> dict:
    """Average precision per class from what each detection turned out to be."""
    if method not in METHODS:
        raise ValueError(f"Unknown method '{method}': it is one of {', '.join(METHODS)}.")
    objects = table.objects_per_class()
    per_class, curves = {}, {}
    found = counted_of_classes(table, counted)
    for label, name in enumerate(table.classes):
        if not objects[label]:
            per_class[name] = float("nan")
            continue
        index = found[label]
        recall, precision = curve(hits[index], int(objects[label]))
        per_class[name] = average_precision(recall, precision, method)
        curves[name] = {"recall": recall, "precision": precision, "score": table.score[index]}
    return {"map": mean(per_class.values()), "per_class": per_class, "curves": curves}


def counted_of_classes(table: Table, counted: np.ndarray) -> list[np.ndarray]:
    """For each class its detections that count, by falling score as of `by_score`."""
    index = np.flatnonzero(counted)
    parts = of_classes(table.label[index], len(table.classes), table.score[index])
    return [index[part] for part in parts]


def curve(hits: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection of a class that has `objects` (> 0)."""
    true = np.cumsum(hits)
    return true / objects, true / np.arange(1, len(hits) + 1)


def average_precision(recall: np.ndarray, precision: np.ndarray, method: str) -> float:
    """One number for one curve of a class that has objects; 0 without detections."""
    if method == "11_point":
        # 0.1 * 3 is a little more than 0.3, here as in the ports of the devkit: a recall of
        # exactly 3/10 does not reach the fourth point. Kept, because published numbers have it.
        best = [precision[recall >= point].max(initial=0.0) for point in np.arange(0, 1.1, 0.1)]
        return float(np.mean(best))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def mean(values) -> float:
    """Mean of what is not nan; nan if nothing is left."""
    values = np.array([v for v in values if not np.isnan(v)])
    return float(values.mean()) if len(values) else float("nan")
