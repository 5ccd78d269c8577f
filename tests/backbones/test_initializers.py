"""Kernels that hand on what they get."""

import keras
import numpy as np
import pytest

from ssd_keras.backbones import mobilenet
from ssd_keras.backbones.initializers import NearIdentity


@pytest.mark.parametrize(
    ("depthwise", "shape"), [(True, (3, 3, 64, 1)), (False, (1, 1, 64, 128)), (False, (3, 3, 8, 8))]
)
def test_each_output_copies_one_input_at_the_centre(depthwise, shape):
    kernel = np.asarray(NearIdentity(depthwise=depthwise, seed=0)(shape))
    height, width, inputs, outputs = shape
    copies = np.zeros(shape)
    if depthwise:
        copies[height // 2, width // 2] = 1.0
    else:
        copies[height // 2, width // 2, np.arange(outputs) % inputs, np.arange(outputs)] = 1.0
    noise = kernel - copies
    expected = 0.15 if depthwise else 0.5 / np.sqrt(height * width * inputs)
    assert abs(noise.mean()) < 0.1 * expected
    assert noise.std() == pytest.approx(expected, rel=0.1)


def test_the_global_seed_decides_the_noise_and_layers_differ():
    kernels = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        backbone = mobilenet((64, 64), width=0.25)
        kernels.append([backbone.get_layer(f"conv_pw_{i}").get_weights()[0] for i in (7, 8)])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0][0] != kernels[2][0])
    assert np.any(kernels[0][0] != kernels[0][1])


def test_an_edge_reaches_the_end_of_a_random_backbone():
    """Where a stack of purely random depthwise kernels has blurred it away."""
    keras.utils.set_random_seed(0)
    backbone = mobilenet((128, 128), width=0.25)
    image = np.zeros((1, 128, 128, 3), "float32")
    image[:, :, 64:] = 255.0
    features = np.asarray(backbone(image, training=True)["conv_pw_11_relu"])[0]
    left, right = features[:, :3].mean(axis=(0, 1)), features[:, 5:].mean(axis=(0, 1))
    assert np.mean(np.abs(left - right)) > 0.5 * np.mean(np.abs(features))
