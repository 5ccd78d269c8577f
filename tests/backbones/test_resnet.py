"""ResNet-50 as the TF Object Detection API and torchvision build it."""

import math

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.backbones import resnet50
from ssd_keras.complexity import count_macs

BLOCKS = ((2, 3, 1), (3, 4, 2), (4, 6, 2), (5, 3, 2))


def test_the_apis_resnet50_is_that_of_its_source():
    keras_model = resnet50((64, 96), width=0.25, version="api", finest_stride=8)
    random = np.random.default_rng(0)
    weights = {}
    for layer in keras_model.layers:
        if layer.weights:
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, x.shape) if x.ndim == 1 else x
                    for x in layer.get_weights()
                ]
            )
            weights[layer.name] = layer.get_weights()

    def normalised(x, name, kernel, stride=1, padding="SAME"):
        (filters,) = weights[f"{name}_conv"]
        assert filters.shape[:2] == (kernel, kernel)
        gamma, beta, mean, variance = weights[f"{name}_bn"]
        x = tf.nn.conv2d(x, filters, stride, padding)
        return (x - mean) * gamma / np.sqrt(variance + 1e-3) + beta

    def block(x, name, stride, project):
        shortcut = normalised(x, f"{name}_0", 1, stride) if project else x
        x = tf.nn.relu6(normalised(x, f"{name}_1", 1, stride))
        x = tf.nn.relu6(normalised(x, f"{name}_2", 3))
        return tf.nn.relu6(shortcut + normalised(x, f"{name}_3", 1))

    images = random.uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    x = images - np.array([123.68, 116.779, 103.939], "float32")
    x = tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]])
    x = tf.nn.relu6(normalised(x, "conv1", 7, 2, "VALID"))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    wanted = {}
    for stage, blocks, stride in BLOCKS:
        for i in range(1, blocks + 1):
            x = block(x, f"conv{stage}_block{i}", stride if i == 1 else 1, i == 1)
        wanted[f"conv{stage}_block{blocks}_out"] = x
    found = keras_model(images)
    assert list(found) == list(wanted)[1:]
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-4)


def test_torchvisions_resnet50_costs_what_it_prints():
    model = resnet50((224, 224), version="v1.5")
    learned = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    # Behind the maps 1000 classes.
    assert learned + 2048 * 1000 + 1000 == 25_557_032
    assert (count_macs(model) + 2048 * 1000) / 1e9 == pytest.approx(4.089, abs=0.001)
