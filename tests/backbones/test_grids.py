"""Every Core Network has the grids of the published detectors, and a contract."""

import functools

import keras
import numpy as np
import pytest

from ssd_keras import backbones
from ssd_keras.backbones import feature_maps
from tests import tiny


@functools.cache
def maps_of(build, size, **options):
    with tiny.shallow_resnet101():
        return feature_maps(getattr(backbones, build)((size, size), width=0.25, **options))


@pytest.mark.parametrize(
    ("build", "size", "expected"),
    [
        ("vgg16", 300, [("block4_conv3_norm", 38, 8, 128), ("fc7", 19, 16, 256)]),
        ("vgg16", 512, [("block4_conv3_norm", 64, 8, 128), ("fc7", 32, 16, 256)]),
        ("mobilenet_v2", 300, [("block_13_expand_relu", 19, 16, 144), ("out_relu", 10, 32, 1280)]),
        (
            "mobilenet_v3",
            320,
            [("expanded_conv_12_expand_act", 20, 16, 192), ("conv_1_act", 10, 32, 240)],
        ),
        ("mobilenet_v4", 300, [("blocks_2_5_add", 19, 16, 24), ("blocks_4_0_act", 10, 32, 240)]),
        (
            "inception_v3",
            500,
            [("mixed2", 60, 8, 72), ("mixed7", 29, 16, 192), ("mixed10", 14, 32, 512)],
        ),
        ("resnet50", 300, [("conv4_block6_out", 19, 16, 256), ("conv5_block3_out", 10, 32, 512)]),
        ("resnet101", 321, [("conv3_block4_out", 40, 8, 128), ("conv5_block3_out", 20, 16, 512)]),
        pytest.param(
            "resnet101",
            513,
            [("conv3_block4_out", 64, 8, 128), ("conv5_block3_out", 32, 16, 512)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_maps_have_the_grids_of_the_published_detectors(build, size, expected):
    maps = maps_of(build, size)
    assert [(m.name, m.size[0], m.stride, m.channels) for m in maps] == expected


@pytest.mark.parametrize(
    ("build", "finest"),
    [
        ("mobilenet", ("conv_pw_5_relu", 38, 8, 64)),
        ("mobilenet_v2", ("block_6_expand_relu", 38, 8, 48)),
        ("mobilenet_v3", ("expanded_conv_6_expand_act", 38, 8, 96)),
        ("mobilenet_v4", ("blocks_1_1_act", 38, 8, 16)),
        ("inception_v2", ("Mixed_3c", 38, 8, 80)),
        ("mobiledet", ("IBN_4_add", 38, 8, 8)),
        ("resnet50", ("conv3_block4_out", 38, 8, 128)),
    ],
)
def test_a_finer_map_comes_before_the_others(build, finest):
    usual, maps = maps_of(build, 300), maps_of(build, 300, finest_stride=8)
    assert (maps[0].name, maps[0].size[0], maps[0].stride, maps[0].channels) == finest
    assert maps[1:] == usual


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (8, [("block_5_add", 40, 8, 8), ("block_12_add", 20, 16, 24), ("out_relu", 10, 32, 1280)]),
        (16, [("block_12_add", 20, 16, 24), ("out_relu", 10, 32, 1280)]),
    ],
)
def test_the_ends_of_the_stages_are_narrower(stride, expected):
    build = backbones.mobilenet_v2
    maps = feature_maps(build((320, 320), width=0.25, finest_stride=stride, stage_ends=True))
    assert [(m.name, m.size[0], m.stride, m.channels) for m in maps] == expected


@pytest.mark.parametrize("size", [(160, 512), (512, 160), (320, 320)])
def test_strides_of_networks_without_padding_are_the_same_either_way(size):
    maps = feature_maps(backbones.inception_v3(size, width=0.25))
    assert [m.stride for m in maps] == [8, 16, 32]


@pytest.mark.parametrize("build", ["vgg16", "resnet50"])
def test_caffe_models_see_bgr_without_the_mean(build):
    images = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    seen = getattr(backbones, build)((64, 64), width=0.25).get_layer("normalization")(images)
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode="caffe")
    np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_l2_normalisation_gives_each_cell_the_length_of_its_scale():
    layer = backbones.normalization.L2Normalization()
    x = np.random.default_rng(1).normal(0, 300, (2, 3, 3, 512)).astype("float32")
    x[0, 0, 0] = 0.0
    lengths = np.linalg.norm(keras.ops.convert_to_numpy(layer(x)), axis=-1)
    assert lengths[0, 0, 0] == 0.0
    np.testing.assert_allclose(np.delete(lengths.ravel(), 0), 20.0, rtol=1e-5)


def test_l2_normalisation_is_exact_where_float16_would_overflow():
    layer = backbones.normalization.L2Normalization(dtype="float32")
    x = np.full((1, 1, 1, 512), 60_000.0, "float16")
    np.testing.assert_allclose(layer(x), 20.0 / np.sqrt(512), rtol=1e-5)
