"""The real MediaPipe ObjectDetector loads the files and gives our boxes and labels."""

import functools

import keras
import numpy as np
import pytest
from PIL import Image

import ssd_keras
from ssd_keras import deploy
from ssd_keras.deploy import postprocess
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.detections import Detections
from tests.deploy.conftest import CLASSES, assemble_anew, enliven, mediapipe_found, pictures

pytestmark = pytest.mark.slow

IMAGES = pictures(3, seed=9)
PHOTOGRAPHS = "data/voc2012_100/VOCdevkit/VOC2012/JPEGImages"
SIDE = 300


@pytest.fixture(scope="module")
def mediapipe_detect(tmp_path_factory):
    """`mediapipe_detect(content, images)`: what MediaPipe finds in each image."""
    folder = tmp_path_factory.mktemp("mediapipe")

    def detect(content: bytes, images: list[np.ndarray]) -> list[list[dict]]:
        path = folder / "model.tflite"
        path.write_bytes(content)
        np.save(folder / "images.npy", np.stack(images))
        return mediapipe_found(folder / "images.npy", path)

    return detect


@pytest.fixture(scope="module")
def photographs(shared):
    """Real photographs of the detectors' size, so that nobody has to resize them."""
    files = sorted(shared(PHOTOGRAPHS).glob("*.jpg"))[:6]
    return [np.asarray(Image.open(file).resize((SIDE, SIDE))) for file in files]


@functools.cache
def detector_of_300_pixels(name: str) -> ssd_keras.Detector:
    keras.utils.set_random_seed(0)
    return enliven(ssd_keras.create(name, CLASSES, width=0.25))


def assert_same(rows: list[dict], ours: Detections, size: tuple[int, int], pixels: float):
    """One to one: same name, box edges within `pixels`, scores within 0.05."""
    assert len(rows) == len(ours) > 3
    boxes = ours.boxes * np.tile(size, 2)
    for row in rows:
        near = np.abs(boxes - row["box"]).max(-1) < pixels
        same = near & (np.array(ours.names) == row["name"])
        assert np.any(np.abs(ours.scores[same] - row["score"]) < 0.05), row


@pytest.mark.parametrize("quantization", ["none", "int8"])
@pytest.mark.parametrize("name", ["SSD_MobileNet_300", "DSSD_MobileNet_300"])
def test_boxes_and_labels_on_photographs_are_ours(
    mediapipe_detect, photographs, name, quantization
):
    content = deploy.to_tflite(
        detector_of_300_pixels(name),
        quantization=quantization,
        calibration_images=photographs if quantization == "int8" else None,
        # With more slots than MediaPipe shows, equal scores could be cut differently.
        max_detections=20,
        score_threshold=0.3,
    )
    runner = deploy.TFLiteDetector(content)
    for image, rows in zip(photographs, mediapipe_detect(content, photographs), strict=True):
        # It cuts boxes to whole pixels.
        assert_same(rows, runner.detect(image), (SIDE, SIDE), pixels=2)


@pytest.mark.parametrize(("quantization", "share"), [("none", 1.0), ("int8", 0.5)])
def test_files_of_a_shared_predictor_are_taken(mediapipe_detect, photographs, quantization, share):
    """Of boxes that reach beyond the picture alike it shows one; deep int8 layers round its way."""
    content = deploy.to_tflite(
        detector_of_300_pixels("FPNLite_MobileNetV2_300"),
        quantization=quantization,
        calibration_images=photographs if quantization == "int8" else None,
        max_detections=20,
        score_threshold=0.3,
    )
    runner = deploy.TFLiteDetector(content)
    near = []
    for image, rows in zip(photographs, mediapipe_detect(content, photographs), strict=True):
        ours = runner.detect(image)
        assert len(ours) - 2 <= len(rows) <= len(ours)
        for row in rows:
            same = np.abs(SIDE * ours.boxes - row["box"]).max(-1) < 2
            near.append(np.any(same & (np.array(ours.names) == row["name"])))
    assert np.mean(near) >= share


def test_a_rectangle_has_its_boxes_where_ours_are(mediapipe_detect, shared):
    """96 high and 160 wide, as the photographs are, which nobody has to resize."""
    keras.utils.set_random_seed(0)
    detector = enliven(ssd_keras.create("SSD_MobileNet_96x160", CLASSES, width=0.25))
    files = sorted(shared(PHOTOGRAPHS).glob("*.jpg"))[:4]
    images = [np.asarray(Image.open(file).resize((160, 96))) for file in files]
    content = deploy.to_tflite(detector, max_detections=20, score_threshold=0.3)
    runner = deploy.TFLiteDetector(content)
    for image, rows in zip(images, mediapipe_detect(content, images), strict=True):
        assert_same(rows, runner.detect(image), (96, 160), pixels=2)


def test_files_of_many_classes_are_taken(mediapipe_detect, monkeypatch):
    """Their suppression has other operators; here they come with three classes already."""
    monkeypatch.setattr(postprocess, "MAX_CANDIDATES", 400)
    content = assemble_anew("builtin", max_detections=20, score_threshold=0.3)
    assert {"ONE_HOT", "CUMSUM"} <= set(TFLiteFile(content).operators())
    runner = deploy.TFLiteDetector(content)
    for image, rows in zip(IMAGES, mediapipe_detect(content, IMAGES), strict=True):
        # It resizes a little differently.
        assert_same(rows, runner.detect(image), (120, 160), pixels=4)


def test_the_operators_boxes_and_labels_are_ours(assembled, mediapipe_detect):
    content = assembled("op", max_detections=20, score_threshold=0.3)
    runner = deploy.TFLiteDetector(content)
    for image, rows in zip(IMAGES, mediapipe_detect(content, IMAGES), strict=True):
        # It resizes a little differently.
        assert_same(rows, runner.detect(image), (120, 160), pixels=4)


def test_raw_file_is_accepted_with_its_anchors(assembled, mediapipe_detect):
    best = deploy.TFLiteDetector(assembled("builtin"))
    for image, rows in zip(IMAGES, mediapipe_detect(assembled("none"), IMAGES), strict=True):
        ours = best.detect(image)
        boxes = ours.boxes * [120, 160, 120, 160]
        # Of a box that begins outside of the image it moves the far side, too.
        whole = [row for row in rows if min(row["box"][:2]) > 0]
        found = []
        for row in whole:
            near = np.abs(boxes - np.minimum(row["box"], [120, 160, 120, 160])).max(-1) < 4
            found.append(row["name"] in np.array(ours.names)[near])
        # It resizes and suppresses a little differently.
        assert len(found) > 3
        assert np.mean(found) > 0.8
