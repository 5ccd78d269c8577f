"""Weights that others trained: reading their files and giving them to our layers."""

from ssd_keras.weights.backbone_weights import load_backbone_weights as load_backbone_weights
from ssd_keras.weights.importing import import_detector as import_detector
from ssd_keras.weights.keras_files import LoadReport as LoadReport
from ssd_keras.weights.keras_files import load_by_name as load_by_name
from ssd_keras.weights.keras_files import read_keras_file as read_keras_file
