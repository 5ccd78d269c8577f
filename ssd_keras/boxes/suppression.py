"""From scored boxes to detections: score threshold, non-maximum suppression, best of all."""

import dataclasses
import math
import numbers

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.boxes.xla import run_with_xla
from ssd_keras.errors import UserError, unknown

# Candidates of an image that are looked at together; most images need no more.
_CHUNK = 512
# A model file can ask for more than any memory holds.
MAX_SLOTS = 1 << 20
# What of the rule users choose, by these names everywhere.
SETTINGS = ("score_threshold", "iou_threshold", "max_detections", "class_agnostic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suppression:
    """The rule by which scored boxes become detections; a detector carries one.

    Attributes:
        score_threshold: only larger scores count.
        iou_threshold: a box is suppressed by a better one of its class with a larger IoU.
        max_detections: detections per image.
        class_agnostic: suppress among the boxes of all classes, each with its best class.
        max_per_class: boxes per class that enter suppression.

    Raises:
        UserError: a value that makes no sense.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.45
    max_detections: int = 200
    class_agnostic: bool = False
    max_per_class: int = 400

    def __post_init__(self):
        for name, below in (("score_threshold", 1.0), ("iou_threshold", math.nextafter(1, 2))):
            value = getattr(self, name)
            if not (isinstance(value, numbers.Real) and 0.0 <= value < below):
                raise UserError(f"{name} must be in 0..1, got {value}.")
            object.__setattr__(self, name, float(value))
        for name in ("max_detections", "max_per_class"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise UserError(f"{name} must be at least 1, a whole number, got {value}.")
            if value > MAX_SLOTS:
                raise UserError(f"{name} must be at most {MAX_SLOTS:,}, got {value}.")
            object.__setattr__(self, name, int(value))
        object.__setattr__(self, "class_agnostic", bool(self.class_agnostic))

    def replace(self, **given) -> "Suppression":
        """The same rule with other values; None keeps one as it is.

        Raises:
            UserError: there is no such setting, or its value makes no sense.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in given:
            if name not in known:
                raise unknown("setting of suppression", name, known)
        return dataclasses.replace(self, **{k: v for k, v in given.items() if v is not None})

    def as_dict(self) -> dict:
        """The values by their names; what `suppress` takes."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return (
            f"score > {self.score_threshold:g}, IoU {self.iou_threshold:g} "
            f"{'among all classes' if self.class_agnostic else 'within a class'}, "
            f"at most {self.max_detections} an image"
        )


def suppress(
    boxes,
    scores,
    *,
    iou_threshold=0.45,
    score_threshold=0.01,
    max_per_class=400,
    max_detections=200,
    class_agnostic=False,
    xla=True,
):
    """Detections of each image by SSD's rule, batched, with static shapes.

    Per class the best `max_per_class` boxes above the score threshold enter non-maximum
    suppression; the best `max_detections` survivors of all classes are returned. Equal scores:
    lowest class first, then lowest box.

    Args:
        boxes: corners `[B, A, 4]`, unclipped.
        scores: `[B, A, C]` without background.
        iou_threshold: a box is suppressed by a better one of its class with a larger IoU.
        score_threshold: only larger scores count.
        max_per_class: boxes per class that enter suppression.
        max_detections: detections per image, D.
        class_agnostic: suppress among the boxes of all classes, each with its best class.
        xla: under TensorFlow, compile with XLA, once for every shape. False gives plain TensorFlow
            operations, as a model needs that runs where XLA may be missing.

    Returns:
        dict of `boxes` float32 [B, D, 4] clipped to the image, `scores` float32 [B, D]
        (descending), `labels` int32 [B, D] and `count` int32 [B]. Empty slots: box 0, score 0,
        label -1.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    scores = ops.cast(ops.convert_to_tensor(scores), "float32")
    options = {
        "iou_threshold": float(iou_threshold),
        "score_threshold": float(score_threshold),
        "max_per_class": int(max_per_class),
        "max_detections": int(max_detections),
        "class_agnostic": bool(class_agnostic),
    }
    if xla:
        return run_with_xla(suppress_arrays, [boxes, scores], **options)
    return suppress_arrays(boxes, scores, **options)


def suppress_arrays(
    boxes,
    scores,
    *,
    iou_threshold,
    score_threshold,
    max_per_class,
    max_detections,
    class_agnostic,
):
    """The computation of `suppress`, on float32 tensors."""
    labels = None
    if class_agnostic:
        labels = ops.cast(ops.argmax(scores, axis=-1), "int32")
        scores = ops.max(scores, axis=-1, keepdims=True)
    score, anchor, label = _best_survivors(
        _Scene(boxes, scores, iou_threshold, score_threshold, max_per_class, max_detections)
    )
    found = score > 0
    if labels is not None:
        label = _rows(labels, anchor)
    return {
        "boxes": ops.where(found[:, :, None], geometry.clip(_rows(boxes, anchor)), 0.0),
        "scores": score,
        "labels": ops.where(found, label, -1),
        "count": ops.sum(ops.cast(found, "int32"), axis=1),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class _Scene:
    """The boxes `[B, A, 4]` and scores `[B, A, C]` of a batch, and the rule for them."""

    boxes: object
    scores: object
    iou_threshold: float
    score_threshold: float
    max_per_class: int
    max_detections: int

    def usable(self, rows=None):
        """Scores of all boxes or of `rows` `[B, N]`, 0 where a box is no candidate."""
        scores, finite = self.scores, ops.all(ops.isfinite(self.boxes), axis=-1, keepdims=True)
        if rows is not None:
            scores, finite = _rows(scores, rows), _rows(finite, rows)
        usable = ops.logical_and(scores > max(self.score_threshold, 0.0), finite)
        return ops.where(usable, scores, 0.0)


def _best_survivors(scene: _Scene):
    """Non-maximum suppression in chunks of the best candidates, whatever their class.

    Who is suppressed depends on better candidates only, so the candidates of an image can be
    settled from the best down, `_CHUNK` at a time, until its slots are filled or none is left.

    Returns:
        `(score, anchor, label)`, each `[B, max_detections]`, descending, score 0 in empty slots.
    """
    anchors, classes = scene.scores.shape[1:]
    size = min(_CHUNK, anchors * classes)
    state = _settle_chunk(scene, scene.usable, size)
    if size == anchors * classes:
        return state[0]

    def body(kept, seen, last, more):
        def left(rows):
            return _left_behind(scene, rows, seen, last, more)

        return _settle_chunk(scene, left, size, kept, seen)

    return ops.while_loop(lambda kept, seen, last, more: ops.any(more), body, state)[0]


def _settle_chunk(scene: _Scene, scores_left, size: int, kept=None, seen=None):
    """Settles the next candidates.

    Args:
        scene: the batch.
        scores_left: from rows (indices `[B, N]` or None for all) to the scores that are left.
        size: how many are looked at.
        kept: score, anchor and label `[B, D]` so far, None for the first chunk.
        seen: candidates `[B, C]` of each class before these, None for the first chunk.

    Returns:
        `(score, anchor, label)` with the new ones, those seen, the order of the last candidate
        `(score, label, anchor)` `[B]`, and which images need more `[B]`.
    """
    anchors, classes = scene.scores.shape[1:]
    score, anchor, label = _best(scores_left, anchors, classes, size)
    candidate = _rows(scene.boxes, anchor)
    ids = ops.arange(size, dtype="int32")
    same = label[:, :, None] == label[:, None, :]
    before = ops.logical_and(ids[:, None] < ids[None, :], same)
    valid = score > 0
    labels = ops.arange(classes, dtype="int32")
    member = ops.logical_and(label[:, :, None] == labels, valid[:, :, None])
    count = ops.sum(ops.cast(member, "int32"), axis=1)
    if (size if seen is None else anchors) > scene.max_per_class:
        rank = ops.sum(ops.cast(before, "int32"), axis=1)
        if seen is not None:
            rank = rank + _rows(seen, label)
        valid = ops.logical_and(valid, rank < scene.max_per_class)
    if kept is not None:
        valid = ops.logical_and(
            valid, ops.logical_not(_find_suppressed(scene, kept, candidate, label))
        )
    overlaps = geometry.iou(candidate, candidate) > scene.iou_threshold
    survives = _settle(valid, ops.logical_and(before, overlaps))
    survivors = ops.where(survives, score, 0.0), anchor, label
    kept = _best_of_both(kept, survivors, scene.max_detections)
    least = ops.min(score, axis=1)
    more = ops.logical_and(least > 0, ops.min(kept[0], axis=1) <= 0)
    last = least, _last(label), _last(anchor)
    return kept, count if seen is None else seen + count, last, more


def _find_suppressed(scene: _Scene, kept, candidate, label):
    """Which candidates `[B, N]` are suppressed by those that are kept already."""
    kept_score, kept_anchor, kept_label = kept
    overlaps = geometry.iou(_rows(scene.boxes, kept_anchor), candidate) > scene.iou_threshold
    rival = ops.logical_and(
        kept_label[:, :, None] == label[:, None, :], (kept_score > 0)[:, :, None]
    )
    return ops.any(ops.logical_and(rival, overlaps), axis=1)


def _best_of_both(kept, survivors, max_detections: int):
    """The best of what is kept (or None) and new, each `(score, anchor, label)`; `[B, D]`."""
    if kept is not None:
        survivors = tuple(
            ops.concatenate(pair, axis=1) for pair in zip(kept, survivors, strict=True)
        )
    score, anchor, label = survivors
    slots = min(max_detections, score.shape[1])
    score, order = ops.top_k(score, slots)
    order = ops.cast(order, "int32")
    best = score, _rows(anchor, order), _rows(label, order)
    return tuple(ops.pad(x, [[0, 0], [0, max_detections - slots]]) for x in best)


def _left_behind(scene: _Scene, rows, seen, last, more):
    """Scores of the boxes at `rows`, 0 for candidates up to the last that was looked at."""
    anchors, classes = scene.scores.shape[1:]
    if rows is None:
        shape = (ops.shape(scene.scores)[0], anchors)
        anchor = ops.broadcast_to(ops.arange(anchors, dtype="int32")[None], shape)
    else:
        anchor = rows
    values, anchor = scene.usable(rows), anchor[:, :, None]
    labels = ops.arange(classes, dtype="int32")
    last_score, last_label, last_anchor = (x[:, None, None] for x in last)
    later = ops.logical_or(
        labels > last_label, ops.logical_and(labels == last_label, anchor > last_anchor)
    )
    behind = ops.logical_or(values < last_score, ops.logical_and(values == last_score, later))
    room = ops.logical_and(seen < scene.max_per_class, more[:, None])[:, None, :]
    return ops.where(ops.logical_and(behind, room), values, 0.0)


def _best(scores_left, anchors, classes, size):
    """The best `size` candidates; equal scores: lowest class, then lowest default box.

    The best of all default boxes stand on the best `size` default boxes, each of which is ranked
    by its best candidate, so that only those need to be searched.

    Args:
        scores_left: from rows (indices `[B, N]` or None for all) to scores `[B, N, C]`.

    Returns:
        `(score, anchor, label)`, each `[B, size]`, descending.
    """
    rows = None
    values = scores_left(None)
    if anchors > size:
        top = ops.max(values, axis=2)
        best, rows = ops.top_k(top, size)
        least = ops.min(best, axis=1, keepdims=True)
        tied = ops.sum(ops.cast(top == least, "int32"), axis=1, keepdims=True)
        taken = ops.sum(ops.cast(best == least, "int32"), axis=1, keepdims=True)
        ambiguous = ops.any(ops.logical_and(least > 0, tied > taken))
        rows = ops.cond(
            ambiguous,
            lambda: _lowest_labels_first(values, top, least, size),
            lambda: ops.cast(rows, "int32"),
        )
        # Ascending; float32 holds the indices exactly, and its top_k is the fast one.
        rows = ops.cast(-ops.top_k(-ops.cast(rows, "float32"), size)[0], "int32")
        values = scores_left(rows)
    count = values.shape[1]
    flat = ops.reshape(ops.swapaxes(values, 1, 2), (-1, classes * count))
    score, at = ops.top_k(flat, size)
    at = ops.cast(at, "int32")
    label, anchor = at // count, at % count
    return score, anchor if rows is None else _rows(rows, anchor), label


def _lowest_labels_first(values, top, least, size):
    """The `size` default boxes with the best candidates where many equal the last of them.

    Args:
        values: scores `[B, A, C]`.
        top: the largest of each default box `[B, A]`.
        least: the `size`-th largest of those `[B, 1]`.

    Returns:
        int32 `[B, size]`, unordered: all that are better than `least`, and of its equals those of
        the lowest class.
    """
    classes = values.shape[2]
    labels = ops.arange(classes, dtype="int32")
    first = ops.min(ops.where(values == least[:, :, None], labels, classes), axis=2)
    order = ops.where(top == least, classes - first, 0)
    order = ops.where(top > least, classes + 1, order)
    return ops.cast(ops.top_k(ops.cast(order, "float32"), size)[1], "int32")


def _settle(valid, before):
    """Which of the ranked candidates `[B, N]` survive each other.

    Args:
        valid: bool `[B, N]`, the candidates that compete.
        before: bool `[B, N, N]`, whether the first would suppress the second.
    """

    # Every round settles at least the next candidate that depends on others; few are needed.
    def body(kept, changed):
        beaten = ops.any(ops.logical_and(kept[:, :, None], before), axis=1)
        new = ops.logical_and(valid, ops.logical_not(beaten))
        return new, ops.any(new != kept)

    return ops.while_loop(lambda kept, changed: changed, body, (valid, ops.any(valid)))[0]


def _last(x):
    """Last column of int32 `[B, N]`, by a sum: XLA sorts the whole array for a slice of a top_k."""
    ids = ops.arange(x.shape[1], dtype="int32")
    return ops.sum(ops.where(ids == x.shape[1] - 1, x, 0), axis=1)


def _rows(table, index):
    """`table[b, index[b, n]]`: `[B, A, ...]` and int32 `[B, N]` -> `[B, N, ...]`."""
    size = table.shape[1]
    flat = ops.reshape(table, (-1, *table.shape[2:]))
    return ops.take(
        flat, index + ops.arange(ops.shape(index)[0], dtype="int32")[:, None] * size, axis=0
    )
