"""Networks of `keras.applications` become Core Networks by their names."""

import re
import types

import keras
import numpy as np
import pytest
from keras import layers

import ssd_keras
from ssd_keras.backbones import application_backbone, applications, feature_maps
from ssd_keras.backbones.normalization import TORCH_DEVIATIONS, TORCH_MEANS
from ssd_keras.errors import UserError
from ssd_keras.weights import load_backbone_weights


def halving(x, channels, name=None):
    return layers.Conv2D(channels, 3, strides=2, padding="same", name=name)(x)


def tiny(input_tensor, input_shape, include_top, weights, alpha=1.0):
    """Branches, padding, layers without names; all that a search for maps may stumble over."""
    x = halving(halving(input_tensor, round(8 * alpha)), 8)
    x = halving(x, 8, name="stride8")
    x = layers.Add(name="end8")([x, layers.Conv2D(8, 1)(x)])
    padded = layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)
    x = layers.Conv2D(8, 3, strides=2, name="stride16")(padded)
    expanded = layers.Conv2D(24, 1, name="end16")(x)
    # Two branches halve it: neither is all that follows is computed from.
    x = layers.Concatenate()([halving(expanded, 8), layers.MaxPooling2D()(expanded)])
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply(name="end32")([x, layers.Conv2D(32, 1)(weights)])
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


@pytest.fixture
def network(monkeypatch):
    """`keras.applications.Tiny`, and a way to say how it prepares images."""
    module = types.ModuleType("tiny")
    module.Tiny, module.preprocess_input = tiny, lambda x: x
    monkeypatch.setattr(keras.applications, "tiny", module, raising=False)
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    return module


def test_maps_are_the_last_that_all_of_what_follows_is_computed_from(network):
    maps = feature_maps(application_backbone((96, 64), name="Tiny", finest_stride=8))
    assert [(m.name, m.size, m.stride) for m in maps] == [
        ("end8", (12, 8), 8),
        ("end16", (6, 4), 16),
        ("end32", (3, 2), 32),
    ]


def test_layers_without_names_are_numbered_from_1_whatever_was_built_before(network):
    names = []
    for _ in range(2):
        layers.Conv2D(1, 1)  # moves the counter of Keras' names on
        model = application_backbone((96, 96), name="Tiny")
        names.append([layer.name for layer in model.layers if layer.weights])
    assert names[0] == names[1]
    assert {"conv2d_1", "conv2d_2", "stride8"} <= set(names[0])


def test_keras_own_weights_find_their_layers(network, tmp_path):
    images = keras.Input((96, 96, 3))
    theirs = tiny(images, None, False, None)
    theirs.save_weights(tmp_path / "x.weights.h5")
    ours = application_backbone((96, 96), name="Tiny")
    report = load_backbone_weights(
        ours, tmp_path / "x.weights.h5", adapt=applications.renumbered_weights
    )
    assert report.missing == report.unused == ()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(ours(pixels)["end32"], theirs(pixels), rtol=1e-4)


def unpadded(input_tensor, input_shape, include_top, weights):
    """A network that loses cells at the borders, as Inception does."""
    x = input_tensor
    for _ in range(5):
        x = layers.Conv2D(8, 3, strides=2)(layers.Conv2D(8, 3)(x))
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


@pytest.mark.parametrize("size", [(160, 512), (512, 160)])
def test_maps_of_networks_without_padding_are_found_either_way(network, monkeypatch, size):
    network.Tiny = unpadded
    monkeypatch.setattr(keras.applications, "Tiny", unpadded)
    maps = feature_maps(application_backbone(size, name="Tiny", finest_stride=8))
    assert [(max(m.size), m.stride) for m in maps] == [(59, 8), (27, 16), (13, 32)]


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_images_are_prepared_as_the_network_does(network, mode):
    def prepare(x):
        return keras.applications.imagenet_utils.preprocess_input(x, mode=mode)

    network.preprocess_input = prepare
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype("float32")
    model = application_backbone((96, 96), name="Tiny")
    seen = model.get_layer("preprocessing")(pixels)
    np.testing.assert_allclose(seen, prepare(pixels.copy()), atol=1e-3)


def test_a_network_that_prepares_images_itself_gets_them_as_they_are(network):
    model = application_backbone((96, 96), name="Tiny")
    assert "preprocessing" not in {layer.name for layer in model.layers}


def test_a_detector_is_built_by_name_and_comes_back_from_its_file(network, tmp_path):
    detector = ssd_keras.create("SSDLite_Tiny_96", ["cat"], width=0.5, finest_stride=8)
    assert detector.box_network.level_maps[:3] == ((12, 12), (6, 6), (3, 3))
    assert detector.backbone.get_layer("conv2d_1").filters == 4
    detector.save(tmp_path / "x.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    again = ssd_keras.load(tmp_path / "x.keras")
    np.testing.assert_array_equal(again(image)["classes"], detector(image)["classes"])


def flat(input_tensor, input_shape, include_top, weights):
    if input_shape[0] > 128:
        raise ValueError("Input size must be at most 128x128")
    inputs = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(inputs, layers.Conv2D(8, 8, strides=8)(input_tensor))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SSD_Tiny_96", {"width": 0.5}, "'Tiny' of keras.applications has one width"),
        ("SSD_Tiny_96", {}, "no map of stride 16"),
        ("SSD_Tiny_160", {}, "cannot be built for images of 160x160 px: .*at most 128x128"),
        ("SSD_EfficientNetB9_300", {}, "Did you mean 'SSD_EfficientNetB"),
        ("SSD_tiny_96", {}, "'tiny' is no core network"),
    ],
)
def test_what_cannot_be_had_says_why(network, monkeypatch, name, options, message):
    network.Tiny = flat
    monkeypatch.setattr(keras.applications, "Tiny", flat)
    with pytest.raises(UserError, match=message):
        ssd_keras.create(name, ["cat"], **options)


