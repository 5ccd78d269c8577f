"""Task-aligned assignment: default boxes that predict an object best, by class and by box."""

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.boxes.assigning import (
    INSIDE_PIXELS,
    best_object,
    pixels_inside,
    without_absent,
)
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.xla import run_with_xla

CANDIDATES, ALPHA, BETA = 13, 1.0, 6.0

# Objects that are held against all default boxes at a time; bounds the memory whatever M is.
_BLOCK = 4


def task_aligned(
    boxes,
    labels,
    predicted_boxes,
    scores,
    layout: Layout,
    *,
    candidates: int = CANDIDATES,
    alpha: float = ALPHA,
    beta: float = BETA,
):
    """Index of the ground truth that each default box is assigned to, by what it predicts.

    How well a default box predicts an object is `score ** alpha * IoU ** beta`, of the score of the
    object's class and the IoU of the predicted box. The `candidates` best of each object whose
    centre is inside of it are its own; one that several objects have goes to that with the highest
    IoU. Equal ones: lowest default box first, then lowest object. What is not a number is 0.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1.
        labels: int `[B, M]`, padded with -1.
        predicted_boxes: corners `[B, A, 4]`.
        scores: probabilities `[B, A, C]`.
        layout: the default boxes.
        candidates: default boxes of each object, over all maps.
        alpha, beta: exponents of score and IoU.

    Returns:
        int32 `[B, A]`: index into M, or -1. No gradient passes.

    Source: TOOD, arXiv 2108.07755, section 3.2; mmdet 3.3.0, task_aligned_assigner.py.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    if boxes.shape[1] == 0:
        return ops.full((ops.shape(boxes)[0], len(layout.anchors)), -1, dtype="int32")
    predicted = [ops.cast(ops.convert_to_tensor(x), "float32") for x in (predicted_boxes, scores)]
    return run_with_xla(
        task_aligned_arrays,
        [boxes, labels, *map(ops.stop_gradient, predicted)],
        [ops.convert_to_tensor(layout.centers)],
        image_size=layout.image_size,
        candidates=candidates,
        alpha=alpha,
        beta=beta,
    )


def task_aligned_arrays(
    boxes, labels, predicted, scores, centers, *, image_size, candidates, alpha, beta
):
    """The computation of `task_aligned` on tensors."""
    boxes = without_absent(ops.where(labels[..., None] >= 0, boxes, -1.0))
    count, size = boxes.shape[1], centers.shape[0]
    wanted = min(candidates, size)
    columns, by_class = ops.transpose(predicted, (2, 0, 1)), ops.transpose(scores, (0, 2, 1))
    padded = -count % _BLOCK
    boxes = ops.pad(boxes, [[0, 0], [0, padded], [0, 0]], constant_values=-1.0)
    labels = ops.pad(labels, [[0, 0], [0, padded]], constant_values=-1)

    def body(first, near, metrics, overlaps):
        block = ops.slice(boxes, (0, first, 0), (ops.shape(boxes)[0], _BLOCK, 4))
        classes = ops.slice(labels, (0, first), (ops.shape(boxes)[0], _BLOCK))
        metric, overlap = _alignment(block, classes, columns, by_class, alpha, beta)
        best, index = ops.top_k(metric, wanted)
        rows = (0, first, 0)
        near = ops.slice_update(near, rows, ops.cast(index, "int32"))
        metrics = ops.slice_update(metrics, rows, best)
        chosen = ops.take_along_axis(overlap, index, axis=2)
        return first + _BLOCK, near, metrics, ops.slice_update(overlaps, rows, chosen)

    shape = (ops.shape(boxes)[0], count + padded, wanted)
    begin = ops.convert_to_tensor(0, "int32")
    state = (begin, ops.zeros(shape, "int32"), ops.zeros(shape), ops.zeros(shape))
    end = _end(labels)
    _, near, metric, overlap = ops.while_loop(lambda first, *_: first < end, body, state)
    middle = pixels_inside(ops.take(centers, near, axis=0), boxes[:, :, None], image_size)
    good = ops.logical_and(metric > 0, middle > INSIDE_PIXELS)
    return best_object(near, ops.where(good, overlap, 0.0), size)


def _end(labels):
    """The number after that of the last object of any image."""
    ids = ops.arange(1, labels.shape[1] + 1, dtype="int32")
    return ops.max(ops.where(labels >= 0, ids, 0))


def _alignment(boxes, labels, columns, by_class, alpha, beta):
    """How well each default box predicts each of some objects, and its IoU; both `[B, N, A]`."""
    overlap = geometry.iou_of_coordinates(
        tuple(columns[k][:, None] for k in range(4)), tuple(boxes[:, :, k, None] for k in range(4))
    )
    known = ops.clip(labels, 0, by_class.shape[1] - 1)
    score = ops.take_along_axis(by_class, known[..., None], axis=1)
    metric = alignment(score, overlap, alpha, beta)
    return ops.where(ops.logical_and(labels[..., None] >= 0, metric > 0), metric, 0.0), overlap


def alignment(score, overlap, alpha: float = ALPHA, beta: float = BETA):
    """`score ** alpha * overlap ** beta`, of arrays of one shape."""
    return ops.power(score, alpha) * ops.power(overlap, beta)


def aligned_targets(matches, metric, overlap, count: int, epsilon: float = 0.0):
    """What the score of each default box shall be: its alignment, scaled to its object's best IoU.

    Args:
        matches: object of each default box, int32 `[B, A]`, -1 for none.
        metric: alignment of each default box with its object, `[B, A]`.
        overlap: IoU of its predicted box with it, `[B, A]`.
        count: M.
        epsilon: added to an object's largest metric; mmdet's 1e-7 crushes the targets of objects
            that are not yet predicted at all.

    Returns:
        float32 `[B, A]` in 0..1; 0 where there is no object.
    """
    positive = matches >= 0
    batch = ops.shape(matches)[0]
    rows = ops.arange(batch, dtype="int32")[:, None] * (count + 1)
    place = ops.reshape(matches + 1 + rows, (-1,))

    def largest(values):
        most = ops.segment_max(ops.reshape(values, (-1,)), place, batch * (count + 1))
        return ops.reshape(ops.take(most, place, axis=0), (-1, matches.shape[1]))

    metric = ops.where(positive, metric, 0.0)
    share = metric / ops.maximum(largest(metric) + epsilon, _LEAST)
    return ops.where(positive, share * largest(ops.where(positive, overlap, 0.0)), 0.0)


# The smallest normal float32: what is divided by stays a number that every device knows.
_LEAST = 1.1754944e-38
