"""From scored boxes to detections: score threshold, non-maximum suppression, best of all."""

import math

from keras import ops

from ssd_keras.boxes import geometry

# Candidates of an image that suppression looks at first; it rarely needs more.
_PREFIX = 512


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

    Returns:
        dict of `boxes` float32 [B, D, 4] clipped to the image, `scores` float32 [B, D]
        (descending), `labels` int32 [B, D] and `count` int32 [B]. Empty slots: box 0, score 0,
        label -1.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    scores = ops.cast(ops.convert_to_tensor(scores), "float32")
    labels = None
    if class_agnostic:
        labels = ops.cast(ops.argmax(scores, axis=-1), "int32")
        scores = ops.max(scores, axis=-1, keepdims=True)
    usable = ops.logical_and(
        scores > score_threshold, ops.all(ops.isfinite(boxes), axis=-1, keepdims=True)
    )
    scores = ops.swapaxes(ops.where(usable, scores, 0.0), 1, 2)

    def every_class():
        return _all_candidates(
            boxes, scores, iou_threshold, score_threshold, max_per_class, max_detections, soft_sigma
        )

    if soft_sigma is not None:
        score, anchor, label = every_class()
    else:
        score, anchor, label, complete = _best_candidates(
            boxes, scores, iou_threshold, max_per_class, max_detections
        )
        score, anchor, label = ops.cond(complete, lambda: (score, anchor, label), every_class)
    found = score > 0
    if labels is not None:
        label = ops.take_along_axis(labels, anchor, axis=1)
    box = geometry.clip(ops.take_along_axis(boxes, anchor[:, :, None], axis=1))
    return {
        "boxes": ops.where(found[:, :, None], box, 0.0),
        "scores": score,
        "labels": ops.where(found, label, -1),
        "count": ops.sum(ops.cast(found, "int32"), axis=1),
    }


def _best_candidates(boxes, scores, iou_threshold, max_per_class, max_detections):
    """Suppression among the best `_PREFIX` candidates of each image, whatever their class.

    Who is suppressed depends on better candidates only, so the survivors of a prefix are those of
    the whole list. The result is the answer if it fills the image's slots or if no candidate was
    left out.

    Args:
        boxes: `[B, A, 4]`.
        scores: `[B, C, A]`, 0 where a box is no candidate.

    Returns:
        `(score, anchor, label, complete)`: three arrays `[B, max_detections]`, descending, score 0
        in empty slots, and whether they are the answer for every image (scalar bool).
    """
    classes, anchors = scores.shape[1], scores.shape[2]
    size = min(_PREFIX, classes * anchors)
    score, rank = ops.top_k(ops.reshape(scores, (-1, classes * anchors)), size)
    rank = ops.cast(rank, "int32")
    label, anchor = rank // anchors, rank % anchors
    candidate = ops.take_along_axis(boxes, anchor[:, :, None], axis=1)

    ids = ops.arange(size, dtype="int32")
    better = ops.logical_and(ids[:, None] < ids[None, :], label[:, :, None] == label[:, None, :])
    valid = score > 0
    if size > max_per_class:
        valid = ops.logical_and(valid, ops.sum(ops.cast(better, "int32"), axis=1) < max_per_class)
    better = ops.logical_and(better, geometry.iou(candidate, candidate) > iou_threshold)
    better = ops.cast(better, "float32")

    # Every round settles at least the next candidate that depends on others; few are needed.
    def body(kept, changed):
        beaten = ops.matmul(ops.cast(kept, "float32")[:, None, :], better)[:, 0] > 0
        new = ops.logical_and(valid, ops.logical_not(beaten))
        return new, ops.any(new != kept)

    kept, _ = ops.while_loop(lambda kept, changed: changed, body, (valid, ops.any(valid)))
    exhausted = score[:, -1] <= 0 if size < classes * anchors else ops.ones_like(valid[:, 0])
    filled = ops.sum(ops.cast(kept, "int32"), axis=1) >= max_detections
    complete = ops.all(ops.logical_or(exhausted, filled))

    slots = min(max_detections, size)
    score, rank = ops.top_k(ops.where(kept, score, 0.0), slots)
    anchor = ops.take_along_axis(anchor, rank, axis=1)
    label = ops.take_along_axis(label, rank, axis=1)
    return (*_fill((score, anchor, label), max_detections), complete)


def _all_candidates(
    boxes, scores, iou_threshold, score_threshold, max_per_class, max_detections, soft_sigma
):
    """Suppression class by class among all candidates; arguments as `_best_candidates`."""
    batch = ops.shape(boxes)[0]
    classes, anchors = scores.shape[1], scores.shape[2]
    top = min(max_per_class, anchors)
    best, index = ops.top_k(scores, top)
    flat = ops.reshape(ops.cast(index, "int32"), (-1, classes * top))
    candidates = ops.take_along_axis(boxes, flat[:, :, None], axis=1)
    per_class = ops.reshape(candidates, (batch, classes, top, 4))
    if soft_sigma is None:
        kept = _hard(per_class, best, iou_threshold)
    else:
        kept = _soft(per_class, best, soft_sigma, score_threshold)
    slots = min(max_detections, classes * top)
    score, rank = ops.top_k(ops.reshape(kept, (-1, classes * top)), slots)
    rank = ops.cast(rank, "int32")
    anchor = ops.take_along_axis(flat, rank, axis=1)
    return _fill((score, anchor, rank // top), max_detections)


def _fill(arrays, size):
    """Pads arrays `[B, N]` with 0 to `[B, size]`."""
    return tuple(ops.pad(x, [[0, 0], [0, size - x.shape[1]]]) for x in arrays)


def _hard(boxes, scores, iou_threshold):
    """Scores `[B, C, K]` (descending) with 0 for the suppressed boxes."""
    count = boxes.shape[2]
    ids = ops.arange(count, dtype="int32")

    def body(i, scores):
        box = ops.take(boxes, i[None], axis=2)
        alive = ops.take(scores, i[None], axis=2) > 0
        drop = ops.logical_and(geometry.iou_aligned(box, boxes) > iou_threshold, ids > i)
        return i + 1, ops.where(ops.logical_and(alive, drop), 0.0, scores)

    most = ops.max(ops.sum(ops.cast(scores > 0, "int32"), axis=2))
    start = ops.convert_to_tensor(0, "int32")
    return ops.while_loop(lambda i, scores: i < most, body, (start, scores))[1]


def _soft(boxes, scores, sigma, score_threshold):
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
