"""Coverage of the default boxes, on boxes whose IoU is known."""

import numpy as np
import pytest

from ssd_keras.boxes import coverage
from ssd_keras.data import coverage as moved

ANCHORS = np.array(
    [[0.0, 0.0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]],
    np.float32,
)
LEVELS = [ANCHORS[:2], ANCHORS[2:3], ANCHORS[3:]]


def result(boxes):
    boxes = np.array(boxes, np.float32)
    return coverage.coverage(boxes, np.zeros(len(boxes)), LEVELS, (300, 300))


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
        LEVELS,
        (300, 300),
    )
    assert coverage.size_table(found) == [
        ("8 to 16 px", 1, 1),
        ("16 to 32 px", 1, 0),
        ("over 192 px", 1, 0),
    ]
    assert coverage.class_table(found, ["cat", "dog", "cow"]) == [("cat", 2, 1), ("dog", 1, 0)]


def test_advice_names_the_size_as_names_of_models_do():
    small = np.array([[0.7, 0.7, 0.71, 0.71]] * 4, np.float32)
    found = coverage.coverage(small, np.zeros(4), LEVELS, (192, 320))
    assert (
        "px at 192x320 (height x width), the smallest"
        in coverage.advice(found, ANCHORS, (192, 320))[1]
    )


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


def test_the_text_holds_every_table():
    found = coverage.coverage(
        np.array([[0.0, 0.0, 0.1, 0.1], [0.7, 0.7, 0.75, 0.75]]), [0, 1], LEVELS, (300, 300)
    )
    lines = coverage.describe(found, LEVELS, (300, 300), ["cat", "dog"], "SSD_X_300").splitlines()
    assert lines[0] == (
        "Default boxes of SSD_X_300 (4): 1 of 2 objects (50.0%) have no default box with IoU 0.5"
    )
    assert "  dog                  1 objects,      1 (100.0%) below" in lines
    assert "  level 1:      2 boxes of 30 to 30 px take 1 objects" in lines
    assert "  level 3:      1 boxes of 300 to 300 px take 1 objects" in lines
    assert lines[-1].startswith("Advice: Most are small")


def test_scripts_that_have_the_former_name_get_the_same():
    boxes = np.array([[0.0, 0.0, 0.5, 0.25], [0.7, 0.7, 0.75, 0.75]], np.float32)
    before = moved.coverage(boxes, [0, 0], ANCHORS, [0, 2, 3], (300, 300))
    np.testing.assert_array_equal(before.iou, result(boxes).iou)
    np.testing.assert_array_equal(before.level, result(boxes).level)
