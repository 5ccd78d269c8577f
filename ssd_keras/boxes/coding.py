"""Box codes: a box as its offset from a default box, divided by variances (SSD, CENTER_SIZE)."""

from keras import ops

from ssd_keras.boxes import geometry

VARIANCES = (0.1, 0.1, 0.2, 0.2)

# Sides and offsets beyond these limits are clamped: codes stay finite for boxes without area,
# boxes stay finite (and so do their areas) for any code that is not NaN.
_MIN_SIDE = 1e-8
_MAX_LOG_SIDE = 20.0
_MAX_OFFSET = 1e6


def encode(boxes, anchors, variances=VARIANCES):
    """Codes of boxes relative to default boxes.

    Args:
        boxes: corners `[..., A, 4]`, one per default box.
        anchors: corners of the default boxes `[A, 4]`.
        variances: divisors of (dy, dx, dh, dw).

    Returns:
        float32 `[..., A, 4]` as (dy, dx, dh, dw); finite also for boxes without area.
    """
    return scale_codes(log_centers(boxes), log_centers(anchors), variances)


def log_centers(boxes):
    """`[cy, cx, log h, log w]` of corners `[..., 4]`; sides from `_MIN_SIDE` up."""
    box = geometry.corners_to_centers(boxes)
    return ops.concatenate([box[..., :2], ops.log(ops.maximum(box[..., 2:], _MIN_SIDE))], axis=-1)


def scale_codes(box, anchor, variances):
    """Codes from what `log_centers` gives for the boxes and for the default boxes."""
    variances = ops.convert_to_tensor(variances, "float32")
    units = ops.concatenate([ops.exp(anchor[..., 2:]), ops.ones_like(anchor[..., 2:])], axis=-1)
    return (box - anchor) * (1.0 / (units * variances))


def decode(codes, anchors, variances=VARIANCES):
    """Boxes from codes: the inverse of `encode`, unclipped.

    Args:
        codes: `[..., A, 4]` as (dy, dx, dh, dw).
        anchors: corners of the default boxes `[A, 4]`.
        variances: the divisors that `encode` used.

    Returns:
        corners, float32 `[..., A, 4]`; finite for every code that is not NaN.
    """
    codes = ops.cast(ops.convert_to_tensor(codes), "float32")
    anchor = geometry.corners_to_centers(anchors)
    codes = codes * ops.convert_to_tensor(variances, "float32")
    offset = ops.clip(codes[..., :2], -_MAX_OFFSET, _MAX_OFFSET)
    scale = ops.minimum(codes[..., 2:], _MAX_LOG_SIDE)
    center = offset * anchor[..., 2:] + anchor[..., :2]
    half = ops.exp(scale) * anchor[..., 2:] * 0.5
    return ops.concatenate([center - half, center + half], axis=-1)
