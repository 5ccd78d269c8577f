"""Keras' ImageNet weights fill every layer of a Core Network that has a counterpart."""

import functools

import keras
import numpy as np
import pytest

from ssd_keras.backbones import inception_v3, mobilenet_v2, mobilenet_v3, resnet50, resnet101, vgg16
from ssd_keras.errors import UserError
from ssd_keras.presets import CORES
from ssd_keras.weights import load_backbone_weights


def randomised(model, seed=0):
    """All weights drawn anew, such that activations keep their size."""
    random = np.random.default_rng(seed)

    def draw(layer, shape):
        if isinstance(layer, keras.layers.BatchNormalization):
            return random.uniform(0.5, 1.5, shape)
        inputs = np.prod(shape[:-1])
        return random.standard_normal(shape, "float32") / np.sqrt(inputs)

    for layer in model.layers:
        layer.set_weights([draw(layer, w.shape) for w in layer.weights])
    return model


def zeros(self, shape, dtype=None, **options):
    return keras.ops.zeros(shape, dtype or "float32")


@pytest.fixture(autouse=True)
def quick_initializers(monkeypatch):
    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", zeros)


def loaded(ours, theirs, name, tmp_path):
    core = CORES[name]
    path = tmp_path / "keras.weights.h5"
    theirs.save_weights(path)
    return load_backbone_weights(ours, path, adapt=core.adapt, optional=core.without_weights)


def outputs(model, layer, images):
    return keras.Model(model.input, model.get_layer(layer).output)(images)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


# Core, our builder, Keras' model, side of an image where the grids of both agree, layer to
# compare, how Keras wants its images.
SAME = [
    ("MobileNetV2", mobilenet_v2, "MobileNetV2", 96, "out_relu", "tf"),
    ("VGG16", vgg16, "VGG16", 64, "block5_conv3", "caffe"),
    slow("ResNet50", resnet50, "ResNet50", 64, "conv5_block3_out", "caffe"),
    slow("ResNet101", resnet101, "ResNet101", 64, "conv1_relu", "caffe"),
]


@pytest.mark.parametrize(("core", "build", "application", "size", "layer", "mode"), SAME)
def test_weights_fill_the_backbone_and_mean_the_same(
    core, build, application, size, layer, mode, tmp_path
):
    make = getattr(keras.applications, application)
    theirs = randomised(make(input_shape=(size, size, 3), include_top=False, weights=None))
    ours = build((size, size))
    report = loaded(ours, theirs, core, tmp_path)
    assert set(report.missing) == set(CORES[core].without_weights)
    assert report.unused == ()
    images = np.random.default_rng(1).uniform(0, 255, (1, size, size, 3)).astype("float32")
    prepared = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    expected = outputs(theirs, layer, prepared)
    np.testing.assert_allclose(
        outputs(ours, layer, images), expected, atol=1e-4 * np.abs(expected).max()
    )


# Core, Keras' model and its options, side of an image.
MOBILENET_V3 = [
    ("MobileNetV3Small", "MobileNetV3Small", {}, 100),
    slow("MobileNetV3Large", "MobileNetV3Large", {}, 96),
    slow("MobileNetV3LargeMinimalistic", "MobileNetV3Large", {"minimalistic": True}, 96),
    slow(
        "MobileNetV3SmallMinimalistic", "MobileNetV3Small", {"minimalistic": True, "alpha": 0.5}, 96
    ),
]


@pytest.mark.parametrize(("core", "application", "options", "size"), MOBILENET_V3)
def test_mobilenet_v3_is_keras_own(core, application, options, size, tmp_path):
    make = getattr(keras.applications, application)
    theirs = randomised(
        make(input_shape=(size, size, 3), include_top=False, weights=None, **options)
    )
    ours = CORES[core].build((size, size), width=options.get("alpha", 1.0))
    report = loaded(ours, theirs, core, tmp_path)
    assert report.missing == report.unused == ()
    images = np.random.default_rng(1).uniform(0, 255, (1, size, size, 3)).astype("float32")
    expected = theirs(images)
    np.testing.assert_allclose(
        ours(images)["conv_1_act"], expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    ("keras_2", "ours"),
    [
        ("Conv", "conv"),
        ("Conv/BatchNorm", "conv_bn"),
        ("expanded_conv/squeeze_excite/Conv_1", "expanded_conv_squeeze_excite_conv_1"),
        ("expanded_conv_10/depthwise/BatchNorm", "expanded_conv_10_depthwise_bn"),
        ("Conv_1", "conv_1"),
    ],
)
def test_mobilenet_v3_takes_the_names_of_keras_2(keras_2, ours):
    adapted = CORES["MobileNetV3Small"].adapt({keras_2: [1], "Conv_2": [2], "Logits": [3]})
    assert adapted == {ours: [1]}
    assert ours in layers_of_mobilenet_v3()


@functools.cache
def layers_of_mobilenet_v3():
    return {layer.name for layer in mobilenet_v3((96, 96), size="small").layers}


@pytest.mark.slow
def test_inception_takes_its_weights_whatever_they_are_numbered(tmp_path):
    keras.layers.Conv2D(1, 1)  # moves the counter of Keras' names on
    theirs = randomised(
        keras.applications.InceptionV3(input_shape=(96, 96, 3), include_top=False, weights=None)
    )
    ours = inception_v3((96, 96))
    report = loaded(ours, theirs, "Inception", tmp_path)
    assert report.missing == ()
    assert report.unused == ()
    assert len(report.loaded) == 2 * 94
    images = np.random.default_rng(1).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    expected = theirs.predict_on_batch(images / 127.5 - 1.0)
    np.testing.assert_allclose(
        ours.predict_on_batch(images)["mixed10"], expected, atol=1e-4 * np.abs(expected).max()
    )


def test_the_fully_connected_layers_of_vgg_become_convolutions():
    # Numbers of which no two rows or columns nearby are alike.
    fc1, fc2 = (
        np.arange(rows, dtype="float32")[:, None] % 1021 + np.arange(4096, dtype="float32") / 4096
        for rows in (25088, 4096)
    )
    bias = np.arange(4096.0)
    adapted = CORES["VGG16"].adapt({"fc1": [fc1, bias], "fc2": [fc2, bias], "predictions": []})
    kernel = fc1.reshape(7, 7, 512, 4096)
    np.testing.assert_array_equal(adapted["fc6"][0][1, 2], kernel[3, 6, :, ::4])
    np.testing.assert_array_equal(adapted["fc7"][0][0, 0], fc2[::4, ::4])
    np.testing.assert_array_equal(adapted["fc7"][1], bias[::4])
    shapes = {name: [a.shape for a in arrays] for name, arrays in adapted.items()}
    ours = vgg16((32, 32))
    for name in ("fc6", "fc7"):
        assert shapes[name] == [tuple(w.shape) for w in ours.get_layer(name).weights]


def test_weights_of_another_network_are_refused(tmp_path):
    theirs = keras.applications.VGG16(input_shape=(32, 32, 3), include_top=False, weights=None)
    with pytest.raises(UserError, match="do not fit"):
        loaded(mobilenet_v2((96, 96), width=0.35), theirs, "MobileNetV2", tmp_path)
