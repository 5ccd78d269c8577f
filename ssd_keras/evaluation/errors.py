"""What a detector does wrong, and what each kind of error costs in mAP."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ssd_keras.evaluation.tables import Table, tabulate
from ssd_keras.evaluation.voc import ap_of_hits, table_hits

KINDS = ("duplicate", "wrong place", "wrong class", "background", "missed")
MEANING = {
    "duplicate": "a second box on an object that a better one has found",
    "wrong place": "right class, but the box overlaps its object too little",
    "wrong class": "the box lies on an object of another class",
    "background": "nothing of that class there, and no other object under the box",
    "missed": "an object that no box found, not even in the wrong place or as the wrong class",
}
_HIT, _IGNORED = -1, -2


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
    """The errors of a detector.

    Attributes:
        map: VOC all-point mAP.
        counts: kind to number of detections (for "missed": of objects).
        cost: kind to what it costs in mAP if the kinds are put right one after the other in the
            order of `KINDS`. Never negative; their sum is 1 - `map`.
        alone: kind to what mAP would gain if only this kind were put right. These don't add up:
            an object behind two errors is won by either or by neither.
        kind: int `[D]`, index into `KINDS` of each detection, or negative: a hit, or one that
            doesn't count.
        missed: bool `[G]`, the objects counted as "missed".
    """

    map: float
    counts: dict[str, int]
    cost: dict[str, float]
    alone: dict[str, float]
    kind: np.ndarray
    missed: np.ndarray


def error_analysis(
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    iou_threshold: float = 0.5,
    background_iou: float = 0.1,
) -> Errors:
    """Sorts every false detection and every miss into `KINDS` and prices them.

    A false detection is a duplicate if it lies on an object of its class that has its hit; else of
    the wrong class if it overlaps an object of another class by `iou_threshold` or more; else in
    the wrong place if it overlaps one of its own class by `background_iou` or more; else it is
    background. Hits and ignored detections are those of `voc_ap`.

    Putting right means: a duplicate and a background detection are taken away; one in the wrong
    place or of the wrong class becomes the hit of the object it belongs to, with its score, and is
    taken away if that object has a hit already or doesn't count; a missed object is found. After
    all five nothing is wrong and mAP is 1, so the steps' gains add up to 1 - mAP exactly. The
    kinds are those of TIDE (arXiv 2008.08115), whose gains, like `alone`, don't add up.

    Args:
        ground_truth, detections, classes: as in `voc_ap`.
        iou_threshold: least overlap of a hit.
        background_iou: least overlap that still belongs to an object.
    """
    return table_errors(tabulate(ground_truth, detections, classes), iou_threshold, background_iou)


def table_errors(table: Table, iou_threshold: float = 0.5, background_iou: float = 0.1) -> Errors:
    """`error_analysis` of a `Table`."""
    hits, counted = table_hits(table, iou_threshold)
    kind = _kinds(table, hits, counted, iou_threshold, background_iou)
    state = _State(table, hits, counted)
    start = state.map()
    alone = {}
    for index, name in enumerate(KINDS):
        fixed = _State(table, hits, counted)
        fixed.put_right(index, kind)
        alone[name] = fixed.map() - start
    cost, before = {}, start
    missed = np.zeros(len(table.object_label), bool)
    for index, name in enumerate(KINDS):
        if name == "missed":
            missed = ~state.found & ~table.object_ignored
        state.put_right(index, kind)
        after = state.map()
        cost[name], before = after - before, after
    counts = {name: int((kind == index).sum()) for index, name in enumerate(KINDS)}
    counts["missed"] = int(missed.sum())
    return Errors(start, counts, cost, alone, kind, missed)


def _kinds(table: Table, hits, counted, iou_threshold: float, background_iou: float) -> np.ndarray:
    best = table.best
    on_own = best["own_iou"] >= iou_threshold
    on_other = best["other_iou"] >= iou_threshold
    near_own = best["own_iou"] >= background_iou
    names = np.select(
        [~counted, hits, on_own, on_other, near_own],
        [_IGNORED, _HIT, KINDS.index("duplicate"), KINDS.index("wrong class"),
         KINDS.index("wrong place")],
        KINDS.index("background"),
    )  # fmt: skip
    return names.astype(np.int64)


class _State:
    """Detections and objects while errors are put right."""

    def __init__(self, table: Table, hits: np.ndarray, counted: np.ndarray):
        self.table = table
        self.hits, self.counted = hits.copy(), counted.copy()
        self.label = table.label.copy()
        self.found = np.zeros(len(table.object_label), bool)
        self.found[table.best["own"][hits]] = True
        self.added = np.zeros(len(table.object_label), bool)

    def put_right(self, index: int, kind: np.ndarray) -> None:
        name = KINDS[index]
        if name == "missed":
            self.added |= ~self.found & ~self.table.object_ignored
            self.found |= self.added
            return
        wrong = np.flatnonzero(kind == index)
        wrong = wrong[np.argsort(-self.table.score[wrong], kind="stable")]
        self.counted[wrong] = False
        if name not in ("wrong place", "wrong class"):
            return
        target = self.table.best["own" if name == "wrong place" else "other"][wrong]
        useful = ~self.found[target] & ~self.table.object_ignored[target]
        wrong, target = wrong[useful], target[useful]
        target, first = np.unique(target, return_index=True)
        moved = wrong[first]
        self.counted[moved] = self.hits[moved] = True
        self.label[moved] = self.table.object_label[target]
        self.found[target] = True

    def map(self) -> float:
        added = np.flatnonzero(self.added)
        # A found object has the highest score there is; its own place among hits is no matter.
        table = dataclasses.replace(
            self.table,
            image=np.concatenate([self.table.image, self.table.object_image[added]]),
            label=np.concatenate([self.label, self.table.object_label[added]]),
            score=np.concatenate([self.table.score, np.full(len(added), np.inf)]),
            box=np.concatenate([self.table.box, self.table.object_box[added]]),
        )
        sure = np.ones(len(added), bool)
        hits = np.concatenate([self.hits, sure])
        return ap_of_hits(table, hits, np.concatenate([self.counted, sure]))["map"]
