"""Shipping a detector: files that detect by themselves, and running them."""

import importlib
import warnings

from ssd_keras.deploy.calibration import calibration_images as calibration_images
from ssd_keras.deploy.converter import QUANTIZATIONS as QUANTIZATIONS
from ssd_keras.deploy.converter import convert as convert
from ssd_keras.deploy.postprocess import POSTPROCESSES as POSTPROCESSES
from ssd_keras.deploy.runtime import TFLiteDetector as TFLiteDetector
from ssd_keras.deploy.saved_model import to_saved_model as to_saved_model
from ssd_keras.deploy.targets import TARGETS as TARGETS
from ssd_keras.deploy.tflite import raw_network as raw_network
from ssd_keras.deploy.tflite import to_tflite as to_tflite
from ssd_keras.deploy.writing import write_tflite as write_tflite


def __getattr__(name: str):
    if name == "report":
        warnings.warn(
            "ssd_keras.deploy.report is now called ssd_keras.deploy.form_comparison.",
            DeprecationWarning,
            stacklevel=2,
        )
        return importlib.import_module("ssd_keras.deploy.form_comparison")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
