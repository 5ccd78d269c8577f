"""ResNet-50 of both versions: what was published, and what torchvision's computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.backbones import resnet50
from ssd_keras.complexity import count_macs

CLASSIFIER = 2048 * 1000 + 1000
# Parameters without statistics and GMACs at 224 px, whole; Keras' convolutions have 26,560 biases.
PUBLISHED = {"v1": (25_557_032 + 26_560, 3.86), "v1.5": (25_557_032, 4.09)}


@pytest.fixture
def zeros(monkeypatch):
    def call(self, shape, dtype=None, **options):
        return keras.ops.zeros(shape, dtype or "float32")

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", call)


@pytest.mark.parametrize("version", PUBLISHED)
def test_parameters_and_multiply_adds_are_the_published_ones(zeros, version):
    model = resnet50((224, 224), version=version)
    parameters, gmacs = PUBLISHED[version]
    learned = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert learned == parameters - CLASSIFIER
    assert (count_macs(model) + CLASSIFIER) / 1e9 == pytest.approx(gmacs, abs=0.006)


def test_version_15_sees_what_torchvision_sees():
    image = np.array([[[[0, 0, 0], [255, 128, 51]]]], "float32")
    seen = resnet50((64, 64), width=0.25, version="v1.5").get_layer("normalization")(image)
    wanted = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen, wanted, atol=1e-5)


@pytest.mark.parametrize("size", [64, 72])
def test_version_15_halves_in_the_middle_and_pads_as_pytorch(size):
    """A block of torchvision, written with TensorFlow's own operations."""
    model = resnet50((size, size), width=0.25, version="v1.5")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([rng.uniform(0.3, 1.5, w.shape) for w in layer.weights])
    image = rng.uniform(0, 255, (1, size, size, 3)).astype("float32")
    names = ("conv2_block3_out", "conv3_block1_out")
    outputs = [model.get_layer(name).output for name in names]
    before, found = keras.Model(model.input, outputs)(image)

    def conv_bn(x, name, stride=1, pad=0):
        (kernel,) = model.get_layer(f"conv3_block1_{name}_conv").get_weights()
        gamma, beta, mean, variance = model.get_layer(f"conv3_block1_{name}_bn").get_weights()
        padding = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
        x = tf.nn.conv2d(x, kernel, stride, padding)
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = tf.nn.relu(conv_bn(before, "1"))
    x = tf.nn.relu(conv_bn(x, "2", stride=2, pad=1))
    wanted = tf.nn.relu(conv_bn(x, "3") + conv_bn(before, "0", stride=2))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
