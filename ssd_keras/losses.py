"""MultiBox loss with hard negative mining, and focal loss; everything in float32."""

from keras import ops

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import coding
from ssd_keras.boxes.compilation import compiled

_INFINITY_BITS = 0x7F800000


def multibox_targets(
    boxes, labels, anchors, *, variances=box_ops.VARIANCES, threshold=0.5, rule="bipartite"
):
    """What each default box has to predict.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1.
        labels: int `[B, M]` in 0..C-1, padded with -1. Boxes with a negative label are ignored.
        anchors: corners of the default boxes `[A, 4]`.
        variances: divisors of the codes.
        threshold: IoU from which a default box is matched, whoever its ground truth chose.
        rule: see `ssd_keras.boxes.match`.

    Returns:
        dict of `codes` float32 [B, A, 4] (0 where not positive), `classes` int32 [B, A]
        (0 background, label + 1), `positive` bool [B, A].
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    anchors = ops.cast(ops.convert_to_tensor(anchors), "float32")
    matches = box_ops.match(
        ops.where(labels[..., None] >= 0, boxes, -1.0), anchors, threshold, rule
    )
    if boxes.shape[1] == 0:
        codes = ops.zeros((*matches.shape, 4), "float32")
        positive = ops.zeros_like(matches, dtype="bool")
        return {"codes": codes, "classes": ops.zeros_like(matches), "positive": positive}
    variances = tuple(float(v) for v in variances)
    batched = [boxes, labels, matches]
    return compiled(_encoded, batched, [anchors], halves=False, variances=variances)


def _encoded(boxes, labels, matches, anchors, *, variances):
    """The targets of `multibox_targets` from what it matched."""
    positive = matches >= 0
    rows = ops.arange(ops.shape(boxes)[0], dtype="int32")[:, None] * boxes.shape[1]
    index = ops.maximum(matches, 0) + rows
    # The logarithms are taken of M boxes, not of A.
    centers = ops.take(ops.reshape(coding.log_centers(boxes), (-1, 4)), index, axis=0)
    codes = coding.scale_codes(centers, coding.log_centers(anchors), variances)
    classes = ops.take(ops.reshape(labels, (-1,)), index, axis=0) + 1
    return {
        "codes": ops.where(positive[..., None], codes, 0.0),
        "classes": ops.where(positive, classes, 0),
        "positive": positive,
    }


def multibox_loss(
    targets,
    codes,
    logits,
    *,
    negative_ratio=3,
    box_weight=1.0,
    normalizer=None,
    scores="softmax",
):
    """SSD's loss: cross-entropy with hard negatives, and smooth L1 on the codes.

    Negatives are mined per image: of the default boxes without a match (whose IoU with every
    ground truth is below the threshold of `multibox_targets`), the `negative_ratio` times as many
    as positives whose background is predicted worst; equal ones by lowest index. An image without
    positives adds nothing.

    Args:
        targets: what `multibox_targets` returns.
        codes: predicted `[B, A, 4]`.
        logits: predicted `[B, A, C + 1]`, background first.
        negative_ratio: negatives per positive.
        box_weight: weight of the box loss.
        normalizer: divisor of both sums; None: max(1, positives of the batch).
        scores: "softmax" over all columns, or "sigmoid": each class answers yes or no, background
            is a no to all of them, and the first column is not used.

    Returns:
        dict of scalars `loss`, `class_loss`, `box_loss` and `positives`.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    codes = ops.cast(ops.convert_to_tensor(codes), "float32")
    positive = targets["positive"]
    if scores == "sigmoid":
        # log(1 + e^x) is what a no to a class of logit x costs, and x less for a yes.
        background_loss = ops.sum(ops.softplus(logits[..., 1:]), axis=-1)
        of_class = ops.take_along_axis(logits, targets["classes"][..., None], axis=-1)[..., 0]
        cross_entropy = background_loss - ops.where(targets["classes"] > 0, of_class, 0.0)
    else:
        log_p = ops.log_softmax(logits, axis=-1)
        cross_entropy = -ops.take_along_axis(log_p, targets["classes"][..., None], axis=-1)[..., 0]
        background_loss = -log_p[..., 0]
    negative = hard_negatives(background_loss, positive, negative_ratio)
    counted = ops.logical_or(positive, negative)
    class_sum = ops.sum(ops.where(counted, cross_entropy, 0.0))
    return _with_boxes(class_sum, targets, codes, box_weight, normalizer)


