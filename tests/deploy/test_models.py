"""Cores and box networks become files that compute what Keras computes, in float32 and int8."""

import functools
import re

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras import deploy, zoo
from ssd_keras.boxes import Suppression
from ssd_keras.deploy import tflite
from ssd_keras.resizing import resize
from ssd_keras.weights import catalogue
from tests import tiny
from tests.comparing import assert_same_detections
from tests.deploy.conftest import CLASSES, complete, enliven, mediapipe_found, pictures, run

pytestmark = pytest.mark.slow

WIDTH = 0.25
UNSEEN = pictures(2, seed=9)


def covering(families) -> list[str]:
    """Of those that differ in no layer from others together, the ones with a decoder."""
    chosen, seen = [], set()
    for family in sorted(families, key=lambda name: (name.startswith("SSD_"), name)):
        parts = set(family.split("_"))
        if not parts <= seen:
            chosen.append(family)
            seen |= parts
    return chosen


# Small, and with the same kinds of layers: a name that differs from another in its size alone is
# the same model here.
FAMILIES = covering({re.sub(r"_\d+$", "", name) for name in zoo.MODELS})
RECTANGLE = "DSSD_MobileNet_160x96"
RECTANGLES = (RECTANGLE, "FPNLite_MobileNetV2_96x160", "PANLite_MobileNetV2_160x96")

# YOLO's grid is so coarse that a smaller image would leave a single cell.
SIZES = {"YOLO": 224}
# The default boxes of its coarsest levels reach beyond what suppression in a file sees around an
# image as small as these; FPN and PANLite have such levels.
OPTIONS = {"FPNLite": {"coarse_levels": 0}}


@pytest.fixture(autouse=True, scope="module")
def shallow():
    with tiny.shallow_resnet101():
        yield


def small_name(family: str) -> str:
    return family if "x" in family else f"{family}_{SIZES.get(family.split('_')[0], 96)}"


@functools.cache
def small(family: str) -> ssd_keras.Detector:
    keras.utils.set_random_seed(0)
    options = OPTIONS.get(family.split("_")[0], {})
    return enliven(ssd_keras.create(small_name(family), CLASSES, width=WIDTH, **options))


@functools.cache
def raw(family: str, quantization: str) -> bytes:
    images = pictures(8) if quantization == "int8" else None
    return deploy.raw_network(small(family), quantization=quantization, calibration_images=images)


def images_of(detector) -> list[np.ndarray]:
    return [np.round(resize(image, detector.image_size))[None] for image in UNSEEN]


@pytest.mark.parametrize("family", [*FAMILIES, *RECTANGLES])
def test_raw_outputs_are_keras_own(family):
    detector = small(family)
    for image in images_of(detector):
        found = run(raw(family, "none"), image=image)
        wanted = {name: np.asarray(value) for name, value in detector(image).items()}
        assert found.keys() == wanted.keys()
        for name in wanted:
            difference = np.abs(found[name] - wanted[name]).max()
            assert difference < 1e-3 * np.abs(wanted[name]).max(), name


# What the published weights are imported as, and of box networks beside it one each.
IMPORTED = sorted({re.sub(r"_\d+$", "", entry.architecture) for entry in catalogue.entries()})
INT8_FAMILIES = [*IMPORTED, "DSSD_MobileNet", "PANLite_MobileNetV2", "YOLO_Inception", RECTANGLE]


@pytest.mark.parametrize("family", INT8_FAMILIES)
def test_int8_changes_raw_outputs_about_as_much_as_slight_image_noise(family):
    """A yardstick is needed: a network with random weights amplifies every small change.

    One draw of noise is too short a yardstick: of twelve, some were three times the others.
    """
    detector = small(family)
    images = np.concatenate(images_of(detector))
    found = [run(raw(family, "int8"), image=image[None].astype(np.uint8)) for image in images]
    wanted = detector(images)
    noise = np.random.default_rng(0).normal(0, 2, (12, *images.shape)).astype(np.float32)
    noisy = detector((images + noise).reshape(-1, *images.shape[1:]))
    for name in wanted:
        ours = np.asarray(wanted[name])
        change = np.concatenate([outputs[name] for outputs in found]) - ours
        yardstick = np.asarray(noisy[name]).reshape(12, *ours.shape) - ours
        assert np.mean(change**2) < 2.5 * np.mean(yardstick**2), name


