"""Post-processing as a float .tflite model of its own, to be appended to a raw network.

It is kept out of the network that gets quantized: decoding and suppression in int8 halve the
accuracy, and the operators here cost little in float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.boxes import Suppression
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.decoding import Decoding
from ssd_keras.errors import unknown

POSTPROCESSES = ("builtin", "op", "none")
DETECTION_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
RAW_OUTPUTS = ("boxes", "scores")
CUSTOM_OP = "TFLite_Detection_PostProcess"

# Of more candidates than these the best are taken, whatever their class: TOPK_V2 over 80 classes
# at a time would take longer than a third of the network.
MAX_CANDIDATES = 4000
# In the place of a threshold of 0, which boxes that do not touch would reach, and which
# TFLite_Detection_PostProcess refuses.
SMALLEST_IOU = float(np.finfo(np.float32).tiny)

# Suppression compares boxes of all classes in one go; each class is moved to a place of its own.
# For that boxes are cut to this range around the image; what lies farther out is not seen.
_NMS_RANGE = (-1.5, 2.5)


def postprocess(kind: str, decoding: Decoding, suppression: Suppression | None = None) -> bytes:
    """Builds the post-processing model.

    Its inputs are the raw outputs that `decoding` takes. Softmax belongs to it: in int8,
    probabilities would come in steps of 1/256.

    Args:
        kind: "builtin": suppression made of builtin operators, per class or across classes as the
            rule says, boxes clipped to the image; "op": the custom operator
            TFLite_Detection_PostProcess (one class per default box, suppression across classes,
            on all devices since 2018); "none": codes and probabilities without the background,
            for programs that do the rest themselves.
        decoding: how raw outputs become boxes and scores.
        suppression: thresholds and counts; not used by "none".

    Returns:
        A .tflite file. Outputs of "builtin" and "op", D = max_detections, all float32:
        "detection_boxes" `[1, D, 4]` corners, "detection_classes" `[1, D]` from 0,
        "detection_scores" `[1, D]`, "num_detections" `[1]`. Slots beyond the count are 0.
        Outputs of "none": "boxes" `[1, A, 4]` (dy, dx, dh, dw relative to `decoding.centers`),
        "scores" `[1, A, C]`.
    """
    check_postprocess(kind)
    suppression = suppression or Suppression()
    names = [spec.name for spec in decoding.specs]

    # Which has no Python to be made into graphs; looking for some takes as long as the rest.
    @tf.autograph.experimental.do_not_convert
    def function(*tensors):
        raw = dict(zip(names, tensors, strict=True))
        if kind == "none":
            return {"boxes": decoding.codes(raw), "scores": decoding.scores(raw)}
        return (_builtin if kind == "builtin" else _op)(decoding, raw, suppression)

    return convert(function, decoding.specs, allow_custom_ops=kind == "op")


def check_postprocess(kind: str):
    """Raises a UserError if this is none of `POSTPROCESSES`."""
    if kind not in POSTPROCESSES:
        raise unknown("post-processing", kind, POSTPROCESSES)


def class_offsets(num_classes: int) -> np.ndarray:
    """Where each class is moved to for suppression, float32 `[C, 2]`, (y, x).

    A square grid around the origin keeps the numbers, and so their rounding, small.
    """
    side = math.ceil(math.sqrt(num_classes))
    step = _NMS_RANGE[1] - _NMS_RANGE[0]
    rows, columns = np.divmod(np.arange(num_classes), side)
    middle = (side - 1) / 2
    return (np.stack([rows - middle, columns - middle], axis=1) * step).astype(np.float32)


def _builtin(decoding: Decoding, raw: dict, suppression: Suppression) -> dict:
    scores = tf.reshape(decoding.scores(raw), [-1, decoding.num_classes])
    if suppression.class_agnostic:
        best, indices, labels = _best_classes(scores, suppression.max_per_class)
        offsets = np.zeros((scores.shape[1], 4), np.float32)
    else:
        best, indices, labels = _candidates(scores, suppression.max_per_class)
        offsets = np.tile(class_offsets(scores.shape[1]), (1, 2))
    candidates = tf.gather(decoding.boxes(raw), indices)
    chosen, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=tf.clip_by_value(candidates, *_NMS_RANGE) + tf.gather(offsets, labels),
        scores=best,
        max_output_size=suppression.max_detections,
        iou_threshold=_above(suppression.iou_threshold),
        score_threshold=suppression.score_threshold,
        pad_to_max_output_size=True,
    )
    found = tf.clip_by_value(tf.gather(candidates, chosen), 0.0, 1.0)
    return _without_leftovers(
        found[None],
        tf.cast(tf.gather(labels, chosen), tf.float32)[None],
        tf.gather(best, chosen)[None],
        tf.cast(count, tf.float32)[None],
    )


def _above(threshold: float) -> float:
    """The least IoU that is larger than the threshold: the operator suppresses from its own on."""
    return min(1.0, max(float(np.nextafter(np.float32(threshold), np.float32(2))), SMALLEST_IOU))


def _candidates(scores, max_per_class: int) -> tuple:
    """The boxes that enter suppression: scores `[K]`, default boxes `[K]`, classes `[K]`.

    With few classes these are the best `max_per_class` of each. With many that would be slow, so
    the best of all classes are taken, still far more than come out at the end, and of each class
    no more than `max_per_class` of these: the others get a score of 0, which no threshold lets
    through.
    """
    num_anchors, num_classes = scores.shape
    limit = min(max_per_class, num_anchors)
    if num_classes * limit <= MAX_CANDIDATES:
        best, indices = tf.math.top_k(tf.transpose(scores), limit)
        labels = np.repeat(np.arange(num_classes, dtype=np.int32), limit)
        return tf.reshape(best, [-1]), tf.reshape(indices, [-1]), tf.constant(labels)
    count = min(MAX_CANDIDATES, num_anchors * num_classes)
    best, indices = tf.math.top_k(tf.reshape(scores, [-1]), count)
    labels = indices % num_classes
    return (
        tf.where(_rank_in_class(labels, num_classes) <= max_per_class, best, 0.0),
        indices // num_classes,
        labels,
    )


def _best_classes(scores, most: int) -> tuple:
    """As `_candidates` where boxes of all classes compete: each box with its best class."""
    best, indices = tf.math.top_k(tf.reduce_max(scores, axis=1), min(most, scores.shape[0]))
    labels = tf.argmax(scores, axis=1, output_type=tf.int32)
    return best, indices, tf.gather(labels, indices)


def _rank_in_class(labels, num_classes: int):
    """1 for the first of each class, 2 for its second ..., float32 `[K]`."""
    members = tf.one_hot(labels, num_classes)
    return tf.reduce_sum(members * tf.cumsum(members), axis=1)


def _op(decoding: Decoding, raw: dict, suppression: Suppression) -> dict:
    slots = suppression.max_detections
    # The converter replaces the call of a function with this tag by the custom operator; what the
    # function computes only tells shapes.
    tag = op_tag(decoding.num_classes, decoding.variances, suppression)

    @tf.function(experimental_implements=tag, autograph=False)
    def detection_postprocess(*inputs):
        return (
            tf.zeros([1, slots, 4]),
            tf.zeros([1, slots]),
            tf.zeros([1, slots]),
            tf.zeros([1]),
        )

    boxes, classes, best, count = detection_postprocess(
        decoding.codes(raw), decoding.scores(raw), tf.constant(decoding.centers)
    )
    return _without_leftovers(tf.clip_by_value(boxes, 0.0, 1.0), classes, best, count)


def op_tag(num_classes: int, variances: Sequence[float], suppression: Suppression) -> str:
    """The attributes of TFLite_Detection_PostProcess in the converter's text form.

    Suppression is the fast one, across classes: with more than one thread the per-class variant
    of the operator leaves a class out (tensorflow issue 56058).
    """
    y, x, h, w = (1.0 / v for v in variances)
    # %.9g keeps every bit of a float32; %f would turn a threshold of 1e-8 into 0.
    attributes = {
        "max_detections": f"i: {suppression.max_detections}",
        "max_classes_per_detection": "i: 1",
        "use_regular_nms": "b: false",
        "nms_score_threshold": f"f: {suppression.score_threshold:.9g}",
        "nms_iou_threshold": f"f: {max(suppression.iou_threshold, SMALLEST_IOU):.9g}",
        "y_scale": f"f: {y:.9g}",
        "x_scale": f"f: {x:.9g}",
        "h_scale": f"f: {h:.9g}",
        "w_scale": f"f: {w:.9g}",
        "num_classes": f"i: {num_classes}",
    }
    listed = (f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in attributes.items())
    return f'name: "{CUSTOM_OP}" ' + " ".join(listed)


def _without_leftovers(boxes, classes, scores, count) -> dict:
    """Zeroes the slots beyond the count.

    They may hold what was found in an earlier image, or memory that was never written: no number
    there can be trusted to become 0 by a product.
    """
    used = tf.range(scores.shape[1], dtype=tf.float32)[None] < count
    return {
        "detection_boxes": tf.where(used[..., None], boxes, 0.0),
        "detection_classes": tf.where(used, classes, 0.0),
        "detection_scores": tf.where(used, scores, 0.0),
        "num_detections": tf.identity(count),
    }