def _with_boxes(class_sum, targets, codes, box_weight, normalizer):
    """The class loss and smooth L1 on the codes of the positives, both normalised."""
    positive = targets["positive"]
    distance = smooth_l1(targets["codes"] - codes)
    box_sum = ops.sum(ops.where(positive[..., None], distance, 0.0))
    positives = ops.sum(ops.cast(positive, "float32"))
    if normalizer is None:
        normalizer = ops.maximum(positives, 1.0)
    class_loss = class_sum / normalizer
    box_loss = box_weight * box_sum / normalizer
    return {
        "loss": class_loss + box_loss,
        "class_loss": class_loss,
        "box_loss": box_loss,
        "positives": positives,
    }


def smooth_l1(x, beta=1.0):
    """`0.5 x^2 / beta` near zero, `|x| - 0.5 beta` beyond `beta`, elementwise."""
    size = ops.abs(x)
    return ops.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


def hard_negatives(background_loss, positive, negative_ratio=3):
    """Mask `[B, A]` of the negatives that count: the worst predicted, per image.

    Nothing is sorted: the loss of the last one that counts is found by bisection over the bits of
    the float32 numbers, which order like integers from 0 up, and among its equals the last index
    in the same way. The result is exactly the ranking's.
    """
    loss = ops.stop_gradient(ops.cast(background_loss, "float32"))
    negatives = ops.logical_not(positive)
    wanted = negative_ratio * ops.sum(ops.cast(positive, "int32"), axis=1, keepdims=True)
    # -log p is never below 0; the maximum turns -0 and rounding into 0, and NaN ranks last.
    loss = ops.where(loss > 0, loss, 0.0)
    bits = ops.where(negatives, ops.view(loss, dtype="int32"), -1)

    def count(mask):
        return ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)

    def bisect(low, high, holds, steps):
        """Largest number in low..high that `holds`, which is true up to it."""

        def body(i, low, high):
            middle = low + (high - low + 1) // 2
            true = holds(middle)
            return i + 1, ops.where(true, middle, low), ops.where(true, high, middle - 1)

        start = ops.convert_to_tensor(0, "int32")
        return ops.while_loop(lambda i, *_: i < steps, body, (start, low, high))[1]

    zero = ops.zeros_like(wanted)
    last = bisect(zero, zero + _INFINITY_BITS, lambda x: count(bits >= x) >= wanted, 31)
    equal = bits == last
    missing = wanted - count(bits > last)
    index = ops.arange(positive.shape[1], dtype="int32")[None]
    # Largest prefix of the indices that holds no more equals than are missing.
    size = positive.shape[1]
    prefix = bisect(
        zero,
        zero + size,
        lambda n: count(ops.logical_and(equal, index < n)) <= missing,
        size.bit_length() + 1,
    )
    chosen = ops.logical_or(bits > last, ops.logical_and(equal, index < prefix))
    return ops.logical_and(ops.logical_and(chosen, negatives), wanted > 0)


