"""Areas, overlaps and formats of boxes."""

import keras
import numpy as np
import pytest

from ssd_keras import boxes as box_ops
from tests.boxes.reference import numpy_boxes, random_boxes

NAN = float("nan")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [0, 0, 0.5, 0.5], 0.25),
        ([0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], 0.0),
        ([0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75], 1 / 7),
        ([-1, -1, -1, -1], [-1, -1, -1, -1], 0.0),
        ([0.2, 0.2, 0.2, 0.8], [0, 0, 1, 1], 0.0),
        ([0.8, 0.8, 0.2, 0.2], [0, 0, 1, 1], 0.0),
        ([NAN, NAN, NAN, NAN], [0, 0, 1, 1], 0.0),
        ([0, 0, 1e13, 1e13], [0, 0, 1e13, 1e13], 1.0),
    ],
)
def test_iou(a, b, expected):
    np.testing.assert_allclose(box_ops.iou([a], [b]), [[expected]], rtol=1e-6)
    np.testing.assert_allclose(box_ops.iou_aligned([a], [b]), [expected], rtol=1e-6)


def test_iou_is_the_plain_float32_number():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 300), random_boxes(rng, 200, grid=8)
    np.testing.assert_array_equal(box_ops.iou(a, b), numpy_boxes(a, b))


def test_iou_is_symmetric_and_bounded():
    rng = np.random.default_rng(1)
    a, b = random_boxes(rng, 2, 50), random_boxes(rng, 2, 60)
    ours = np.array(box_ops.iou(a, b))
    np.testing.assert_array_equal(ours, np.swapaxes(box_ops.iou(b, a), -1, -2))
    assert ours.min() >= 0
    assert ours.max() <= 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_every_type_is_computed_in_float32(dtype):
    boxes = keras.ops.cast([[0, 0, 2, 2], [0, 0, 1, 2]], dtype)
    ours = box_ops.iou(boxes, boxes)
    assert keras.backend.standardize_dtype(ours.dtype) == "float32"
    np.testing.assert_array_equal(ours, [[1, 0.5], [0.5, 1]])


def test_formats_invert_each_other():
    boxes = random_boxes(np.random.default_rng(2), 100)
    back = box_ops.centers_to_corners(box_ops.corners_to_centers(boxes))
    np.testing.assert_allclose(back, boxes, atol=1e-7)


def test_center_format():
    ours = box_ops.corners_to_centers([0.1, 0.2, 0.5, 0.4])
    np.testing.assert_allclose(ours, [0.3, 0.3, 0.4, 0.2], atol=1e-7)


@pytest.mark.parametrize(
    ("box", "expected"), [([0, 0, 0.5, 2], 1.0), ([1, 1, 0, 0], 0.0), ([-1, -1, -1, -1], 0.0)]
)
def test_area(box, expected):
    np.testing.assert_allclose(box_ops.area(box), expected)


def test_clip():
    np.testing.assert_array_equal(box_ops.clip([-0.5, 0.25, 1.5, 2.0]), [0, 0.25, 1, 1])
