"""From scored boxes to detections: score threshold, non-maximum suppression, best of all."""

import math

from keras import ops

from ssd_keras.boxes import geometry


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
    scores = ops.where(scores > score_threshold, scores, 0.0)
    anchors, classes = scores.shape[1], scores.shape[2]
    top = min(max_per_class, anchors)
    best, index = ops.top_k(ops.swapaxes(scores, 1, 2), top)
    batch = ops.shape(boxes)[0]
    flat = ops.reshape(index, (batch, classes * top))
    candidates = ops.take_along_axis(boxes, flat[:, :, None], axis=1)
    per_class = ops.reshape(candidates, (batch, classes, top, 4))
    if soft_sigma is None:
        kept = _hard(per_class, best, iou_threshold)
    else:
        kept = _soft(per_class, best, soft_sigma, score_threshold)
    kept = ops.reshape(kept, (batch, classes * top))
    slots = min(max_detections, classes * top)
    final, rank = ops.top_k(kept, slots)
    found = final > 0
    if labels is None:
        label = ops.cast(rank // top, "int32")
    else:
        label = ops.take_along_axis(ops.take_along_axis(labels, flat, axis=1), rank, axis=1)
    box = geometry.clip(ops.take_along_axis(candidates, rank[:, :, None], axis=1))
    missing = max_detections - slots
    return {
        "boxes": ops.pad(ops.where(found[:, :, None], box, 0.0), [[0, 0], [0, missing], [0, 0]]),
        "scores": ops.pad(ops.where(found, final, 0.0), [[0, 0], [0, missing]]),
        "labels": ops.pad(ops.where(found, label, -1), [[0, 0], [0, missing]], constant_values=-1),
        "count": ops.sum(ops.cast(found, "int32"), axis=1),
    }


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
