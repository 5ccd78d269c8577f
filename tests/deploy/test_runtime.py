"""Running files, our own and those of others."""

import numpy as np
import pytest

from ssd_keras import deploy
from ssd_keras.deploy.runtime import as_detections
from ssd_keras.errors import UserError


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


def test_raw_outputs_are_refused_with_the_way_out(assembled):
    with pytest.raises(UserError, match=r"has 2 outputs.*--postprocess=builtin"):
        deploy.TFLiteDetector(assembled("none"))


def test_missing_class_names(shared):
    path = shared("weights/coco_ssd_mobilenet_v1_quant_detect.tflite")
    with pytest.raises(UserError, match="holds no class names"):
        deploy.TFLiteDetector(path)


def test_a_wrong_image(float_file):
    with pytest.raises(UserError, match=r"\[H, W, 3\] of RGB 0..255, got \(2, 9, 9, 3\)"):
        deploy.TFLiteDetector(float_file).detect(np.zeros((2, 9, 9, 3)))