def focal_loss(targets, codes, logits, *, gamma=2.0, alpha=0.25, box_weight=1.0, normalizer=None):
    """Focal loss over all default boxes instead of mining (arXiv 1708.02002), and smooth L1.

    The classes are independent (sigmoid); `logits` `[B, A, C]` hold no background column.
    Returns the same dict as `multibox_loss`.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    codes = ops.cast(ops.convert_to_tensor(codes), "float32")
    wanted = ops.one_hot(targets["classes"] - 1, logits.shape[-1], dtype="float32")
    # log p of the wanted answer, yes or no
    signed = logits * (2.0 * wanted - 1.0)
    log_p = ops.log_sigmoid(signed)
    weight = alpha * wanted + (1.0 - alpha) * (1.0 - wanted)
    class_sum = -ops.sum(weight * ops.exp(gamma * ops.log_sigmoid(-signed)) * log_p)
    return _with_boxes(class_sum, targets, codes, box_weight, normalizer)


def yolo_targets(boxes, labels, grid):
    """What each cell of YOLO's grid has to predict.

    The cell that holds an object's centre answers for it; of several objects the first.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1.
        labels: int `[B, M]` in 0..C-1, padded with -1.
        grid: (rows, columns).

    Returns:
        dict of `boxes` float32 [B, S, 4], corners (0 where the cell has no object), `classes`
        int32 [B, S] and `positive` bool [B, S], with S = rows * columns.
    """
    rows, columns = grid
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    sizes = ops.stack([float(rows), float(columns)])
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    cells = ops.cast(ops.clip(ops.floor(centers * sizes), 0.0, sizes - 1.0), "int32")
    index = cells[..., 0] * columns + cells[..., 1]
    objects = ops.arange(labels.shape[1], dtype="int32")
    absent = labels.shape[1]
    here = index[:, :, None] == ops.arange(rows * columns, dtype="int32")
    here = ops.logical_and(here, labels[:, :, None] >= 0)
    first = ops.min(ops.where(here, objects[None, :, None], absent), axis=1)
    positive = first < absent
    safe = ops.where(positive, first, 0)
    chosen = ops.take_along_axis(boxes, safe[..., None], axis=1)
    return {
        "boxes": ops.where(positive[..., None], chosen, 0.0),
        "classes": ops.where(positive, ops.take_along_axis(labels, safe, axis=1), 0),
        "positive": positive,
    }


def yolo_boxes(raw, grid):
    """Corners of YOLO's raw boxes `[B, S * boxes_per_cell, 4]`; see `YOLO.__call__`."""
    rows, columns = grid
    per_cell = raw.shape[1] // (rows * columns)
    cells = ops.repeat(ops.arange(rows * columns, dtype="int32"), per_cell)
    corner = ops.stack([cells // columns, cells % columns], axis=-1)
    sizes = ops.stack([float(rows), float(columns)])
    centers = (ops.cast(corner, "float32") + raw[..., :2]) / sizes
    half = ops.square(raw[..., 2:]) / 2
    return ops.concatenate([centers - half, centers + half], axis=-1)


def yolo_loss(targets, predictions, grid, *, box_weight=5.0, no_object_weight=0.5):
    """YOLO's sum of squared errors, divided by the number of images.

    Of a cell's boxes the one that overlaps its object most is responsible (where none overlaps,
    the nearest): it learns the box, and its overlap as confidence. All others learn confidence 0.

    Args:
        targets: what `yolo_targets` returns.
        predictions: what the YOLO box network predicts.
        grid: (rows, columns).
        box_weight: weight of the errors of centres and square roots of sizes.
        no_object_weight: weight of the confidences that should be 0.

    Returns:
        dict of scalars `loss`, `class_loss` (classes and confidences), `box_loss`, `positives` and
        `normalizer`, what the errors were divided by.

    Source: YOLO paper, arXiv 1506.02640, equation 3; darknet, detection_layer.c (rescore=1).
    """
    rows, columns = grid
    raw = ops.cast(ops.convert_to_tensor(predictions["boxes"]), "float32")
    confidences = ops.cast(ops.convert_to_tensor(predictions["confidences"]), "float32")
    classes = ops.cast(ops.convert_to_tensor(predictions["classes"]), "float32")
    cells = rows * columns
    per_cell = raw.shape[1] // cells
    wanted, positive = targets["boxes"][:, :, None], targets["positive"]

    def by_cell(x):
        return ops.reshape(x, (-1, cells, per_cell, *x.shape[2:]))

    # === Who is responsible ===
    found = ops.stop_gradient(by_cell(yolo_boxes(raw, grid)))
    overlap = box_ops.iou_aligned(found, ops.broadcast_to(wanted, ops.shape(found)))
    distance = ops.sum(ops.square(_center_size(found) - _center_size(wanted)), axis=-1)
    nearest = ops.argmin(distance, axis=-1)
    most = ops.argmax(overlap, axis=-1)
    choice = ops.where(ops.max(overlap, axis=-1) > 0, most, nearest)
    responsible = ops.cast(ops.one_hot(choice, per_cell), "float32")
    responsible = responsible * ops.cast(positive, "float32")[..., None]

    # === Errors ===
    corner = ops.arange(cells, dtype="int32")
    corner = ops.cast(ops.stack([corner // columns, corner % columns], axis=-1), "float32")
    center_size = _center_size(wanted)
    sizes = ops.stack([float(rows), float(columns)])
    offset = center_size[..., :2] * sizes - corner[None, :, None]
    goal = ops.concatenate([offset, ops.sqrt(ops.maximum(center_size[..., 2:], 0.0))], axis=-1)
    box_error = ops.sum(ops.square(by_cell(raw) - goal), axis=-1)
    confidence = by_cell(confidences)
    confident = ops.square(confidence - overlap)
    one_hot = ops.one_hot(targets["classes"], classes.shape[-1], dtype="float32")
    class_error = ops.sum(ops.square(classes - one_hot), axis=-1)

    # === Sums ===
    images = ops.cast(ops.shape(raw)[0], "float32")
    box_loss = box_weight * ops.sum(responsible * box_error) / images
    class_loss = (
        ops.sum(responsible * confident)
        + no_object_weight * ops.sum((1.0 - responsible) * ops.square(confidence))
        + ops.sum(ops.where(positive, class_error, 0.0))
    ) / images
    return {
        "loss": class_loss + box_loss,
        "class_loss": class_loss,
        "box_loss": box_loss,
        "positives": ops.sum(ops.cast(positive, "float32")),
        "normalizer": images,
    }


def _center_size(corners):
    """(cy, cx, h, w) of corners, elementwise."""
    low, high = corners[..., :2], corners[..., 2:]
    return ops.concatenate([(low + high) / 2, high - low], axis=-1)
