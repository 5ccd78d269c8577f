"""A small detector with lively outputs, and the files made from it, each made once a test run."""

import functools
import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import ssd_keras
from ssd_keras import deploy
from ssd_keras.boxes import Suppression
from ssd_keras.deploy import tflite
from ssd_keras.deploy.decoding import decoding_of
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.resizing import resize
from ssd_keras.traversal import leaf_layers
from tests.conftest import ROOT
from tests.temporary import once

CLASSES = ("cat", "dog", "bird")
WEAK_BRANCH = 0.25
MEDIAPIPE_SCRIPT = Path(__file__).with_name("mediapipe_detect.py")
# The last batch norm of a bottleneck; MobileNet's conv_pw_3_bn is none.
RESIDUAL_BRANCH_END = re.compile(r"(block|extra|module)\w*_3_bn$")


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random coloured patches, uint8 `[120, 160, 3]`."""
    rng = np.random.default_rng(seed)
    return [
        np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        for _ in range(count)
    ]


@functools.cache
def lively_detector() -> ssd_keras.Detector:
    """A detector with random weights whose scores range from 0 to 1, the same in all workers."""
    keras.utils.set_random_seed(0)
    detector = ssd_keras.create("SSD_MobileNet_96", CLASSES, width=0.25)
    with np.load(io.BytesIO(once("lively", lambda: _weights(enliven(detector))))) as weights:
        detector.set_weights(list(weights.values()))
    return detector


# Of the input of the rectangles, other than those of the pictures that they look at.
RECTANGLE = "SSD_MobileNet_96x160"
WAYS_OF_RECTANGLES = ("stretch", "letterbox")


def portrait_and_landscape() -> list[np.ndarray]:
    """Two pictures, uint8 `[160, 120, 3]` and `[120, 160, 3]`."""
    first, second = pictures(2, seed=9)
    return [np.ascontiguousarray(first.transpose(1, 0, 2)), second]


@functools.cache
def rectangle(way: str) -> ssd_keras.Detector:
    """A detector of an input of 96 x 160 with random weights, the same for each way of resizing."""
    keras.utils.set_random_seed(0)
    detector = ssd_keras.create(RECTANGLE, CLASSES, width=0.25, resize=way)
    with np.load(io.BytesIO(once("rectangle", lambda: _weights(enliven(detector))))) as weights:
        detector.set_weights(list(weights.values()))
    return detector


@functools.cache
def rectangle_file(way: str) -> bytes:
    """Its float32 file, made once a test run."""
    return once(f"rectangle-{way}", lambda: deploy.to_tflite(rectangle(way), score_threshold=0.3))


def _weights(detector: ssd_keras.Detector) -> bytes:
    content = io.BytesIO()
    np.savez(content, *detector.get_weights())
    return content.getvalue()


def enliven(detector: ssd_keras.Detector, images: list | None = None) -> ssd_keras.Detector:
    """Lets activations neither vanish nor explode, and scores range from 0 to 1.

    Residual branches are made weak against their shortcuts, as training leaves them; at equal
    strength a hundred layers turn rounding into differences of some per cent.
    """
    images = np.stack([resize(image, detector.image_size) for image in images or pictures(16)])
    for layer in leaf_layers(detector):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            if RESIDUAL_BRANCH_END.search(layer.name):
                layer.gamma.assign(layer.gamma * WEAK_BRANCH)
    detector(images, training=True)
    predictions = detector(images)
    for name, spread in (("boxes", 0.4), ("classes", 1.0)):
        factor = spread / float(np.std(predictions[name]))
        for layer in detector.box_network.class_layers:
            head = layer.replace("_classes", f"_{name}")
            # YOLO predicts all of it by one layer.
            if head != "prediction" or name == "classes":
                kernel = detector.get_layer(head).kernel
                kernel.assign(kernel * factor)
    return detector


def python_with_mediapipe() -> str:
    """An interpreter that has mediapipe: this one, or that of a folder beside the project."""
    if importlib.util.find_spec("mediapipe") is not None:
        return sys.executable
    beside = ROOT.parent / "venv_mp" / "bin" / "python"
    if not beside.exists():
        pytest.skip("needs mediapipe: pip install mediapipe")
    return str(beside)


def mediapipe_found(images: Path, *models: Path) -> list[list[dict]]:
    """What MediaPipe finds with each model in each image of a .npy, in this order."""
    done = subprocess.run(
        [python_with_mediapipe(), MEDIAPIPE_SCRIPT, images, *models],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def run(content: bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What a .tflite file makes of its inputs, by name."""
    return Interpreter(model_content=content).get_signature_runner("serving_default")(**inputs)


@functools.cache
def raw(quantization: str) -> bytes:
    """The converted network alone."""
    images = pictures(16) if quantization == "int8" else None
    return once(
        f"lively-{quantization}",
        lambda: deploy.raw_network(
            lively_detector(), quantization=quantization, calibration_images=images
        ),
    )


@functools.cache
def assemble(kind: str, quantization: str = "none", **suppression) -> bytes:
    """The file with this post-processing and these settings, made once a test run."""
    settings = [f"{name}={value}" for name, value in sorted(suppression.items())]
    return once(
        "-".join(["file", kind, quantization, *settings]),
        lambda: assemble_anew(kind, quantization, **suppression),
    )


def assemble_anew(kind: str, quantization: str = "none", **suppression) -> bytes:
    """The same, for tests that change what a file is made of."""
    return complete(
        raw(quantization),
        lively_detector(),
        tflite.Options(quantization, kind, Suppression(**suppression)),
        name="test",
    )


def complete(raw: bytes, detector, options: tflite.Options, **texts) -> bytes:
    """The whole file of the network alone."""
    finish = tflite.completion(detector, decoding_of(detector), options, **texts)
    return finish(TFLiteFile(raw))


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
