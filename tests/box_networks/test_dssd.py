"""The Box Network of DSSD."""

import functools

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.box_networks import DSSD, ScaleAnchors


def small_dssd(**options):
    """On two maps of a 64 px image and one extra level: 8, 4 and 2 cells."""
    settings = {"anchors": ScaleAnchors(), "extras": ((8, 16),), "decoder_channels": 8}
    network = DSSD(3, **{**settings, **options})
    features = {"fine": keras.Input((8, 8, 4)), "coarse": keras.Input((4, 4, 4))}
    return network, keras.Model(features, network(features, (64, 64)))


def test_the_finest_map_hears_of_the_coarsest():
    """A spot in the coarse map moves predictions in every cell of the fine one it covers."""
    _, model = small_dssd()
    random = np.random.default_rng(0)
    features = {
        "fine": random.uniform(0, 1, (1, 8, 8, 4)),
        "coarse": random.uniform(0, 1, (1, 4, 4, 4)),
    }
    before = np.asarray(model(features)["classes"])
    features["coarse"][0, 1, 1] += 3.0
    moved = np.any(np.asarray(model(features)["classes"]) != before, axis=-1)[0]
    first_level = moved[: 8 * 8 * 3].reshape(8, 8, 3)
    assert first_level[2:4, 2:4].all()


def test_the_coarsest_map_is_predicted_from_as_it_is():
    _, model = small_dssd()
    names = [layer.name for layer in model.layers]
    assert "fusion0_product" in names
    assert "fusion1_product" in names
    assert "fusion2_product" not in names
    # Its head sees the extra level's own 16 channels, the others the decoder's 8.
    assert model.get_layer("fused2_boxes").input.shape[-1] == 16
    assert model.get_layer("fused0_boxes").input.shape[-1] == 8


@pytest.mark.parametrize("fusion", ["product", "sum", "skip"])
def test_a_separable_decoder_mixes_channels_by_1x1_convolutions_alone(fusion):
    _, model = small_dssd(fusion=fusion, separable_decoder=True)
    decoder = [layer for layer in model.layers if layer.name.startswith("fusion")]
    kernels = {
        layer.name: layer.kernel_size
        for layer in decoder
        if isinstance(layer, keras.layers.Conv2D) and "deconvolution" not in layer.name
    }
    assert set(kernels.values()) == {(1, 1)}
    depthwise = [layer for layer in decoder if isinstance(layer, keras.layers.DepthwiseConv2D)]
    # Of each of the two fusions: that of the coarse map and two of the fine one.
    assert [layer.kernel_size for layer in depthwise] == [(3, 3)] * 6
    # A product begins as an open gate here, too.
    if fusion == "product":
        assert np.all(np.asarray(model.get_layer("fusion0_up_bn").beta) == 1)


def test_config_builds_the_same_box_network():
    network, _ = small_dssd(
        fusion="sum", upsampling="bilinear", prediction_module="c", separable_decoder=True
    )
    again = DSSD.from_config(network.get_config())
    assert again.get_config() == network.get_config()
    assert again.fusion == "sum"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "max"}, "fusion must be one of product, sum, skip"),
        ({"upsampling": "nearest"}, "upsampling must be one of deconvolution, bilinear"),
        ({"prediction_module": "e"}, "prediction_module must be one of a, b, c, d"),
        ({"head_kernels": (5, 5)}, "head_kernels has 2 entries for 3 levels"),
    ],
)
def test_options_that_do_not_exist_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small_dssd(**options)


def test_default_boxes_are_those_of_ssd():
    ssd, dssd = (
        ssd_keras.create(f"{kind}_MobileNet_128", ["cat"], width=0.25).box_network
        for kind in ("SSD", "DSSD")
    )
    np.testing.assert_array_equal(ssd.anchors, dssd.anchors)


def skipping_backbone(image_size):
    """From stride 4 to stride 16 at once, where no 2x deconvolution leads back."""
    images = keras.Input((*image_size, 3))
    fine = keras.layers.Conv2D(8, 3, strides=4, padding="same")(images)
    coarse = keras.layers.Conv2D(8, 3, strides=4, padding="same")(fine)
    return keras.Model(images, {"fine": fine, "coarse": coarse})


def test_maps_that_no_deconvolution_joins_say_what_does():
    build = functools.partial(
        ssd_keras.create, "DSSD_Mine_128", ["cat"], backbone=skipping_backbone
    )
    message = "'DSSD_Mine_128' cannot be built: no deconvolution makes 32 cells of 8"
    with pytest.raises(ssd_keras.UserError, match=message):
        build()
    assert build(upsampling="bilinear").box_network.level_maps[0] == (32, 32)
