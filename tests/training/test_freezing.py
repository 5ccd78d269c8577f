"""Parts that are frozen stay as they are, and the rest does not."""

import re

import keras
import numpy as np
import pytest

from ssd_keras import zoo
from ssd_keras.errors import UserError
from ssd_keras.training.freezing import freeze
from ssd_keras.traversal import leaf_layers


@pytest.fixture
def detector():
    return zoo.create("SSD_MobileNet_96", ["a", "b"], width=0.25)


def trainable_names(detector):
    return {layer.name for layer in leaf_layers(detector) if layer.trainable and layer.weights}


def norms(model):
    return {
        layer.name
        for layer in leaf_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    }


@pytest.mark.parametrize(
    ("parts", "frozen"),
    [
        (["backbone"], lambda d: {layer.name for layer in leaf_layers(d.backbone)}),
        (["batch_norm"], norms),
        (["backbone_batch_norm"], lambda d: norms(d.backbone)),
        (["conv_dw_1*"], lambda d: {n for n in trainable_names(d) if n.startswith("conv_dw_1")}),
        (
            ["conv1", "extra1_conv"],
            lambda d: {"conv1", "extra1_conv"},
        ),
    ],
)
def test_exactly_the_named_parts_are_frozen(detector, parts, frozen):
    everything = trainable_names(detector)
    expected = everything - frozen(detector)
    assert expected != everything
    freeze(detector, parts)
    assert trainable_names(detector) == expected


def test_a_frozen_batch_norm_uses_its_statistics_in_training(detector):
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    freeze(detector, ["batch_norm"])
    before = detector.get_weights()
    trained = detector(images, training=True)
    for name, value in detector(images, training=False).items():
        np.testing.assert_array_equal(trained[name], value)
    for weight, earlier in zip(detector.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, earlier)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["backbonne"], "nothing called 'backbonne' to freeze. Did you mean 'backbone'"),
        (["conv_dw_99"], "Did you mean 'conv_dw_9'"),
        (["*"], "leaves nothing to train"),
        (["conv1_relu"], "What is called 'conv1_relu' (ReLU) has no weights to freeze"),
    ],
)
def test_what_cannot_be_frozen_is_explained(detector, parts, message):
    with pytest.raises(UserError, match=re.escape(message)):
        freeze(detector, parts)
