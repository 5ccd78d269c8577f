"""Small data sets written as tables: objects and detections in pixels of a 100 x 100 image."""

import numpy as np

from ssd_keras.data.source import GroundTruth
from ssd_keras.detections import Detections

CLASSES = ("cat", "dog", "cow")
SIDE = 100


def truth(*objects, image_id="1", height=SIDE, width=SIDE, difficult=(), crowd=()):
    """Ground truth of rows (label, ymin, xmin, ymax, xmax); `difficult`, `crowd`: row numbers."""
    rows = np.array(objects, float).reshape(-1, 5)
    index = np.arange(len(rows))
    return GroundTruth(
        image_id=image_id,
        height=height,
        width=width,
        boxes=rows[:, 1:] / (height, width, height, width),
        labels=rows[:, 0],
        difficult=np.isin(index, difficult),
        crowd=np.isin(index, crowd),
    )


def found(*rows, classes=CLASSES, height=SIDE, width=SIDE):
    """Detections of rows (label, score, ymin, xmin, ymax, xmax)."""
    rows = np.array(rows, float).reshape(-1, 6)
    return Detections(rows[:, 2:] / (height, width, height, width), rows[:, 1], rows[:, 0], classes)


def perfect(record, classes=CLASSES):
    """Detections that are the ground truth itself."""
    return Detections(record.boxes, np.ones(len(record.labels)), record.labels, classes)
