"""The parts that box networks share."""

import keras
import numpy as np
import pytest
from keras import layers

from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.blocks import Extra


@pytest.mark.parametrize(
    ("extra", "before", "after"),
    [
        (Extra(8, 8), 19, 10),
        (Extra(8, 8), 10, 5),
        (Extra(8, 8, kernel=3, stride=2, padding=1), 19, 10),
        (Extra(8, 8, kernel=3, stride=2, padding=1), 10, 5),
        (Extra(8, 8, kernel=3, stride=1, padding="valid"), 5, 3),
        (Extra(8, 8, kernel=4, stride=1, padding=1), 2, 1),
        (Extra(8, 8, kernel=2, stride=2, padding="valid"), 20, 10),
        (Extra(8, 8, kernel=2, stride=2, padding="valid"), 19, 9),
    ],
)
@pytest.mark.parametrize("block", blocks.EXTRA_BLOCKS)
def test_an_extra_level_has_the_size_it_says(extra, before, after, block):
    assert extra.size(before) == after
    x = keras.Input((before, before, 4))
    level = blocks.extra_level(x, extra, block, "relu", "extra")
    assert level.shape == (None, after, after, 8)


@pytest.mark.parametrize("block", ["conv", "conv_bn", "separable"])
def test_one_cell_is_not_strided_which_gives_the_same(block):
    """TensorFlow's bfloat16 gradient of a strided convolution of one cell holds no numbers."""
    keras.utils.set_random_seed(0)
    x = keras.Input((1, 1, 4))
    model = keras.Model(x, blocks.extra_level(x, Extra(8, 8), block, "relu", "extra"))
    (wide,) = [layer for layer in model.layers if getattr(layer, "kernel_size", (1, 1)) == (3, 3)]
    assert wide.strides == (1, 1)
    cell = np.random.default_rng(0).normal(size=(2, 1, 1, 4)).astype("float32")
    one = model(cell)
    wide.strides = (2, 2)
    np.testing.assert_allclose(model(cell), one, rtol=1e-6)


# Specification, section 0, rule 4: the sizes of DSSD321 and DSSD513; and of other detectors.
@pytest.mark.parametrize(
    ("before", "after", "kernel", "stride"),
    [
        (1, 3, 3, 1),
        (3, 5, 3, 1),
        (5, 10, 2, 2),
        (10, 20, 2, 2),
        (20, 40, 2, 2),
        (1, 2, 2, 1),
        (2, 4, 2, 2),
        (32, 64, 2, 2),
        (10, 19, 3, 2),
        (9, 19, 3, 2),
        (29, 60, 4, 2),
    ],
)
def test_the_deconvolution_hits_the_size_exactly(before, after, kernel, stride):
    assert blocks.deconvolution_window(before, after)[:2] == (kernel, stride)
    coarse, fine = keras.Input((before, before, 6)), keras.Input((after, after, 3))
    fused = blocks.fuse(coarse, fine, 8, "product", "deconvolution", "relu", "f")
    assert fused.shape == (None, after, after, 8)
    model = keras.Model([coarse, fine], fused)
    inputs = [np.ones((1, before, before, 6)), np.ones((1, after, after, 3))]
    assert model(inputs).shape == (1, after, after, 8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((3, 2), (5, 3)),
        ((5, 3), (10, 6)),
        ((5, 2), (9, 3)),
        ((6, 5), (11, 10)),
        ((5, 6), (10, 11)),
        ((6, 1), (8, 3)),
        ((4, 1), (5, 2)),
    ],
)
def test_the_deconvolution_hits_rectangles_and_keeps_its_place(before, after):
    """Of a map that is one in a corner cell, the values around lie in that corner."""
    coarse, fine = keras.Input((*before, 1)), keras.Input((*after, 1))
    model = keras.Model(
        [coarse, fine], blocks.fuse(coarse, fine, 1, "sum", "deconvolution", "relu", "f")
    )
    assert model.output.shape == (None, *after, 1)
    enlarged = keras.Model(coarse, model.get_layer("f_up").input)
    layer = model.get_layer("f_deconvolution")
    layer.set_weights([np.ones_like(layer.kernel), np.zeros_like(layer.bias)])
    for corner in ((0, 0), (-1, -1), (0, -1)):
        lit = np.zeros((1, *before, 1), "float32")
        lit[0, corner[0], corner[1]] = 1
        found = np.asarray(enlarged(lit))[0, ..., 0]
        assert found[corner] == 1
        ys, xs = np.nonzero(found)
        reach = [kernel - 1 for kernel in layer.kernel_size]
        assert np.ptp(ys) <= reach[0]
        assert np.ptp(xs) <= reach[1]


