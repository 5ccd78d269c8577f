"""What ground truth and detections must be to be measured together."""

import dataclasses

import numpy as np
import pytest

from ssd_keras.boxes.numpy_boxes import inclusive_iou
from ssd_keras.evaluation.tables import tabulate
from tests.evaluation.cases import CLASSES, found, truth


@pytest.mark.parametrize(
    ("truths", "founds", "classes", "words"),
    [
        ([truth()], [], CLASSES, "1 images of ground truth but 0"),
        ([truth((0, 1, 1, 9, 9))], [found(classes=("dog", "cat", "cow"))], CLASSES, "dog, cat"),
        ([truth((3, 1, 1, 9, 9))], [found()], CLASSES, "0..2"),
    ],
)
def test_faults_are_explained(truths, founds, classes, words):
    with pytest.raises(ValueError, match=words):
        tabulate(truths, founds, classes)


def test_pixels_come_back_whole():
    sizes = {"height": 333, "width": 500}
    table = tabulate([truth((0, 7, 11, 106, 210), **sizes)], [found()], CLASSES)
    assert table.object_box.tolist() == [[7, 11, 106, 210]]


def test_area_of_the_annotation_is_used_where_there_is_one():
    record = truth((0, 0, 0, 10, 20), (0, 0, 0, 10, 10))
    annotated = dataclasses.replace(record, area=[123, np.nan])
    assert tabulate([record], [found()], CLASSES).object_area.tolist() == [200, 100]
    assert tabulate([annotated], [found()], CLASSES).object_area.tolist() == [123, 100]


def test_best_overlap_in_own_and_other_classes():
    record = truth((0, 0, 0, 9, 9), (1, 0, 0, 9, 4), (0, 50, 50, 59, 59))
    table = tabulate([record], [found((0, 0.9, 0, 0, 9, 9), (2, 0.8, 50, 50, 59, 54))], CLASSES)
    assert table.best["own"].tolist() == [0, -1]
    assert table.best["other"].tolist() == [1, 2]
    np.testing.assert_allclose(table.best["other_iou"], [0.5, 0.5])


def test_overlap_counts_the_last_pixel():
    ours = inclusive_iou(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 9], [9, 9, 10, 10]]))
    np.testing.assert_allclose(ours, [[1, 1 / 103]])
