"""What a training rounds is what its int8 file rounds, and only that."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

import ssd_keras
from ssd_keras import zoo
from ssd_keras.float32 import float32_copy
from ssd_keras.training import suggest
from ssd_keras.training.quantize_aware import (
    make_quantize_aware,
    round_kernel,
    round_map,
    rounded_operations,
)
from ssd_keras.training.settings import RunSettings
from tests.deploy.conftest import lively_detector, run


def test_levels_of_a_kernel():
    # The largest of each channel has level 127; halves are rounded to even.
    kernel = np.array([[1.27, -0.5, 0.0], [0.004, 0.25, 0.0], [-0.996, 0.1, 0.0]], "float32")
    found = ops.convert_to_numpy(round_kernel(ops.convert_to_tensor(kernel), (-1,)))
    step = 0.5 / 127
    expected = [[1.27, -0.5, 0], [0.0, 64 * step, 0], [-1.0, 25 * step, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "levels"), [((-1,), [[127, 32], [64, 127]]), ((-2, -1), [[127, 127], [127, 127]])]
)
def test_scales_differ_along_the_axes_of_the_channels(axes, levels):
    kernel = np.array([[[2.0, 0.25], [1.0, 1.0]]], "float32")
    if axes == (-1,):
        kernel = kernel.reshape(2, 2)
    found = ops.convert_to_numpy(round_kernel(ops.convert_to_tensor(kernel), axes))
    largest = np.abs(kernel).max(axis=0, keepdims=True)
    np.testing.assert_allclose(np.round(found / largest * 127).reshape(2, 2), levels)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 256 levels from 0 to 255, and from -1 to 254.
        ([0.0, 0.4, 99.6, 255.0], [0, 0, 100, 255]),
        ([-1.0, 0.4, 99.6, 254.0], [-1, 0, 100, 254]),
        # The range always holds 0, so that edges of zeros stay exact.
        ([100.0, 101.2, 255.0], [100, 101, 255]),
        ([-255.0, -0.4], [-255, 0]),
        ([0.0, 0.0], [0, 0]),
    ],
)
def test_levels_of_a_map(values, expected):
    found = round_map(ops.convert_to_tensor(np.array(values, "float32")))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-4)


def test_half_precision_is_rounded_in_float32():
    values = np.linspace(-3, 5, 999, dtype="float32")
    half = ops.cast(values, "bfloat16")
    found = round_map(half)
    assert found.dtype == half.dtype
    exact = round_map(ops.cast(half, "float32"))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(found, "float32")),
        ops.convert_to_numpy(ops.cast(ops.cast(exact, "bfloat16"), "float32")),
    )


# === Which tensors are rounded ===


def block(x, activation, name):
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_act")(x) if activation else x


def network(activation=None) -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = block(image, activation, "a")
    y = layers.MaxPooling2D(1, name="pool")(layers.ZeroPadding2D(1, name="pad")(x))
    y = layers.Cropping2D(1, name="crop")(y)
    y = layers.Add(name="add")([x, block(y, None, "b")])
    y = layers.ReLU(name="add_relu")(y)
    return keras.Model(image, {"out": layers.Reshape((-1, 4), name="flat")(block(y, "relu", "c"))})


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", ["a_act", "b_bn", "add_relu", "c_act"]),
        ("hard_swish", ["a_bn", "a_act", "b_bn", "add_relu", "c_act"]),
        (None, ["a_bn", "b_bn", "add_relu", "c_act"]),
    ],
)
def test_what_one_operator_computes_is_rounded_once(activation, expected):
    assert list(rounded_operations(network(activation)).values()) == expected


def test_outputs_of_a_model_are_joined_in_float_and_those_of_one_inside_are_rounded():
    image = keras.Input((8, 8, 3))
    inner = keras.Model(image, block(image, "relu", "a"))
    outer = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, name="head")(inner(outer))
    model = keras.Model(outer, layers.Concatenate(name="join")([x, x]))
    assert list(rounded_operations(model).values()) == ["a_act", "head"]


def test_each_layer_of_a_detector_is_rounded_once():
    names = list(rounded_operations(zoo.create("SSD_MobileNet_96", ["a"], width=0.25)).values())
    assert names[:4] == ["normalization", "conv1_relu", "conv_dw_1_relu", "conv_pw_1_relu"]
    assert {"level0_boxes", "level5_classes"} <= set(names)
    assert len(names) == len(set(names)) == 1 + 27 + 8 + 12


# === Against the file ===

# How a file lays a kernel out: from the axes of Keras', and along which axis its scales are.
LAYOUTS = {
    "Conv2D": ((3, 0, 1, 2), 0, (-1,)),
    "DepthwiseConv2D": ((3, 0, 1, 2), 3, (-2, -1)),
    "Conv2DTranspose": ((2, 0, 1, 3), 0, (-2,)),
}


def one_layer(kind: str) -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    filters = () if kind == "DepthwiseConv2D" else (6,)
    layer = getattr(layers, kind)(*filters, kernel_size=3, padding="same", name="layer")
    x = layers.BatchNormalization(momentum=0.0)(layer(image))
    x = layers.ReLU(name="relu")(x)
    return keras.Model(image, {"out": layers.MaxPooling2D(1)(x)})


def int8_file(model: keras.Model, pixels: np.ndarray) -> bytes:
    import tensorflow as tf

    from ssd_keras.deploy.converter import convert

    return convert(
        lambda image: dict(model(image, training=False)),
        tf.TensorSpec(pixels.shape, tf.float32, "image"),
        quantization="int8",
        calibration=[pixels.astype("float32")],
    )


def kernel_levels(content: bytes) -> np.ndarray:
    """The only constant of four axes in an int8 file."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    scaled = [d for d in interpreter.get_tensor_details() if len(d["shape"]) == 4]
    (found,) = [d for d in scaled if len(d["quantization_parameters"]["scales"]) > 1]
    return interpreter.get_tensor(found["index"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYOUTS)
def test_kernels_and_maps_have_the_levels_of_the_int8_file(kind):
    """Kernels exactly, with a batch normalisation folded in there; maps to one level at most."""
    keras.utils.set_random_seed(0)
    model = one_layer(kind)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3))
    model(pixels.astype("float32"), training=True)
    content = int8_file(model, pixels)
    in_file = run(content, image=pixels.astype("uint8"))["out"]
    make_quantize_aware(model)
    ours = ops.convert_to_numpy(model(pixels.astype("float32"))["out"])
    level = ours.max() / 255
    assert np.abs(ours - in_file).max() <= 1.05 * level
    assert np.mean(np.abs(ours - in_file) < 0.5 * level) > 0.8

    order, channels, axes = LAYOUTS[kind]
    kernel = ops.convert_to_numpy(round_kernel(model.get_layer("layer").kernel.value, axes))
    kernel = np.transpose(kernel, order)
    others = tuple(axis for axis in range(4) if axis != channels)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / 127
    np.testing.assert_array_equal(kernel_levels(content), np.round(kernel / scale))


