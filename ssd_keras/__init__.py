"""Single-shot object detection in Keras 3, from annotated images to a .tflite file."""

from ssd_keras.detections import Detections as Detections
from ssd_keras.detector import Detector as Detector
from ssd_keras.errors import UserError as UserError
from ssd_keras.training.one_line import train as train
from ssd_keras.zoo import create as create
from ssd_keras.zoo import list_models as list_models
from ssd_keras.zoo import list_weights as list_weights
from ssd_keras.zoo import load as load

__version__ = "0.1.0"
