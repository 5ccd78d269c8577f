"""MobileNetV4-Conv-S costs what timm prints of its own."""

import numpy as np
import pytest

from ssd_keras.backbones import mobilenet_v4
from ssd_keras.complexity import count_macs

# Behind the maps: a 1x1 convolution to 1280 channels with its batch norm, and 1000 classes.
CLASSIFIER = 960 * 1280 + 2 * 1280 + 1280 * 1000 + 1000


def test_parameters_and_multiply_adds_are_the_published_ones():
    model = mobilenet_v4((224, 224))
    learned = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert learned + CLASSIFIER == 3_774_024
    assert (count_macs(model) + 960 * 1280 + 1280 * 1000) / 1e9 == pytest.approx(0.19, abs=0.005)


def test_shortcuts_stand_where_nothing_changes():
    model = mobilenet_v4((64, 64), width=0.25)
    added = {layer.name for layer in model.layers if layer.name.endswith("_add")}
    assert added == {f"blocks_{stage}_{number}_add" for stage in (2, 3) for number in range(1, 6)}
