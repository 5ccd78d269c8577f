"""A small detector with lively outputs, and the files made from it."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras import deploy
from ssd_keras.deploy import tflite
from ssd_keras.deploy.images import resize

CLASSES = ("cat", "dog", "bird")


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random coloured patches, uint8 `[120, 160, 3]`."""
    rng = np.random.default_rng(seed)
    return [
        np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        for _ in range(count)
    ]


def lively_detector() -> ssd_keras.Detector:
    """A detector with random weights whose scores range from 0 to 1."""
    keras.utils.set_random_seed(0)
    detector = ssd_keras.create("SSD_MobileNet_96", CLASSES, width=0.25)
    normalisations = [
        layer
        for layer in (*detector.layers, *detector.backbone.layers)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    # With batch statistics of real inputs, activations neither vanish nor explode.
    for layer in normalisations:
        layer.momentum = 0.0
    detector(
        np.stack([resize(image, detector.image_size) for image in pictures(16)]), training=True
    )
    for weight in detector.weights:
        if "_classes" in weight.path and "kernel" in weight.path:
            weight.assign(weight * 10)
    return detector


@pytest.fixture(scope="session")
def detector():
    return lively_detector()


@pytest.fixture(scope="session")
def raw_float(detector):
    return deploy.raw_network(detector)


@pytest.fixture(scope="session")
def raw_int8(detector):
    return deploy.raw_network(detector, quantization="int8", calibration_images=pictures(16))


@pytest.fixture(scope="session")
def assembled(detector, raw_float, raw_int8):
    """`assembled("op", max_detections=10)`: the float32 file with that post-processing."""

    def build(kind: str, **changes) -> bytes:
        options = {
            "quantization": "none",
            "postprocess": kind,
            "max_detections": 200,
            "score_threshold": 0.01,
            "iou_threshold": 0.45,
            **changes,
        }
        return tflite.assemble(
            raw_int8 if options["quantization"] == "int8" else raw_float,
            tflite.tail(detector, options),
            detector,
            tflite.model_card(detector, options, name="test"),
        )

    return build


@pytest.fixture(scope="session")
def float_file(assembled):
    return assembled("builtin")


@pytest.fixture(scope="session")
def int8_file(assembled):
    return assembled("builtin", quantization="int8")
