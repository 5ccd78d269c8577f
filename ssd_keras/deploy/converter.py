"""The converter behind one function; the only module that touches `tf.lite`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ssd_keras.deploy.terminal import hide_output
from ssd_keras.errors import UserError, unknown
from ssd_keras.files import disk_errors

# The name that compilers for NPUs look for.
SIGNATURE = "serving_default"
QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
# Bytes of weights from which on it is worth to look for memory that can be given back: that takes
# as long as all of the conversion of a small network or of post-processing, which has none.
LARGE = 2**24


def convert(
    function: Callable,
    spec: tf.TensorSpec | Iterable[tf.TensorSpec],
    *,
    quantization: str = "none",
    calibration: Iterable[np.ndarray] | None = None,
    allow_custom_ops: bool = False,
) -> bytes:
    """Turns a function of tensors into a .tflite file with one signature.

    Variables that the function uses become constants first. Left as they are, those of a Keras
    model would be missing from the file without a word; besides, saving and restoring each takes
    most of the time of a conversion.

    Args:
        function: called with one tensor per spec, returns a dict of tensors.
        spec: named specs with fixed shapes; an unnamed input would be called `args_0`, and an open
            batch would leave shape arithmetic in the file.
        quantization: "none", "float16" (weights), "dynamic" (int8 weights, float activations) or
            "int8" (weights and activations; uint8 input, float outputs).
        calibration: for int8: float32 arrays like the (only) input, from which the ranges of the
            activations are taken.
        allow_custom_ops: lets operators through that are not built into the runtime.

    Raises:
        UserError: an unknown quantization, or int8 without calibration data.
        RuntimeError: the converter failed; holds the end of what it printed.
    """
    specs = (spec,) if isinstance(spec, tf.TensorSpec) else tuple(spec)
    check_quantization(quantization)
    if quantization == "int8" and calibration is None:
        raise UserError("int8 needs calibration images, from which it learns the value ranges.")
    require_tensorflow()
    with _scratch_folder() as folder, quiet():
        traced = tf.function(function, input_signature=specs)
        _save(traced, folder)
        _release_memory(traced)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.allow_custom_ops = allow_custom_ops
        _set_quantization(converter, quantization, calibration, specs[0].name)
        return converter.convert()


@contextlib.contextmanager
def _scratch_folder() -> Iterator[str]:
    """A folder for what is needed on the way; a full disk is named with the way out."""
    advice = " Set TMPDIR to a folder on a disk with room for several times the network."
    with (
        disk_errors(tempfile.tempdir or "the folder for temporary files", advice),
        tempfile.TemporaryDirectory() as folder,
        disk_errors(Path(folder) / "saved_model", advice),
    ):
        yield folder


def _save(function, folder: str):
    """Writes a SavedModel with one signature and no variables."""
    module = tf.Module()
    module.serve = _freeze(function)
    _release_memory(function)
    # Keras' swish has a gradient of its own, which cannot be saved and is of no use here.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, {SIGNATURE: module.serve}, options)


def _release_memory(function):
    """Gives back what earlier steps held: graphs hold large weights several times over."""
    weights = function.get_concrete_function().variables
    if sum(weight.shape.num_elements() * weight.dtype.size for weight in weights) < LARGE:
        return
    gc.collect()
    # glibc keeps what is freed inside its heaps, here several times the size of the network.
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _freeze(function):
    """The same `tf.function` with constants in the place of variables."""
    concrete = function.get_concrete_function()
    if not any(tensor.dtype == tf.resource for tensor in concrete.captured_inputs):
        # As it is: freezing would look into functions that stand for custom operators.
        return function
    frozen = convert_variables_to_constants_v2(concrete)
    names = sorted(concrete.structured_outputs)
    return tf.function(
        lambda *tensors: dict(zip(names, frozen(*tensors), strict=True)),
        input_signature=function.input_signature,
    )


def require_tensorflow():
    """Raises a UserError if Keras runs on another backend than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Export needs Keras' TensorFlow backend, but '{keras.backend.backend()}' is active: "
            "set KERAS_BACKEND=tensorflow; weights trained with another backend load there."
        )


def check_quantization(name: str):
    """Raises a UserError if this is none of `QUANTIZATIONS`."""
    if name not in QUANTIZATIONS:
        raise unknown("quantization", name, QUANTIZATIONS)


def _set_quantization(converter, quantization: str, calibration, input_name: str):
    if quantization == "none":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantization == "int8":
        converter.representative_dataset = lambda: (
            {input_name: np.asarray(array, np.float32)} for array in calibration
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what TensorFlow prints while converting; a failure shows its end."""
    level = tf.get_logger().level
    tf.get_logger().setLevel("ERROR")
    try:
        with hide_output(), warnings.catch_warnings():
            # The converter's own calibration uses the interpreter that it advises against.
            warnings.simplefilter("ignore")
            yield
    except RuntimeError as error:
        raise RuntimeError(f"The conversion failed: {error}") from error
    finally:
        tf.get_logger().setLevel(level)