def test_a_way_of_preparing_that_is_not_known_is_refused(network):
    network.preprocess_input = lambda x: x[..., [1, 2, 0]] / 2
    with pytest.raises(UserError, match="in a way that is not known"):
        application_backbone((96, 96), name="Tiny")


# Their maps of stride 8, 16 and 32.
KERAS = {
    "EfficientNetB0": ("block4a_expand_activation", "block6a_expand_activation", "top_activation"),
    "EfficientNetV2B0": (
        *("block4a_expand_activation", "block6a_expand_activation"),
        "top_activation",
    ),
    "NASNetMobile": ("normal_concat_3", "normal_concat_8", "activation_188"),
    "ResNet50V2": ("conv3_block3_out", "conv4_block5_out", "post_relu"),
    "DenseNet121": ("pool3_conv", "pool4_conv", "relu"),
    "Xception": ("add_2", "add_11", "block14_sepconv2_act"),
    "ConvNeXtTiny": ("stride8", "stride16", "layer_normalization_1"),
    "InceptionV3": ("mixed2", "mixed7", "mixed10"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KERAS)
def test_keras_networks_give_maps_of_three_strides(name):
    maps = feature_maps(application_backbone((320, 320), name=name, finest_stride=8))
    assert tuple(m.name for m in maps) == KERAS[name]
    assert [m.stride for m in maps] == [8, 16, 32]


# Of each a side where its grids are whole.
FAMILIES = {
    "ConvNeXtTiny": 96,
    "DenseNet121": 96,
    "EfficientNetB0": 96,
    "NASNetMobile": 96,
    "VGG19": 96,
    "Xception": 96,
}


def spread(model, images):
    """Weights drawn anew, and statistics that fit them: what images are is seen to the end."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        # EfficientNet's own numbers come with its weights of ImageNet.
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            layer.adapt_mean.assign(TORCH_MEANS)
            layer.adapt_variance.assign(np.square(TORCH_DEVIATIONS))
            layer.finalize_state()
            continue
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
        for weight in layer.weights:
            if len(weight.shape) == 1:
                weight.assign_add(random.uniform(-0.3, 0.3, weight.shape))
            else:
                inputs = np.prod(weight.shape[:-1])
                values = random.standard_normal(weight.shape, "float32")
                weight.assign(values * np.sqrt(2 / inputs))
    model(images, training=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_they_compute_what_keras_computes(name, tmp_path):
    side = FAMILIES[name]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
    prepared = applications._module_of(name).preprocess_input(pixels.copy())
    theirs = getattr(keras.applications, name)(
        input_shape=(side, side, 3), include_top=False, weights=None
    )
    spread(theirs, prepared)
    theirs.save_weights(tmp_path / "x.weights.h5")
    ours = application_backbone((side, side), name=name, finest_stride=8)
    report = load_backbone_weights(
        ours, tmp_path / "x.weights.h5", adapt=applications.renumbered_weights
    )
    assert report.missing == ()
    places = [same_place(theirs, name, tensor) for name, tensor in ours.output.items()]
    expected = keras.Model(theirs.inputs, places)(prepared, training=False)
    found = ours(pixels, training=False).values()
    assert len(found) == 3
    for map_, wanted in zip(found, map(np.asarray, expected), strict=True):
        largest = np.abs(wanted).max()
        assert np.abs(wanted[0] - wanted[1]).max() > 0.1 * largest
        np.testing.assert_allclose(map_, wanted, atol=1e-4 * largest)


def same_place(theirs, name, tensor):
    """Where Keras' network makes the map that the Core Network calls so."""
    kind, _, number = name.rpartition("_")
    if name.startswith("stride"):
        return [o.output for o in theirs.operations if o.output.shape == tensor.shape][-1]
    if kind in ("activation", "add", "layer_normalization"):
        found = [layer for layer in theirs.layers if re.fullmatch(rf"{kind}(_\d+)?", layer.name)]
        return found[int(number) - 1].output
    return theirs.get_layer(name).output


@pytest.mark.slow
def test_efficientnet_sees_images_as_with_keras_imagenet_weights():
    model = application_backbone((96, 96), name="EfficientNetB0")
    before = keras.Model(model.input, model.get_layer("normalization_1").output)
    image = np.full((1, 96, 96, 3), 100.0, "float32")
    wanted = (100 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(before(image)[0, 0, 0], wanted, atol=1e-5)
