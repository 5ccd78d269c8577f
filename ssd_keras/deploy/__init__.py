"""Shipping a detector: files that detect by themselves, and running them."""

from ssd_keras.deploy.calibration import calibration_images as calibration_images
from ssd_keras.deploy.converter import QUANTIZATIONS as QUANTIZATIONS
from ssd_keras.deploy.converter import convert as convert
from ssd_keras.deploy.postprocess import POSTPROCESSES as POSTPROCESSES
from ssd_keras.deploy.runtime import TFLiteDetector as TFLiteDetector
from ssd_keras.deploy.saved_model import to_saved_model as to_saved_model
from ssd_keras.deploy.tflite import raw_network as raw_network
from ssd_keras.deploy.tflite import to_tflite as to_tflite
