"""What was computed in two ways, and what was written, held against what it should be."""

import numpy as np
from PIL import Image


def assert_same_detections(found, expected, *, box_atol, score_atol):
    """One to one: same label, every corner and the score within the tolerances.

    Detections with nearly equal scores may come in another order, so partners are looked for.
    """
    assert len(found) == len(expected)
    free = np.ones(len(expected), bool)
    for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
        partner = (
            free
            & (expected.labels == label)
            & (np.abs(expected.scores - score) <= score_atol)
            & (np.abs(expected.boxes - box).max(axis=1) <= box_atol)
        )
        assert partner.any(), f"no partner for label {label}, score {score}, box {box}"
        free[np.argmax(partner)] = False


def assert_drawn(path, *, smallest=200, colours=8):
    """A whole picture on which something is: pixels of several colours beside its ground."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) >= smallest
    found, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    assert len(found) >= colours, f"{path} has only {len(found)} colours"
    assert counts.max() < 0.995 * counts.sum(), f"{path} is of one colour"
