"""MobileNet v1 as a Core Network."""

import keras
import numpy as np
import pytest
from PIL import Image

from ssd_keras.backbones import feature_maps, mobilenet
from ssd_keras.weights import load_backbone_weights, load_by_name, read_keras_file


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [
        (300, 1.0, [("conv_pw_11_relu", 19, 16, 512), ("conv_pw_13_relu", 10, 32, 1024)]),
        (300, 0.25, [("conv_pw_11_relu", 19, 16, 128), ("conv_pw_13_relu", 10, 32, 256)]),
        (224, 0.5, [("conv_pw_11_relu", 14, 16, 256), ("conv_pw_13_relu", 7, 32, 512)]),
    ],
)
def test_maps_have_the_grids_of_the_published_detectors(size, width, expected):
    maps = feature_maps(mobilenet((size, size), width=width))
    assert [(m.name, m.size[0], m.stride, m.channels) for m in maps] == expected


def test_is_keras_mobilenet_at_even_sizes():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    theirs = keras.applications.MobileNet((64, 64, 3), alpha=0.25, include_top=False, weights=None)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([random.uniform(0.5, 1.5, shape) for _ in range(4)])
    ours = mobilenet((64, 64), width=0.25)
    report = load_by_name(
        ours, {layer.name: layer.get_weights() for layer in theirs.layers if layer.weights}
    )
    assert report.missing == ()
    assert report.unused == ()
    images = random.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(
        ours(images)["conv_pw_13_relu"], theirs(images / 127.5 - 1.0), atol=2e-5
    )


ZEBRA, PIZZA = 340, 963


@pytest.mark.parametrize(
    ("photograph", "top1"),
    [
        ("000000001818.jpg", ZEBRA),
        ("000000244592.jpg", ZEBRA),
        ("000000160012.jpg", PIZZA),
        ("000000092660.jpg", PIZZA),
        ("000000047112.jpg", PIZZA),
    ],
)
def test_published_weights_name_a_photograph(shared, published, photograph, top1):
    backbone, kernel, bias = published
    file = shared(f"data/coco_subset/val/images/{photograph}")
    image = np.asarray(Image.open(file).convert("RGB").resize((224, 224)), "float32")
    features = keras.ops.convert_to_numpy(backbone(image[None])["conv_pw_13_relu"])
    assert np.argmax(features.mean(axis=(0, 1, 2)) @ kernel[0, 0] + bias) == top1


@pytest.fixture(scope="module")
def published(shared):
    """The backbone with published weights, and the classifier of the same file."""
    path = shared("weights/mobilenet_v1_1.0_224_imagenet.weights.h5")
    backbone = mobilenet((224, 224))
    report = load_backbone_weights(backbone, path)
    assert len(report.loaded) == 54
    assert report.unused == ("conv_preds",)
    return backbone, *read_keras_file(path)["conv_preds"]
