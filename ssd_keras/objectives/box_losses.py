"""What a predicted box costs: smooth L1 of its code, or one minus an overlap of the box itself."""

import math

from keras import ops

from ssd_keras.boxes.geometry import coordinates

# Below every area and square of a distance between boxes of an image: what divides is never 0.
_TINY = 1e-30


def smooth_l1(x, beta=1.0):
    """`0.5 x^2 / beta` near zero, `|x| - 0.5 beta` beyond `beta`, elementwise."""
    size = ops.abs(x)
    return ops.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


def iou_loss(boxes, wanted):
    """`1 - IoU` of boxes `[..., 4]` with those that are wanted -> `[...]`; no gradient if apart."""
    return 1.0 - _overlap(boxes, wanted)[0]


def giou_loss(boxes, wanted):
    """`1 - GIoU`: boxes that are apart cost the share of their hull that neither fills.

    Args:
        boxes: predicted corners `[..., 4]`.
        wanted: corners `[..., 4]`; no gradient is meant to reach them.

    Returns:
        float32 `[...]` in 0..2.

    Source: arXiv 1902.09630.
    """
    overlap, union = _overlap(boxes, wanted)
    height, width = _hull(boxes, wanted)
    hull = height * width
    return 1.0 - overlap + (hull - union) / ops.maximum(hull, _TINY)


def diou_loss(boxes, wanted):
    """`1 - DIoU`: the distance of the centres costs, as a share of the hull's diagonal.

    Args and result as in `giou_loss`. Source: arXiv 1911.08287, equation 7.
    """
    return 1.0 - _overlap(boxes, wanted)[0] + _distance(boxes, wanted)


def ciou_loss(boxes, wanted, aspect_from: float = 0.0):
    """`1 - CIoU`: another aspect ratio costs, too, the more the better the boxes overlap.

    Args:
        boxes: predicted corners `[..., 4]`.
        wanted: corners `[..., 4]`.
        aspect_from: IoU from which the aspect ratio counts: 0 as in the paper and torchvision, 0.5
            as in mmdet and in the later paper, arXiv 2005.03572.

    Returns:
        float32 `[...]`. The weight of the aspect ratio is a constant for the gradient.

    Source: arXiv 1911.08287, equations 8 to 11.
    """
    overlap, _ = _overlap(boxes, wanted)
    turn = _angle(wanted) - _angle(boxes)
    aspect = (4.0 / math.pi**2) * turn * turn
    weight = aspect / ops.maximum(1.0 - overlap + aspect, _TINY)
    weight = ops.stop_gradient(ops.where(overlap >= aspect_from, weight, 0.0))
    return 1.0 - overlap + _distance(boxes, wanted) + weight * aspect


BOX_LOSSES = {"iou": iou_loss, "giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}


def _overlap(a, b):
    """IoU, with a gradient where boxes overlap, and the area of the union."""
    a_top, a_left, a_bottom, a_right = coordinates(a)
    b_top, b_left, b_bottom, b_right = coordinates(b)
    height = ops.minimum(a_bottom, b_bottom) - ops.maximum(a_top, b_top)
    width = ops.minimum(a_right, b_right) - ops.maximum(a_left, b_left)
    shared = ops.relu(height) * ops.relu(width)
    union = (a_bottom - a_top) * (a_right - a_left) + (b_bottom - b_top) * (b_right - b_left)
    union = union - shared
    return shared / ops.maximum(union, _TINY), union


def _hull(a, b):
    """Height and width of the smallest box that holds both."""
    a_top, a_left, a_bottom, a_right = coordinates(a)
    b_top, b_left, b_bottom, b_right = coordinates(b)
    height = ops.maximum(a_bottom, b_bottom) - ops.minimum(a_top, b_top)
    return height, ops.maximum(a_right, b_right) - ops.minimum(a_left, b_left)


def _distance(a, b):
    """Squared distance of the centres over the squared diagonal of the hull."""
    a_top, a_left, a_bottom, a_right = coordinates(a)
    b_top, b_left, b_bottom, b_right = coordinates(b)
    down = (b_top + b_bottom - a_top - a_bottom) * 0.5
    right = (b_left + b_right - a_left - a_right) * 0.5
    height, width = _hull(a, b)
    return (down * down + right * right) / ops.maximum(height * height + width * width, _TINY)


def _angle(boxes):
    """The angle whose tangent is width over height; that of a flat box counts as finite."""
    top, left, bottom, right = coordinates(boxes)
    return ops.arctan((right - left) / ops.maximum(bottom - top, _LEAST_SIDE))


# A side that no box of an image has; keeps the quotient's gradient finite.
_LEAST_SIDE = 1e-8
