"""Detections keep boxes, scores and labels together."""

import numpy as np
import pytest

from ssd_keras import Detections

CLASSES = ("cat", "dog")


def made(scores, labels):
    boxes = [[0, 0, (i + 1) / 10, 1] for i in range(len(scores))]
    return Detections(boxes, scores, labels, CLASSES)


def test_best_score_comes_first_with_its_box_and_label():
    found = made([0.2, 0.9, 0.5], [0, 1, 0])
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(found.boxes[:, 2], [0.2, 0.3, 0.1], rtol=1e-6)
    assert found.names == ["dog", "cat", "cat"]


def test_equal_scores_keep_their_order():
    np.testing.assert_allclose(made([0.5, 0.5], [0, 1]).boxes[:, 2], [0.1, 0.2], rtol=1e-6)


def test_above_keeps_scores_that_reach_the_threshold():
    assert made([0.2, 0.9, 0.5], [0, 1, 0]).above(0.5).names == ["dog", "cat"]


def test_nothing_found_is_empty():
    empty = made([], [])
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([0.5], [2], "Labels must be 0..1"), ([0.5, 0.4], [0], "2 boxes, 2 scores and 1 labels")],
)
def test_what_does_not_fit_together_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        made(scores, labels)
