"""Inception v2 is that of the TF Object Detection API (its numbers are in the specification)."""

import pytest

import ssd_keras
from ssd_keras.backbones import feature_maps, inception_v2


def test_parameters_and_default_boxes_are_the_published_ones():
    classes = [f"class {i}" for i in range(90)]
    detector = ssd_keras.create("SSD_InceptionV2_300", classes, head_kernels=1)
    statistics = sum(w.shape[0] for w in detector.non_trainable_weights if "moving" in w.name)
    assert detector.count_params() == 13_817_751
    assert statistics == 23_360
    assert len(detector.box_network.anchors) == 1917


@pytest.mark.parametrize(("size", "maps"), [(300, (19, 10)), (500, (32, 16)), (128, (8, 4))])
def test_grids(size, maps):
    found = feature_maps(inception_v2((size, size), width=0.25))
    assert [(m.name, m.size, m.stride) for m in found] == [
        ("Mixed_4c", (maps[0],) * 2, 16),
        ("Mixed_5c", (maps[1],) * 2, 32),
    ]


def test_no_layer_has_fewer_channels_than_published():
    model = inception_v2((96, 96), width=0.1)
    convolutions = [layer for layer in model.layers if hasattr(layer, "filters")]
    assert min(layer.filters for layer in convolutions) == 16
