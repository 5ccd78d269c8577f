"""The one function that converts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.deploy import tflite_checks
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.errors import UserError

SPEC = tf.TensorSpec([1, 8, 8, 3], tf.float32, "image")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(64, 3, activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(8, 3)(x))


def images(count: int = 8) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 1, (1, 8, 8, 3)).astype(np.float32) for _ in range(count)]


def interpreter(content: bytes) -> Interpreter:
    made = Interpreter(model_content=content)
    made.allocate_tensors()
    return made


def run(content: bytes, image) -> np.ndarray:
    made = interpreter(content)
    made.set_tensor(made.get_input_details()[0]["index"], image)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


@pytest.mark.parametrize(
    ("quantization", "largest", "tolerance"),
    [("none", 28e3, 1e-6), ("float16", 16e3, 2e-3), ("dynamic", 11e3, 3e-2)],
)
def test_values_and_size(model, quantization, largest, tolerance):
    content = convert(lambda image: {"y": model(image)}, SPEC, quantization=quantization)
    assert len(content) < largest
    wanted = np.asarray(model(images()[0]))
    assert np.abs(run(content, images()[0]) - wanted).max() <= tolerance * np.abs(wanted).max()


def test_an_activation_with_a_gradient_of_its_own_converts():
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(4, 3, activation="swish")(image))
    content = convert(lambda image: {"y": model(image)}, SPEC)
    np.testing.assert_allclose(run(content, images()[0]), model(images()[0]), atol=1e-6)


def test_int8_takes_uint8_and_gives_float(model):
    """Pixels 0..255 enter as they are, so calibration sees them as they are, too."""
    pixels = [np.round(image * 255) for image in images()]
    content = convert(
        lambda image: {"y": model(image)},
        SPEC,
        quantization="int8",
        calibration=pixels,
    )
    made = interpreter(content)
    (entry,), (output,) = made.get_input_details(), made.get_output_details()
    assert entry["dtype"] == np.uint8
    assert entry["quantization"] == (1.0, 0)
    assert output["dtype"] == np.float32
    wanted = np.asarray(model(pixels[0]))
    found = run(content, pixels[0].astype(np.uint8))
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.02 * wanted.std()


def test_shapes_are_fixed_and_the_input_is_named(model):
    content = convert(lambda image: {"y": model(image)}, SPEC)
    file = TFLiteFile(content)
    assert set(file.operators()) == {"CONV_2D"}
    (entry,) = file.signature.inputs
    assert entry.name == b"image"


def test_lost_weights_are_noticed(model):
    content = convert(lambda image: {"y": image * 2.0}, SPEC)
    with pytest.raises(RuntimeError, match="weights were lost"):
        tflite_checks.check_weights(TFLiteFile(content), model, "none")


def test_nothing_is_printed(model, capfd):
    convert(lambda image: {"y": model(image)}, SPEC)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_failure_tells_what_the_converter_said():
    def function(image):
        return {"y": tf.raw_ops.Betainc(a=image, b=image, x=image)}

    with pytest.raises(RuntimeError, match=r"conversion failed[\s\S]*Betainc"):
        convert(function, SPEC)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ("int9", r"no quantization 'int9'. Did you mean 'int8'"),
        ("int8", "int8 needs calibration images"),
    ],
)
def test_wrong_quantization(model, quantization, message):
    with pytest.raises(UserError, match=message):
        convert(lambda image: {"y": model(image)}, SPEC, quantization=quantization)
