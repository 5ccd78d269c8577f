"""Weights of a preset of KerasHub fill the Core Network that is made of it."""

import shutil

import h5py
import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.backbones import kerashub_backbone
from ssd_keras.errors import UserError
from ssd_keras.weights.kerashub_presets import load_preset_weights

networks = pytest.importorskip("tests.backbones.kerashub_networks", exc_type=ImportError)
hub = networks.hub
SIZE = (64, 96)


def saved(network, folder):
    network.save_to_preset(str(folder))
    hub.layers.ImageConverter(scale=1 / 64, offset=-2.0).save_to_preset(str(folder))
    return f"kerashub:{folder}"


def random_values(network):
    """Other statistics of batch norms than those that a new network has."""
    rng = np.random.default_rng(1)
    network.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return saved(networks.vgg(), tmp_path_factory.mktemp("vgg_imagenet"))


@pytest.mark.eager
@pytest.mark.parametrize(
    "make",
    [
        networks.vgg,
        lambda: networks.resnet("basic_block"),
        pytest.param(networks.mobilenet, marks=pytest.mark.slow),
        pytest.param(lambda: networks.efficientnet(2), marks=pytest.mark.slow),
        pytest.param(networks.hgnet, marks=pytest.mark.slow),
    ],
    ids=["VGG", "ResNet", "MobileNet", "EfficientNetV2", "HGNetV2"],
)
def test_the_weights_of_a_preset_compute_what_kerashub_computes(make, tmp_path):
    network = random_values(make())
    place = saved(network, tmp_path)
    core = kerashub_backbone(SIZE, place=place)
    report = load_preset_weights(core, "preset", place)
    assert report.missing == report.unused == ()
    images = np.random.default_rng(0).uniform(0, 255, (1, *SIZE, 3)).astype("float32")
    theirs = network(images / 64 - 2.0, training=False)
    wanted = np.asarray(theirs["stage4"] if isinstance(theirs, dict) else theirs)
    found = np.asarray(core(images, training=False)["stride32"])
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("word", ["preset", "imagenet"])
def test_a_detector_begins_with_them(preset, word):
    detector = ssd_keras.create(
        "SSD_Mine_64x96", ["cat"], backbone=preset, backbone_weights=word, finest_stride=8
    )
    theirs = hub.models.Backbone.from_preset(preset.removeprefix("kerashub:"))
    np.testing.assert_array_equal(
        detector.backbone.get_layer("block3_conv1").kernel,
        theirs.get_layer("block3_conv1").kernel,
    )


def test_the_core_network_of_a_detector_is_taken_by_layer_names(preset, tmp_path):
    first = ssd_keras.create("SSD_Mine_64x96", ["cat"], backbone=preset)
    first.save(tmp_path / "x.keras")
    keras.layers.Conv2D(1, 1)  # moves the counter of Keras' names on
    second = ssd_keras.create(
        "SSDLite_Mine_64x96", ["dog"], backbone=preset, backbone_weights=tmp_path / "x.keras"
    )
    for ours, theirs in zip(
        second.backbone.get_weights(), first.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_that_they_are_of_imagenet_has_to_stand_in_the_name(preset, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(preset.removeprefix("kerashub:"), folder)
    with pytest.raises(UserError, match="its name does not say: 'preset' stands for them"):
        ssd_keras.create(
            "SSD_Mine_96",
            ["cat"],
            backbone=f"kerashub:{folder}",
            backbone_weights="imagenet",
        )


def without(folder, name):
    (folder / name).unlink()


def leading_out(folder, name):
    """A weights file with an array that lies in another file."""
    other = folder / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(folder / name, "a") as file:
        file["link"] = h5py.ExternalLink(str(other), "x")


def cut_off(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def not_a_number(folder, name):
    network = networks.vgg()
    network.set_weights([np.full(w.shape, np.nan) for w in network.get_weights()])
    network.save_weights(folder / name)


def another_network(folder, name):
    networks.vgg(channels=4).save_weights(folder / name)


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        (without, "image_converter.json", "does not say how its images are prepared"),
        (without, "model.weights.h5", "has no weights: there is no model.weights.h5"),
        (leading_out, "model.weights.h5", "'link' is a ExternalLink, which could lead anywhere"),
        (cut_off, "model.weights.h5", "cannot be read as weights of KerasHub's VGGBackbone"),
        (not_a_number, "model.weights.h5", "not finite|no number|not a number"),
        (another_network, "model.weights.h5", "cannot be read as weights of KerasHub's VGGBackb"),
    ],
)
def test_weights_that_cannot_be_taken_are_refused(preset, tmp_path, change, file, message):
    folder = tmp_path / "copy"
    shutil.copytree(preset.removeprefix("kerashub:"), folder)
    change(folder, file)
    core = kerashub_backbone(SIZE, place=f"kerashub:{folder}")
    before = core.get_weights()
    with pytest.raises(UserError, match=message):
        load_preset_weights(core, "preset", f"kerashub:{folder}")
    for ours, old in zip(core.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)
