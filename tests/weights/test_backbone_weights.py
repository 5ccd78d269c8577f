"""Backbones start from trained weights, or say why they cannot."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.backbones import mobilenet
from ssd_keras.errors import UserError
from ssd_keras.weights import load_backbone_weights
from ssd_keras.weights.keras_files import layers_with_weights
from tests.backbones.keras_networks import add_application, small_convnext


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


@pytest.mark.parametrize(
    ("core", "width", "published"),
    [
        ("MobileNet", 0.6, "0.25, 0.5, 0.75, 1:"),
        ("MobileNetV2", 0.6, "0.35, 0.5, 0.75, 1:"),
        ("MobileNetV3Small", 0.5, "0.75, 1:"),
        ("MobileNetV3LargeMinimalistic", 0.75, "only at 1:"),
        ("MobileNetTorch", 0.5, "only at 1:"),
    ],
)
def test_widths_that_nobody_publishes_are_refused_before_a_download(
    core, width, published, monkeypatch
):
    def fetch(*args, **options):
        raise AssertionError("fetched")

    monkeypatch.setattr(keras.utils, "get_file", fetch)
    with pytest.raises(UserError, match=rf"ImageNet weights of '{core}' at width=.*{published}"):
        ssd_keras.create(f"SSD_{core}_96", ["cat"], width=width, backbone_weights="imagenet")


# === Networks with models inside ===


@pytest.fixture(scope="module")
def convnext():
    """A ConvNeXt, whose stem and downsampling are models, with weights unlike any start."""
    network = small_convnext(input_shape=(64, 64, 3))
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.5, 1, w.shape) for w in network.weights])
    return network


@pytest.fixture
def small_convnext_by_name(convnext, monkeypatch):
    def build(weights, **options):
        return convnext if weights == "imagenet" else small_convnext(**options)

    add_application(monkeypatch, "SmallConvNeXt", build)


def check_filled(backbone, theirs):
    # The one layer that Keras counted is numbered from 1.
    of_theirs = [layer.get_weights() for layer in layers_with_weights(theirs).values()]
    ours = layers_with_weights(backbone)
    assert len(ours) == 29
    for layer, expected in zip(ours.values(), of_theirs, strict=True):
        for a, b in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weights", ["imagenet", "x.h5", "x.keras", "x.weights.h5"])
def test_models_inside_a_network_take_their_weights(
    convnext, small_convnext_by_name, weights, tmp_path
):
    place = weights if weights == "imagenet" else tmp_path / weights
    if weights == "x.weights.h5":
        convnext.save_weights(place)
    elif weights != "imagenet":
        convnext.save(place)
    detector = ssd_keras.create("SSD_SmallConvNeXt_96", ["cat"], backbone_weights=place)
    check_filled(detector.backbone, convnext)


def test_models_inside_a_network_are_taken_from_a_detector(
    convnext, small_convnext_by_name, tmp_path
):
    trained = ssd_keras.create("SSD_SmallConvNeXt_96", ["cat"], backbone_weights="imagenet")
    trained.save(tmp_path / "best.keras")
    again = ssd_keras.create("SSD_SmallConvNeXt_96", ["cow"], weights=tmp_path)
    check_filled(again.backbone, convnext)


# === From a detector ===


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A detector of a Core Network whose layers Keras calls otherwise, and its run folder."""
    keras.utils.set_random_seed(5)
    detector = ssd_keras.create("SSD_MobileNetV3SmallMinimalistic_96", ["cat"], width=0.5)
    folder = tmp_path_factory.mktemp("run")
    detector.save(folder / "best.keras")
    return detector, folder


@pytest.mark.parametrize("place", ["", "best.keras"])
def test_a_detector_gives_its_core_network_and_nothing_else(trained, place):
    theirs, folder = trained
    keras.utils.set_random_seed(6)
    options = {"backbone_weights": str(folder / place), "width": 0.5}
    ours = ssd_keras.create("PANLite_MobileNetV3SmallMinimalistic_128", ["dog", "cow"], **options)
    layers = {layer.name: layer for layer in theirs.backbone.layers}
    taken = [layer for layer in ours.backbone.layers if layer.weights]
    assert len(taken) > 20
    for layer in taken:
        for a, b in zip(layer.get_weights(), layers[layer.name].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_detector_of_another_width_is_refused(trained):
    options = {"backbone_weights": str(trained[1]), "width": 0.75}
    with pytest.raises(UserError, match=r"do not fit: .* has shapes"):
        ssd_keras.create("SSD_MobileNetV3SmallMinimalistic_96", ["cat"], **options)


def test_a_name_that_is_none_is_told_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'ssd_mobilenet_v2_coco'"):
        load_backbone_weights(mobilenet((96, 96), width=0.25), "ssd_mobilenet_v2_cocos")
