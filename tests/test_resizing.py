"""Images are resized in one way, to the bit."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.errors import UserError
from ssd_keras.resizing import WAYS, check_way, resize, resize_tensor

SIZES = [
    ((7, 5), (7, 5)),
    ((7, 5), (14, 15)),
    ((40, 31), (9, 16)),
    ((1, 1), (3, 4)),
    ((333, 500), (300, 300)),
    ((3024, 4032), (512, 512)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_and_tensorflow_resize_to_the_same_bits(before, after, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(dtype)
    wanted = tf.image.resize(image.astype("float32"), after, "bilinear", antialias=False)
    found, tensor = resize(image, after), resize_tensor(image, after)
    assert found.dtype == tensor.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(tensor, wanted)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_corners_are_sampled_as_tensorflow_1_does_to_the_same_bits(before, after):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(np.uint8)
    wanted = tf.compat.v1.image.resize_bilinear(image[None], after)[0]
    np.testing.assert_array_equal(resize(image, after, "corner"), wanted)
    np.testing.assert_array_equal(resize_tensor(image, after, "corner"), wanted)


def test_corners_are_at_whole_pixels():
    image = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 1, 3), np.uint8) * 10
    assert resize(image, (2, 1), "corner")[:, 0, 0].tolist() == [0, 20]
    assert resize(image, (2, 1))[:, 0, 0].tolist() == [5, 25]
    assert resize(image, (8, 1), "corner")[:, 0, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 30]


def test_an_unknown_way_is_refused():
    with pytest.raises(UserError, match=r"no way of resizing 'corners'.*mean 'corner'"):
        check_way("corners")


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_resized_image_by_image(way):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)
    together = resize_tensor(images, (16, 16), way)
    np.testing.assert_array_equal(together, [resize(image, (16, 16), way) for image in images])
