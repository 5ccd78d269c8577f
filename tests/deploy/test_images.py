"""Resizing without TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.deploy.images import resize


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((7, 5), (7, 5)),
        ((7, 5), (14, 15)),
        ((40, 31), (9, 16)),
        ((1, 1), (3, 4)),
        ((333, 500), (300, 300)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_it_is_tensorflows_bilinear_resizing(before, after, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(dtype)
    wanted = tf.image.resize(image, after, "bilinear", antialias=False)
    found = resize(image, after)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-3)
