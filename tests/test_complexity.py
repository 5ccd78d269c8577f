"""Multiply-adds are those that one counts by hand, and those that papers print."""

import keras
import pytest
from keras import layers

from ssd_keras.complexity import count_macs

# A layer on a map of 6x10 cells of 4 channels, or on a vector of 4, and its multiply-adds.
BY_HAND = {
    "convolution": (layers.Conv2D(8, 3, strides=2, padding="same"), 3 * 5 * (3 * 3 * 4 * 8)),
    "without padding": (layers.Conv2D(8, 3), 4 * 8 * (3 * 3 * 4 * 8)),
    "in groups": (layers.Conv2D(8, 3, padding="same", groups=2), 6 * 10 * (3 * 3 * 2 * 8)),
    "depthwise": (
        layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
        3 * 5 * (3 * 3 * 4 * 2),
    ),
    "separable": (
        layers.SeparableConv2D(8, 3, strides=2, padding="same", depth_multiplier=2),
        3 * 5 * (3 * 3 * 4 * 2 + 4 * 2 * 8),
    ),
    "deconvolution": (
        layers.Conv2DTranspose(8, 3, strides=2, padding="same"),
        6 * 10 * (3 * 3 * 4 * 8),
    ),
    "dense on a map": (layers.Dense(8), 6 * 10 * (4 * 8)),
    "dense on a vector": (layers.Dense(8), 4 * 8),
    "neither": (layers.BatchNormalization(), 0),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_layer_is_counted_as_by_hand(kind):
    layer, macs = BY_HAND[kind]
    images = keras.Input((4,) if kind.endswith("vector") else (6, 10, 4))
    assert count_macs(keras.Model(images, layer(images))) == macs


def test_layers_of_inner_models_and_shared_ones_are_counted_where_they_stand():
    images = keras.Input((8, 8, 4))
    inner = keras.Sequential([layers.Conv2D(4, 2, strides=2), layers.Dense(4)])
    fine = inner(images)
    coarse = layers.MaxPooling2D()(fine)
    shared = layers.Conv2D(3, 1)
    model = keras.Model(images, [shared(fine), shared(coarse)])
    assert count_macs(model) == 16 * (2 * 2 * 4 * 4) + 16 * (4 * 4) + (16 + 4) * (4 * 3)


# Millions of multiply-adds at 224x224, as the papers print them.
PRINTED = {"ConvNeXtTiny": 4500, "EfficientNetB0": 390, "MobileNetV2": 300, "NASNetMobile": 564}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_networks_cost_what_their_papers_say(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    assert count_macs(model) / 1e6 == pytest.approx(PRINTED[name], rel=0.02)
