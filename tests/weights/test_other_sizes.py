"""A trained detector's architecture at another size of the image."""

import json

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.weights.other_sizes import at_size

OTHER_THAN_PUBLISHED = (
    ("SSD_MobileNet_128", {"scores": "sigmoid"}),
    ("SSD_MobileNet_128", {"finest_stride": 8}),
)


def config_of(detector) -> dict:
    return json.loads(json.dumps(detector.get_config()))


@pytest.fixture(scope="module", params=OTHER_THAN_PUBLISHED, ids=lambda pair: str(pair[1]))
def trained(request, tmp_path_factory):
    """A saved detector that its name alone does not build."""
    name, options = request.param
    keras.utils.set_random_seed(0)
    detector = ssd_keras.create(name, ["cat", "dog"], **options)
    path = tmp_path_factory.mktemp("trained") / "best.keras"
    detector.save(path)
    return detector, path


def test_other_size_keeps_architecture_and_all_weights(trained):
    detector, path = trained
    found = ssd_keras.create("SSD_MobileNet_96x160", ["cat", "dog"], weights=path)
    assert found.image_size == (96, 160)
    assert found.box_network.get_config() == detector.box_network.get_config()
    theirs = {weight.path: weight for weight in detector.weights}
    assert len(found.weights) == len(theirs)
    for weight in found.weights:
        np.testing.assert_array_equal(weight, theirs[weight.path])


def test_a_published_one_is_known_in_files_that_leave_out_what_came_later():
    config = config_of(ssd_keras.create("PANLite_MobileNetV3SmallMinimalistic_96", ["cat"]))
    assert at_size(config, "PANLite_MobileNetV3SmallMinimalistic_128") is None
    del config["box_network"]["config"]["anchors"]["smallest"]
    assert at_size(config, "PANLite_MobileNetV3SmallMinimalistic_128") is None


@pytest.mark.slow
def test_layers_pad_as_a_core_of_that_size_does():
    """At 128 px the first map of the core has an even number of cells, at 150 an odd one."""
    trained = config_of(ssd_keras.create("SSD_MobileNetV2_128", ["cat"], scores="sigmoid"))
    built = config_of(ssd_keras.create("SSD_MobileNetV2_150", ["cat"]))

    def paddings(config):
        layers = config["backbone"]["config"]["layers"]
        return [
            layer["config"]["padding"] for layer in layers if layer["class_name"] == "ZeroPadding2D"
        ]

    assert paddings(trained) != paddings(built)
    assert paddings(at_size(trained, "SSD_MobileNetV2_150")) == paddings(built)


@pytest.fixture(scope="module")
def published():
    """The configuration of what a name alone builds."""
    return config_of(ssd_keras.create("SSD_MobileNet_128", ["cat"]))


@pytest.mark.parametrize(
    "name",
    ["SSD_MobileNet_160", "DSSD_MobileNet_160", "SSD_MobileNetV2_160"],
    ids=["published", "other box network", "other core"],
)
def test_name_alone_says_all(published, name):
    assert at_size(published, name) is None


def test_own_core_network_is_not_built_anew():
    def core(image_size):
        images = keras.Input((*image_size, 3))
        maps = {}
        x = images
        for stride in (2, 4, 8, 16, 32):
            x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(x)
            maps[f"stride{stride}"] = x
        return keras.Model(images, {name: maps[name] for name in ("stride16", "stride32")})

    config = config_of(ssd_keras.create("SSD_Mine_128", ["cat"], backbone=core))
    assert at_size(config, "SSD_MobileNet_160") is None
