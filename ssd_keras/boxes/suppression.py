"""From scored boxes to detections: score threshold, non-maximum suppression, best of all."""

import dataclasses
import math
import numbers

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.boxes.compilation import compiled
from ssd_keras.errors import UserError, unknown

# Candidates of an image that are looked at together; most images need no more.
_CHUNK = 512
# A model file can ask for more than any memory holds.
MAX_SLOTS = 1 << 20


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

    def changed(self, **given) -> "Suppression":
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
    soft_sigma=None,
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
        soft_sigma: if given, scores of overlapped boxes decay by exp(-IoU^2 / soft_sigma)
            (Gaussian Soft-NMS, arXiv 1704.04503) instead of being dropped.
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
        "soft_sigma": None if soft_sigma is None else float(soft_sigma),
    }
    if xla:
        return compiled(suppressed, [boxes, scores], **options)
    return suppressed(boxes, scores, **options)


def suppressed(
    boxes,
    scores,
    *,
    iou_threshold,
    score_threshold,
    max_per_class,
    max_detections,
    class_agnostic,
    soft_sigma,
):
    """The computation of `suppress`, on float32 tensors."""
    labels = None
    if class_agnostic:
        labels = ops.cast(ops.argmax(scores, axis=-1), "int32")
        scores = ops.max(scores, axis=-1, keepdims=True)
    finite = ops.all(ops.isfinite(boxes), axis=-1, keepdims=True)

    def candidates(scores, finite):
        usable = ops.logical_and(scores > max(score_threshold, 0.0), finite)
        return ops.where(usable, scores, 0.0)

    if soft_sigma is None:
        score, anchor, label = _hard(
            boxes, scores, finite, candidates, iou_threshold, max_per_class, max_detections
        )
    else:
        score, anchor, label = _soft(
            boxes,
            candidates(scores, finite),
            soft_sigma,
            score_threshold,
            max_per_class,
            max_detections,
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


def _hard(boxes, scores, finite, candidates, iou_threshold, max_per_class, max_detections):
    """Non-maximum suppression in chunks of the best candidates, whatever their class.

    Who is suppressed depends on better candidates only, so the candidates of an image can be
    settled from the best down, `_CHUNK` at a time, until its slots are filled or none is left.

    Args:
        boxes: `[B, A, 4]`.
        scores: `[B, A, C]`.
        finite: bool `[B, A, 1]`.
        candidates: from any rows of `scores` and `finite` to scores with 0 for no candidates.

    Returns:
        `(score, anchor, label)`, each `[B, max_detections]`, descending, score 0 in empty slots.
    """
    batch = ops.shape(scores)[0]
    anchors, classes = scores.shape[1:]
    size = min(_CHUNK, anchors * classes)
    ids = ops.arange(size, dtype="int32")
    earlier = ids[:, None] < ids[None, :]
    labels = ops.arange(classes, dtype="int32")

    def chunk(scores_left, seen, kept):
        """Settles the next candidates.

        Args:
            scores_left: from rows (indices `[B, N]` or None for all) to the scores that are left.
            seen: candidates `[B, C]` of each class before these, None for the first chunk.
            kept: score, anchor and label `[B, D]` so far, None for the first chunk.

        Returns:
            `(score, anchor, label)` with the new ones, those seen, the order of the last
            candidate `(score, label, anchor)` `[B]`, and which images need more `[B]`.
        """
        score, anchor, label = _best(scores_left, anchors, classes, size)
        candidate = _rows(boxes, anchor)
        same = label[:, :, None] == label[:, None, :]
        before = ops.logical_and(earlier, same)
        valid = score > 0
        member = ops.logical_and(label[:, :, None] == labels, valid[:, :, None])
        count = ops.sum(ops.cast(member, "int32"), axis=1)
        limited = size > max_per_class if seen is None else anchors > max_per_class
        if limited:
            rank = ops.sum(ops.cast(before, "int32"), axis=1)
            if seen is not None:
                rank = rank + _rows(seen, label)
            valid = ops.logical_and(valid, rank < max_per_class)
        if kept is not None:
            kept_score, kept_anchor, kept_label = kept
            overlaps = geometry.iou(_rows(boxes, kept_anchor), candidate) > iou_threshold
            rival = ops.logical_and(
                kept_label[:, :, None] == label[:, None, :], (kept_score > 0)[:, :, None]
            )
            beaten = ops.any(ops.logical_and(rival, overlaps), axis=1)
            valid = ops.logical_and(valid, ops.logical_not(beaten))
        overlaps = geometry.iou(candidate, candidate) > iou_threshold
        survives = _settle(valid, ops.logical_and(before, overlaps))

        state = ops.where(survives, score, 0.0), anchor, label
        if kept is not None:
            state = tuple(ops.concatenate(pair, axis=1) for pair in zip(kept, state, strict=True))
        slots = min(max_detections, state[0].shape[1])
        kept_score, order = ops.top_k(state[0], slots)
        order = ops.cast(order, "int32")
        kept = kept_score, _rows(state[1], order), _rows(state[2], order)
        kept = tuple(ops.pad(x, [[0, 0], [0, max_detections - slots]]) for x in kept)
        least = ops.min(score, axis=1)
        more = ops.logical_and(least > 0, ops.min(kept[0], axis=1) <= 0)
        last = least, _last(label), _last(anchor)
        return kept, count if seen is None else seen + count, last, more

    def all_left(rows):
        if rows is None:
            return candidates(scores, finite)
        return candidates(_rows(scores, rows), _rows(finite, rows))

    kept, seen, last, more = chunk(all_left, None, None)
    if size == anchors * classes:
        return kept
    anchor_ids = ops.broadcast_to(ops.arange(anchors, dtype="int32")[None], (batch, anchors))

    def body(kept, seen, last, more):
        last_score, last_label, last_anchor = (x[:, None, None] for x in last)
        room = ops.logical_and(seen < max_per_class, more[:, None])[:, None, :]

        def left(rows):
            values = all_left(rows)
            anchor = (anchor_ids if rows is None else rows)[:, :, None]
            later = ops.logical_or(
                labels > last_label, ops.logical_and(labels == last_label, anchor > last_anchor)
            )
            behind = ops.logical_or(
                values < last_score, ops.logical_and(values == last_score, later)
            )
            return ops.where(ops.logical_and(behind, room), values, 0.0)

        return chunk(left, seen, kept)

    return ops.while_loop(
        lambda kept, seen, last, more: ops.any(more), body, (kept, seen, last, more)
    )[0]


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


def _soft(boxes, scores, sigma, score_threshold, max_per_class, max_detections):
    """Gaussian Soft-NMS of the best `max_per_class` of each class.

    Args:
        boxes: `[B, A, 4]`.
        scores: `[B, A, C]`, 0 where a box is no candidate.

    Returns:
        `(score, anchor, label)` as `_hard`.
    """
    batch, (anchors, classes) = ops.shape(boxes)[0], scores.shape[1:]
    top = min(max_per_class, anchors)
    best, index = ops.top_k(ops.swapaxes(scores, 1, 2), top)
    flat = ops.reshape(ops.cast(index, "int32"), (-1, classes * top))
    per_class = ops.reshape(_rows(boxes, flat), (batch, classes, top, 4))
    decayed = _decay(per_class, best, sigma, score_threshold)
    slots = min(max_detections, classes * top)
    score, rank = ops.top_k(ops.reshape(decayed, (-1, classes * top)), slots)
    rank = ops.cast(rank, "int32")
    found = score, _rows(flat, rank), rank // top
    return tuple(ops.pad(x, [[0, 0], [0, max_detections - slots]]) for x in found)


def _decay(boxes, scores, sigma, score_threshold):
    """Scores `[B, C, K]` after Gaussian Soft-NMS; 0 where they fell under the threshold."""
    count = boxes.shape[2]
    ids = ops.arange(count, dtype="int32")

    def body(i, scores, done):
        pick = ops.argmax(ops.where(done, -math.inf, scores), axis=2)[:, :, None]
        chosen = ids == ops.cast(pick, "int32")
        box = ops.take_along_axis(boxes, pick[..., None], axis=2)
        done = ops.logical_or(done, chosen)
        overlap = geometry.iou_aligned(box, boxes)
        decay = ops.where(done, 1.0, ops.exp(-overlap * overlap / sigma))
        scores = scores * decay
        return i + 1, ops.where(scores > score_threshold, scores, 0.0), done

    most = ops.max(ops.sum(ops.cast(scores > 0, "int32"), axis=2))
    start = ops.convert_to_tensor(0, "int32")
    done = ops.zeros_like(scores, dtype="bool")
    return ops.while_loop(lambda i, scores, done: i < most, body, (start, scores, done))[1]
