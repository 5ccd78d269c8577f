"""Moved to `ssd_keras.objectives`; the names stay for scripts that have them."""

from ssd_keras.objectives.box_losses import smooth_l1 as smooth_l1
from ssd_keras.objectives.mining import hard_negatives as hard_negatives
from ssd_keras.objectives.multibox import multibox_loss as multibox_loss
from ssd_keras.objectives.multibox import multibox_targets as multibox_targets
from ssd_keras.objectives.yolo import yolo_boxes as yolo_boxes
from ssd_keras.objectives.yolo import yolo_loss as yolo_loss
from ssd_keras.objectives.yolo import yolo_targets as yolo_targets


def __getattr__(name: str):
    if name == "focal_loss":
        raise AttributeError(
            "focal_loss is an option of the box network now: class_loss='focal', scores='sigmoid'; "
            "by itself it is ssd_keras.objectives.focal.focal_cross_entropy."
        )
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