@pytest.mark.parametrize(("before", "after"), [(4, 11), (10, 18), (5, 5)])
def test_sizes_that_no_deconvolution_joins_are_named(before, after):
    with pytest.raises(ValueError, match=f"makes {after} cells of {before}.*bilinear"):
        blocks.deconvolution_window(before, after)


@pytest.mark.parametrize("fusion", ["product", "sum"])
def test_a_coarse_map_that_says_nothing_lets_the_fine_one_through(fusion):
    keras.utils.set_random_seed(0)
    coarse, fine = keras.Input((5, 5, 6)), keras.Input((10, 10, 4))
    fused = blocks.fuse(coarse, fine, 8, fusion, "deconvolution", "relu", "f")
    model = keras.Model([coarse, fine], fused)
    skip = keras.Model([coarse, fine], model.get_layer("f_skip2_bn").output)
    rng = np.random.default_rng(0)
    given = [np.zeros((2, 5, 5, 6), "float32"), rng.normal(size=(2, 10, 10, 4)).astype("float32")]
    expected = np.maximum(skip(given), 0)
    assert expected.any()
    np.testing.assert_allclose(model(given), expected, atol=1e-6)


@pytest.mark.parametrize(("fusion", "join"), [("product", np.multiply), ("sum", np.add)])
def test_fusion_joins_the_two_branches_element_by_element(fusion, join):
    coarse, fine = keras.Input((5, 5, 6)), keras.Input((10, 10, 3))
    fused = blocks.fuse(coarse, fine, 8, fusion, "deconvolution", "relu", "f")
    model = keras.Model([coarse, fine], fused)
    branches = [model.get_layer(n).output for n in ("f_up_bn", "f_skip2_bn")]
    model = keras.Model(model.inputs, [*branches, fused])
    random = np.random.default_rng(0)
    up, skip, result = model([random.normal(size=(2, 5, 5, 6)), random.normal(size=(2, 10, 10, 3))])
    expected = np.maximum(join(np.asarray(up), np.asarray(skip)), 0)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert expected.max() > 0


def test_fusion_by_skip_weighs_both_branches():
    coarse, fine = keras.Input((5, 5, 6)), keras.Input((10, 10, 3))
    fused = blocks.fuse(coarse, fine, 8, "skip", "deconvolution", "relu", "f")
    assert fused.shape == (None, 10, 10, 8)
    model = keras.Model([coarse, fine], fused)
    branches = [model.get_layer(n).output for n in ("f_up_bn", "f_skip2_bn")]
    (kernel,) = model.get_layer("f_skip").get_weights()
    assert kernel.shape == (1, 1, 16, 8)
    model = keras.Model(model.inputs, [*branches, fused])
    random = np.random.default_rng(0)
    up, skip, result = model([random.normal(size=(2, 5, 5, 6)), random.normal(size=(2, 10, 10, 3))])
    weighed = np.asarray(up) @ kernel[0, 0, :8] + np.asarray(skip) @ kernel[0, 0, 8:]
    # A fresh batch norm divides by the root of 1 and its epsilon.
    epsilon = 1e-3
    np.testing.assert_allclose(result, np.maximum(weighed, 0) / (1 + epsilon) ** 0.5, atol=1e-5)


def test_bilinear_upsampling_learns_less():
    coarse, fine = keras.Input((5, 5, 6)), keras.Input((13, 13, 3))
    fused = blocks.fuse(coarse, fine, 8, "sum", "bilinear", "relu", "f")
    model = keras.Model([coarse, fine], fused)
    assert fused.shape == (None, 13, 13, 8)
    assert not [x for x in model.layers if isinstance(x, layers.Conv2DTranspose)]


@pytest.mark.parametrize(
    ("kind", "channels", "convolutions"), [("a", 12, 0), ("b", 12, 3), ("c", 24, 4), ("d", 24, 8)]
)
def test_prediction_modules(kind, channels, convolutions):
    x = keras.Input((7, 7, 12))
    y = blocks.prediction_module(x, kind, (8, 24), "relu", "module")
    assert y.shape == (None, 7, 7, channels)
    # Keras 3.12 makes no model of an input alone, which is what module "a" leaves.
    model = keras.Model(x, layers.Identity()(y))
    found = [n for n in model.layers if isinstance(n, layers.Conv2D)]
    assert len(found) == convolutions


def test_module_b_is_the_map_itself_where_its_branch_is_zero():
    x = keras.Input((4, 4, 6))
    model = keras.Model(x, blocks.prediction_module(x, "b", (3, 9), "relu", "module"))
    last = model.get_layer("module_3")
    last.set_weights([0 * w for w in last.get_weights()])
    values = np.random.default_rng(0).uniform(0, 1, (1, 4, 4, 6)).astype("float32")
    np.testing.assert_allclose(model(values), values, atol=1e-6)
