"""Running files, our own and those of others."""

import json

import numpy as np
import pytest
from PIL import Image

from ssd_keras import deploy
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy.runtime import as_detections
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.errors import UserError
from tests.comparing import assert_same_detections
from tests.deploy.conftest import (
    WAYS_OF_RECTANGLES,
    pictures,
    portrait_and_landscape,
    rectangle,
    rectangle_file,
)


def test_a_file_of_another_maker_runs(shared):
    path = shared("weights/coco_ssd_mobilenet_v1_quant_detect.tflite")
    labels = shared("weights/coco_labelmap.txt").read_text().splitlines()
    runner = deploy.TFLiteDetector(path, classes=labels)
    found = runner.detect(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))
    assert runner.image_size == (300, 300)
    assert len(found) <= 10
    assert found.classes == tuple(labels)


def test_old_values_beyond_the_count_are_left_out():
    boxes = np.tile(np.array([0.1, 0.2, 0.3, 0.4], np.float32), (1, 4, 1))
    outputs = [boxes, np.array([[1, 0, 2, 1]]), np.array([[0.9, 0.8, 0.7, 0.6]]), np.array([2.0])]
    found = as_detections(outputs, ("a", "b", "c"))
    assert found.names == ["b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no model at all", r"not a \.tflite file"),
        ("missing.tflite", "There is no file 'missing.tflite'"),
    ],
)
def test_files_that_cannot_be_run(content, message):
    with pytest.raises(UserError, match=message):
        deploy.TFLiteDetector(content, classes=["a"])


def test_a_file_cut_short(float_file):
    with pytest.raises(UserError):
        deploy.TFLiteDetector(float_file[: len(float_file) // 3], classes=["a"])


@pytest.mark.parametrize("rule", [{}, {"class_agnostic": True}, {"max_detections": 7}])
def test_raw_outputs_become_what_is_found_inside_of_a_file(assembled, rule):
    image = pictures(1, seed=5)[0]
    outside, inside = (
        deploy.TFLiteDetector(assembled(kind, **rule), trusted=True).detect(image)
        for kind in ("none", "builtin")
    )
    assert len(outside) == len(inside) >= 7
    np.testing.assert_array_equal(outside.labels, inside.labels)
    np.testing.assert_allclose(outside.scores, inside.scores, atol=1e-6)
    np.testing.assert_allclose(outside.boxes, inside.boxes, atol=1e-5)


@pytest.mark.parametrize("tiling", [None, {"height": 60, "width": 80}], ids=["whole", "tiles"])
def test_what_is_found_knows_its_image(detector, float_file, tmp_path, tiling):
    """As what the detector finds."""
    image = pictures(1, seed=5)[0]
    path = tmp_path / "1.png"
    Image.fromarray(image).save(path)
    runner = deploy.TFLiteDetector(float_file, trusted=True)
    runner.tiling = Tiling.of(tiling)
    wanted = detector.detect(path)
    for given, known in ((path, str(path)), (str(path), str(path)), (image, None)):
        found = runner.detect(given).above(0.3)
        assert len(found) > 3
        assert (found.image_size, found.image_path) == (wanted.image_size, known)
        np.testing.assert_allclose(found.pixels(), found.boxes * [120, 160, 120, 160], rtol=1e-6)
    saved = runner.detect(path).above(0.3).save(tmp_path / "found.png")
    assert Image.open(saved).size == (160, 120)
    (header, *_) = runner.detect(path).save(tmp_path / "found.csv").read_text().splitlines()
    assert header == wanted.save(tmp_path / "wanted.csv").read_text().splitlines()[0]
    assert "ymin_px" in header


def without(name: str):
    def change(files):
        del files[name]

    return change


def with_settings(**changed):
    def change(files):
        settings = json.loads(files["ssd_keras.json"]) | changed
        files["ssd_keras.json"] = json.dumps(settings).encode()

    return change


def with_anchors(content: bytes):
    return lambda files: files.update({"anchors.f32": content})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("anchors.f32"), r"two outputs and no default boxes \(anchors\.f32\)"),
        (with_anchors(b""), "0 bytes, not 16 a default box"),
        (with_anchors(bytes(17)), "17 bytes, not 16 a default box"),
        (with_settings(variances=[1, 2, 3]), "no four variances"),
        (with_settings(variances="none"), "no four variances"),
        (with_settings(variances=[1, 2, 3, float("nan")]), "no four variances|cannot be read"),
        (with_settings(iou_threshold=7), "iou_threshold must be in 0..1, got 7"),
        (with_settings(max_per_class="many"), "max_per_class must be at least 1"),
    ],
)
def test_raw_outputs_of_which_too_little_is_known(assembled, change, message):
    file = TFLiteFile(assembled("none"))
    change(file.files)
    with pytest.raises(UserError, match=message):
        deploy.TFLiteDetector(file.to_bytes(), trusted=True)


def test_raw_outputs_of_another_number_of_default_boxes(assembled):
    file = TFLiteFile(assembled("none"))
    file.files["anchors.f32"] = file.files["anchors.f32"][16:]
    runner = deploy.TFLiteDetector(file.to_bytes(), trusted=True)
    with pytest.raises(UserError, match="are not codes and scores of its 3 classes"):
        runner.detect(pictures(1)[0])


@pytest.mark.parametrize("way", WAYS_OF_RECTANGLES)
def test_a_rectangle_finds_what_keras_finds(way):
    runner = deploy.TFLiteDetector(rectangle_file(way), trusted=True)
    for image in portrait_and_landscape():
        wanted = rectangle(way).detect(image, score_threshold=0.3)
        assert len(wanted) > 3
        # Half a pixel.
        assert_same_detections(runner.detect(image), wanted, box_atol=0.5 / 160, score_atol=1e-3)


def test_missing_class_names(shared):
    path = shared("weights/coco_ssd_mobilenet_v1_quant_detect.tflite")
    with pytest.raises(UserError, match="holds no class names"):
        deploy.TFLiteDetector(path)


def test_a_wrong_image(float_file):
    with pytest.raises(UserError, match=r"\[H, W, 3\] of RGB 0..255, got \(2, 9, 9, 3\)"):
        deploy.TFLiteDetector(float_file).detect(np.zeros((2, 9, 9, 3)))
