"""Areas, overlaps and formats of boxes `[ymin, xmin, ymax, xmax]`, in float32."""

from keras import ops

# Added to nothing that counts: any area it could change is below float32's resolution of IoU.
_TINY = 1e-30


def area(boxes):
    """Area of each box `[..., 4]` -> `[...]`; a box whose sides are not positive has area 0."""
    ymin, xmin, ymax, xmax = coordinates(boxes)
    return _product(ymax - ymin, xmax - xmin)


def coordinates(boxes):
    """(ymin, xmin, ymax, xmax) of boxes `[..., 4]`, float32 `[...]` each."""
    boxes = _float32(boxes)
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def clip(boxes):
    """Cuts boxes `[..., 4]` to the image, the unit square."""
    return ops.clip(_float32(boxes), 0.0, 1.0)


def corners_to_centers(boxes):
    """`[ymin, xmin, ymax, xmax]` -> `[cy, cx, h, w]`, shape `[..., 4]`."""
    return ops.stack(center_coordinates(*coordinates(boxes)), axis=-1)


def center_coordinates(ymin, xmin, ymax, xmax):
    """(cy, cx, h, w) of corners given as four arrays of any library."""
    return (ymin + ymax) * 0.5, (xmin + xmax) * 0.5, ymax - ymin, xmax - xmin


def centers_to_corners(boxes):
    """`[cy, cx, h, w]` -> `[ymin, xmin, ymax, xmax]`, shape `[..., 4]`."""
    cy, cx, h, w = coordinates(boxes)
    return ops.stack([cy - h * 0.5, cx - w * 0.5, cy + h * 0.5, cx + w * 0.5], axis=-1)


def iou(a, b):
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: boxes `[..., N, 4]`.
        b: boxes `[..., M, 4]`, leading dimensions broadcast against those of `a`.

    Returns:
        float32 `[..., N, M]` in 0..1; 0 where a box has no area or holds NaN.
    """
    a, b = _float32(a), _float32(b)
    return iou_aligned(ops.expand_dims(a, -2), ops.expand_dims(b, -3))


def iou_aligned(a, b):
    """Intersection over union of `a[i]` with `b[i]`: boxes `[..., 4]` -> float32 `[...]`."""
    return iou_of_coordinates(coordinates(a), coordinates(b))


def iou_of_coordinates(a, b, xp=ops):
    """`iou_aligned` of boxes given as four arrays each, (ymin, xmin, ymax, xmax).

    `xp` computes it: `keras.ops`, `numpy`, or `tensorflow` where a tf.data pipeline needs that.
    """
    a_ymin, a_xmin, a_ymax, a_xmax = a
    b_ymin, b_xmin, b_ymax, b_xmax = b
    intersection = _product(
        xp.minimum(a_ymax, b_ymax) - xp.maximum(a_ymin, b_ymin),
        xp.minimum(a_xmax, b_xmax) - xp.maximum(a_xmin, b_xmin),
        xp,
    )
    a_area = _product(a_ymax - a_ymin, a_xmax - a_xmin, xp)
    b_area = _product(b_ymax - b_ymin, b_xmax - b_xmin, xp)
    # The union of two boxes without area stays positive, and no other union is changed.
    return intersection / (xp.maximum(a_area, _TINY) + b_area - intersection)


def distance_squared(y, x):
    """`y * y + x * x` of two arrays, with the same bits on every backend; see `_product`."""
    y, x = ops.abs(y), ops.abs(x)
    return _product(y, y) + _product(x, x)


def _product(height, width, xp=ops):
    """`height * width`, or 0 where a side is not positive (or NaN).

    The selection stands between the product and every sum it goes into, so that no compiler can
    fuse them into one rounding (FMA): eager, XLA and JAX then give the same bits, and ties stay
    ties everywhere. A maximum with 0 does not do it: XLA on a CPU fuses through it.
    """
    return xp.where(xp.logical_and(height > 0, width > 0), height * width, 0.0)


def _float32(boxes):
    return ops.cast(ops.convert_to_tensor(boxes), "float32")