# === In training ===


def test_layers_weights_and_copies_stay_as_they_are():
    detector = float32_copy(lively_detector())
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    config, weights = detector.get_config(), detector.get_weights()
    exact = detector(images, training=False)["classes"]
    make_quantize_aware(detector)
    rounded = detector(images, training=False)["classes"]
    assert np.abs(rounded - exact).max() > 0.01
    assert detector.get_config() == config
    np.testing.assert_array_equal(float32_copy(detector)(images, training=False)["classes"], exact)
    for now, before in zip(detector.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)


def test_batch_normalisation_learns_as_ever():
    detector = float32_copy(lively_detector())
    make_quantize_aware(detector)
    norm = detector.backbone.get_layer("conv1_bn")
    before = ops.convert_to_numpy(norm.moving_mean) + 0.0
    detector(np.full((2, 96, 96, 3), 255.0, "float32"), training=False)
    np.testing.assert_array_equal(norm.moving_mean, before)
    norm.momentum = 0.5
    detector(np.full((2, 96, 96, 3), 255.0, "float32"), training=True)
    assert np.abs(ops.convert_to_numpy(norm.moving_mean) - before).max() > 1e-3


@pytest.mark.slow
def test_a_network_that_int8_spoils_learns_to_live_with_it():
    """Of a line fitted with one large and one small weight, int8 at first keeps only the large."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    x = rng.uniform(-1, 1, (256, 1, 1, 2)).astype("float32")
    y = x[..., :1] + 0.3 * x[..., 1:]
    image = keras.Input((1, 1, 2))
    hidden = layers.Conv2D(2, 1, use_bias=False, name="hidden")(image)
    model = keras.Model(image, layers.Conv2D(1, 1, use_bias=False, name="out")(hidden))
    # Exact in float; the first map's range is taken by its first channel alone.
    model.get_layer("hidden").kernel.assign(np.array([[[[400.0, 0.0], [0.0, 0.3]]]]))
    model.get_layer("out").kernel.assign(np.array([[[[1 / 400], [1.0]]]]))
    assert np.abs(model.predict(x, verbose=0) - y).max() < 1e-5
    make_quantize_aware(model)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=40, batch_size=64, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.1 * before


@pytest.mark.parametrize(
    ("given", "epochs", "rate"),
    [
        ({"weights": "runs/photos"}, 20, 1e-3),
        ({"weights": "runs/photos", "quantize_aware": True}, 4, 1e-4),
        ({"weights": "runs/photos", "quantize_aware": True, "epochs": 7}, 7, 1e-4),
        ({"weights": "runs/photos", "quantize_aware": True, "learning_rate": 0.01}, 4, 0.01),
        ({"backbone_weights": "imagenet", "quantize_aware": True}, 20, 1e-3),
    ],
)
def test_a_run_that_goes_on_with_a_detector_is_short_and_its_rate_low(given, epochs, rate):
    found = suggest("SSD_MobileNet_300", 300, {"train_data": "voc:photos", **given})
    assert found.quantize_aware == given.get("quantize_aware", False)
    assert (found.recipe.epochs, found.recipe.learning_rate) == (epochs, pytest.approx(rate))


def test_runs_that_were_started_before_go_on():
    assert "quantize_aware" not in RunSettings("SSD_MobileNet_96", "shapes#train").as_stored()


@pytest.mark.slow
def test_a_run_of_it_ends_with_a_detector_that_computes_in_float(tmp_path):
    options = {"width": 0.25, "epochs": 2, "batch_size": 4, "batch_norm_batches": 0}
    spec = "shapes#train,count=8,size=96"
    trained = {}
    for aware in (False, True):
        trained[aware] = ssd_keras.train(
            spec,
            run_dir=tmp_path / str(aware),
            model="SSD_MobileNet_96",
            quantize_aware=aware,
            **options,
        )
    images = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    loaded = ssd_keras.load(tmp_path / "True")
    np.testing.assert_array_equal(loaded(images)["boxes"], trained[True](images)["boxes"])
    assert any(
        not np.array_equal(ours, theirs)
        for ours, theirs in zip(
            trained[True].get_weights(), trained[False].get_weights(), strict=True
        )
    )
