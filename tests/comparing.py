"""Comparing detections that were computed in two ways."""

import numpy as np


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
