"""Pure functions on boxes: geometry, default boxes, coding, matching and suppression."""

from ssd_keras.boxes.coding import VARIANCES, decode, encode
from ssd_keras.boxes.default_boxes import (
    Level,
    default_boxes,
    ssd_levels,
    ssd_scale_sizes,
    tf_od_levels,
)
from ssd_keras.boxes.geometry import (
    area,
    centers_to_corners,
    clip,
    corners_to_centers,
    iou,
    iou_aligned,
)
from ssd_keras.boxes.matching import match
from ssd_keras.boxes.suppression import Suppression, suppress

__all__ = [
    "VARIANCES",
    "Level",
    "Suppression",
    "area",
    "centers_to_corners",
    "clip",
    "corners_to_centers",
    "decode",
    "default_boxes",
    "encode",
    "iou",
    "iou_aligned",
    "match",
    "ssd_levels",
    "ssd_scale_sizes",
    "suppress",
    "tf_od_levels",
]
