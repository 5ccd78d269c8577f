"""Backbones start from trained weights, or say why they cannot."""

import keras
import numpy as np
import pytest

from ssd_keras.backbones import mobilenet
from ssd_keras.errors import UserError
from ssd_keras.weights import load_backbone_weights


@pytest.fixture(scope="module")
def quarter_file(tmp_path_factory):
    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNet((224, 224, 3), alpha=0.25, weights=None, classes=7)
    path = tmp_path_factory.mktemp("weights") / "quarter.weights.h5"
    model.save_weights(path)
    return path, model


def test_a_file_fills_every_layer(quarter_file):
    path, theirs = quarter_file
    ours = mobilenet((96, 96), width=0.25)
    report = load_backbone_weights(ours, path)
    assert len(report.loaded) == 54
    for layer in filter(lambda layer: layer.weights, ours.layers):
        expected = theirs.get_layer(layer.name).get_weights()
        for a, b in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_imagenet_asks_keras_for_its_own_model(quarter_file):
    _, theirs = quarter_file
    ours = mobilenet((96, 96), width=0.25)
    load_backbone_weights(ours, "imagenet", lambda: theirs)
    np.testing.assert_array_equal(
        ours.get_layer("conv_pw_13").get_weights()[0],
        theirs.get_layer("conv_pw_13").get_weights()[0],
    )


def test_another_width_is_refused_and_changes_nothing(quarter_file):
    path, _ = quarter_file
    ours = mobilenet((96, 96), width=0.5)
    before = ours.get_weights()
    with pytest.raises(UserError, match=r"0 of the 54 layers .* at this width"):
        load_backbone_weights(ours, path)
    for a, b in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_network_the_error_says_where_to_put_the_file():
    def unreachable():
        raise OSError("URL fetch failure on mobilenet_2_5_224_tf_no_top.h5")

    with pytest.raises(UserError, match=r"mobilenet_2_5_224_tf_no_top.h5.*models"):
        load_backbone_weights(mobilenet((96, 96), width=0.25), "imagenet", unreachable)
