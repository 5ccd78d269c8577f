"""Coverage of the default boxes, on boxes whose IoU is known."""

import numpy as np
import pytest

from ssd_keras.data import coverage

ANCHORS = np.array(
    [[0.0, 0.0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]],
    np.float32,
)
STARTS = [0, 2, 3]


def result(boxes):
    boxes = np.array(boxes, np.float32)
    return coverage.coverage(boxes, np.zeros(len(boxes)), ANCHORS, STARTS, (300, 300))


@pytest.mark.parametrize(
    ("box", "iou", "level"),
    [
        ([0.0, 0.0, 0.1, 0.1], 1.0, 0),
        ([0.5, 0.5, 0.6, 0.65], 1 / 1.5, 0),
        ([0.0, 0.0, 0.5, 0.25], 0.5, 1),
        ([0.0, 0.0, 1.0, 0.8], 0.8, 2),
        ([0.7, 0.7, 0.71, 0.71], 1e-4, 2),
    ],
)
def test_the_best_default_box_and_its_level(box, iou, level):
    found = result([box])
    assert found.iou[0] == pytest.approx(iou, abs=1e-5)
    assert found.level[0] == level


def test_many_objects_are_taken_in_parts():
    boxes = np.tile(ANCHORS, (50, 1))
    found = result(boxes)
    np.testing.assert_allclose(found.iou, 1.0, atol=1e-6)
    np.testing.assert_array_equal(found.level, np.tile([0, 0, 1, 2], 50))


def test_tables_count_what_is_poor():
    found = coverage.coverage(
        np.array([[0.0, 0.0, 0.1, 0.1], [0.7, 0.7, 0.75, 0.75], [0.0, 0.0, 1.0, 1.0]]),
        np.array([0, 0, 1]),
        ANCHORS,
        STARTS,
        (300, 300),
    )
    assert coverage.size_table(found) == [
        ("8 to 16 px", 1, 1),
        ("16 to 32 px", 1, 0),
        ("over 192 px", 1, 0),
    ]
    assert coverage.class_table(found, ["cat", "dog", "cow"]) == [("cat", 2, 1), ("dog", 1, 0)]


def test_advice_only_where_it_is_poor():
    assert coverage.advice(result(ANCHORS), ANCHORS, (300, 300)) == []
    small = np.array([[0.7, 0.7, 0.72, 0.72]] * 10)
    text = " ".join(coverage.advice(result(small), ANCHORS, (300, 300)))
    assert "100% of the objects" in text
    assert "median 6 px" in text
    assert "larger input" in text
    assert "--finest_stride=8" in text


def test_no_objects_at_all():
    found = result(np.zeros((0, 4)))
    assert coverage.size_table(found) == []
    assert coverage.advice(found, ANCHORS, (300, 300)) == []
