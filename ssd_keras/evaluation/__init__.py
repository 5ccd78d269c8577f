"""Measures detections: VOC and COCO average precision, errors, curves, reports. NumPy, no model."""

from ssd_keras.evaluation.coco import coco_ap
from ssd_keras.evaluation.metrics import DEFINITIONS, evaluate
from ssd_keras.evaluation.voc import voc_ap

__all__ = ["DEFINITIONS", "coco_ap", "evaluate", "voc_ap"]