@pytest.fixture(scope="module")
def int8_files(tmp_path_factory):
    """The whole int8 file of each."""
    folder, files = tmp_path_factory.mktemp("int8"), {}
    suppression = Suppression(max_detections=20, score_threshold=0.3)
    options = tflite.Options(quantization="int8", suppression=suppression)
    for family in IMPORTED:
        files[family] = folder / f"{family}.tflite"
        files[family].write_bytes(complete(raw(family, "int8"), small(family), options))
    return files


@pytest.fixture(scope="module")
def found_by_mediapipe(int8_files, tmp_path_factory):
    """Of each what MediaPipe finds in each image."""
    images = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(images, np.concatenate(images_of(small(IMPORTED[0]))).astype(np.uint8))
    lines = iter(mediapipe_found(images, *int8_files.values()))
    return {family: [next(lines) for _ in UNSEEN] for family in int8_files}


@pytest.mark.parametrize("family", IMPORTED)
def test_mediapipe_and_litert_load_int8_files_of_imported_architectures(
    int8_files, found_by_mediapipe, family
):
    runner = deploy.TFLiteDetector(int8_files[family])
    near = []
    for image, rows in zip(images_of(small(family)), found_by_mediapipe[family], strict=True):
        ours = runner.detect(image[0].astype(np.uint8))
        assert len(rows) <= len(ours)
        for row in rows:
            # It cuts boxes to whole pixels.
            same = np.abs(96 * ours.boxes - row["box"]).max(-1) < 2
            near.append(np.any(same & (np.array(ours.names) == row["name"])))
    assert len(near) > 1
    assert np.mean(near) >= 0.5


def threshold_of(family: str) -> float:
    """YOLO has few boxes, and a score is a product of two numbers below 1."""
    return 0.01 if family.startswith("YOLO") else 0.1


def assembled(family: str, kind: str) -> bytes:
    suppression = Suppression(max_detections=100, score_threshold=threshold_of(family))
    options = tflite.Options(postprocess=kind, suppression=suppression)
    return complete(raw(family, "none"), small(family), options)


@pytest.mark.parametrize("family", [*FAMILIES, *RECTANGLES])
def test_detections_are_keras_own(family):
    runner = deploy.TFLiteDetector(assembled(family, "builtin"))
    total = 0
    for image in UNSEEN:
        wanted = small(family).detect(
            image, max_detections=100, score_threshold=threshold_of(family)
        )
        total += len(wanted)
        assert_same_detections(runner.detect(image), wanted, box_atol=0.5 / 160, score_atol=1e-3)
    assert total > 5


def test_raw_outputs_of_free_boxes_are_codes_relative_to_the_whole_image():
    detector = small("YOLO_Inception")
    (image, _) = images_of(detector)
    boxes, scores = (np.asarray(x) for x in detector.box_network.decode(detector(image)))
    found = run(assembled("YOLO_Inception", "none"), image=image)
    middle, size = found["boxes"][..., :2], np.exp(found["boxes"][..., 2:])
    corners = np.concatenate([middle - size / 2, middle + size / 2], axis=-1)
    # Boxes of random weights reach several times beyond the image.
    np.testing.assert_allclose(corners, boxes, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-3)


def test_the_operator_decodes_free_boxes():
    image = UNSEEN[0]
    best = small("YOLO_Inception").detect(image)
    found = deploy.TFLiteDetector(assembled("YOLO_Inception", "op")).detect(image)
    np.testing.assert_allclose(found.boxes[0], best.boxes[0], atol=1e-3)
    np.testing.assert_allclose(found.scores[0], best.scores[0], atol=1e-3)
    assert found.labels[0] == best.labels[0]
