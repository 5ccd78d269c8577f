"""Images are resized in one way, to the bit."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.resizing import resize, resize_tensor


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((7, 5), (7, 5)),
        ((7, 5), (14, 15)),
        ((40, 31), (9, 16)),
        ((1, 1), (3, 4)),
        ((333, 500), (300, 300)),
        ((3024, 4032), (512, 512)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_and_tensorflow_resize_to_the_same_bits(before, after, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(dtype)
    wanted = tf.image.resize(image.astype("float32"), after, "bilinear", antialias=False)
    found, tensor = resize(image, after), resize_tensor(image, after)
    assert found.dtype == tensor.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(tensor, wanted)


def test_a_batch_is_resized_image_by_image():
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)
    together = resize_tensor(images, (16, 16))
    np.testing.assert_array_equal(together, [resize(image, (16, 16)) for image in images])
