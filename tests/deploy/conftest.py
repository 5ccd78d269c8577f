"""A small detector with lively outputs, and the files made from it, each made once a test run."""

import functools

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


@functools.cache
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


@functools.cache
def raw(quantization: str) -> bytes:
    """The converted network alone."""
    return deploy.raw_network(
        lively_detector(),
        quantization=quantization,
        calibration_images=pictures(16) if quantization == "int8" else None,
    )


def assemble(kind: str, **changes) -> bytes:
    """The file with this post-processing and these settings."""
    options = {
        "quantization": "none",
        "postprocess": kind,
        "max_detections": 200,
        "score_threshold": 0.01,
        "iou_threshold": 0.45,
        **changes,
    }
    made = lively_detector()
    return tflite.assemble(
        raw(options["quantization"]),
        tflite.tail(made, options),
        made,
        tflite.model_card(made, options, name="test"),
    )


@pytest.fixture(scope="session")
def detector():
    return lively_detector()


@pytest.fixture(scope="session")
def raw_int8():
    return raw("int8")


@pytest.fixture(scope="session")
def assembled():
    """`assembled("op", max_detections=10)`: the float32 file with that post-processing."""
    return assemble


@pytest.fixture(scope="session")
def float_file():
    return assemble("builtin")


@pytest.fixture(scope="session")
def int8_file():
    return assemble("builtin", quantization="int8")
