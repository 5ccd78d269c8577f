"""One formula of overlap for Keras, NumPy and tf.data."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras.boxes.geometry import iou_of_coordinates
from ssd_keras.boxes.numpy_boxes import corners_to_centers, inclusive_iou, pairwise_iou
from tests.boxes.reference import random_boxes

SPECIAL = np.float32([[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4], [0, 0, 1, 1], [-1, -1, -1, -1]])


def scene():
    rng = np.random.default_rng(0)
    return np.concatenate([random_boxes(rng, 1, 40, grid=8)[0], SPECIAL])


def test_numpy_and_keras_agree():
    boxes = scene()
    np.testing.assert_allclose(pairwise_iou(boxes, boxes), box_ops.iou(boxes, boxes), atol=1e-6)


def test_tensorflow_and_keras_agree_to_the_bit():
    boxes = scene()
    rows = [column[:, None] for column in tf.unstack(boxes, axis=1)]
    columns = [column[None, :] for column in tf.unstack(boxes, axis=1)]
    np.testing.assert_array_equal(iou_of_coordinates(rows, columns, tf), box_ops.iou(boxes, boxes))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 9, 9], [0, 0, 9, 9], 1.0),
        ([0, 0, 9, 9], [5, 0, 14, 9], 1 / 3),
        ([3, 3, 5, 5], [5, 5, 5, 5], 1 / 9),
        ([3, 3, 5, 5], [6, 3, 8, 5], 0.0),
    ],
)
def test_a_box_from_pixel_3_to_pixel_5_is_three_pixels_wide(a, b, expected):
    assert inclusive_iou(np.array([a]), np.array([b]))[0, 0] == pytest.approx(expected, abs=1e-15)


def test_centers():
    boxes = scene()
    np.testing.assert_allclose(corners_to_centers(boxes), box_ops.corners_to_centers(boxes))
    assert corners_to_centers(boxes).dtype == np.float64
