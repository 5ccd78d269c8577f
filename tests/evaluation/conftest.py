"""The reference case of 40 images that VOC, COCO and the whole evaluation are held against."""

import numpy as np
import pytest

from ssd_keras.data.source import GroundTruth
from ssd_keras.detections import Detections


@pytest.fixture(scope="session")
def reference(shared):
    """Ground truth, detections, classes and the file of expected numbers."""
    return load_reference(shared("vectors/eval.npz"))


def load_reference(path):
    """The reference case in our own forms, and the file with what was measured on it."""
    file = np.load(path)
    classes = tuple("abcde")
    side = 1024

    def split(name):
        return np.split(file[name], np.cumsum(file[f"{name}_counts"])[:-1])

    def boxes(rows):
        return rows[:, [1, 0, 3, 2]] / side

    truth = [
        GroundTruth(str(i), side, side, boxes(box), label, difficult)
        for i, (box, label, difficult) in enumerate(
            zip(split("gt_box"), split("gt_label"), split("gt_difficult"), strict=True)
        )
    ]
    found = [
        Detections(boxes(box), score, label, classes)
        for box, score, label in zip(
            split("det_box"), split("det_score"), split("det_label"), strict=True
        )
    ]
    return truth, found, classes, file
