"""A detector is exported by one call."""

import warnings

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import ssd_keras
from ssd_keras import data, deploy
from ssd_keras.errors import UserError
from tests import tiny
from tests.deploy.conftest import pictures

SHAPES = "shapes#train,count=4,size=32"


def test_a_tflite_file_detects_as_the_detector(tmp_path):
    detector = tiny.detector()
    path = detector.export_tflite(tmp_path / "new" / "pets.tflite", score_threshold=0.0)
    assert path == tmp_path / "new" / "pets.tflite"
    (image,) = pictures(1)
    found = deploy.TFLiteDetector(path.read_bytes()).detect(image)
    wanted = detector.detect(image, score_threshold=0.0)
    np.testing.assert_allclose(found.scores[:10], wanted.scores[:10], atol=1e-4)


@pytest.mark.parametrize(
    ("form", "warned"),
    [(str, True), (data.load_source, True), (lambda spec: pictures(4), False)],
    ids=["SPEC", "source", "images"],
)
def test_int8_is_calibrated_with_a_spec_a_source_or_images(tmp_path, form, warned):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        path = tiny.detector().export_tflite(
            tmp_path / "a.tflite",
            quantization="int8",
            calibration_data=form(SHAPES),
            calibration_images=3,
        )
    interpreter = Interpreter(model_path=str(path))
    assert interpreter.get_input_details()[0]["dtype"] is np.uint8
    few = [w for w in told if "Only 3 calibration images; 100 or more" in str(w.message)]
    assert bool(few) is warned


WRONG = {
    "misspelt": ({"quantisation": "int8"}, "Did you mean 'quantization'"),
    "no images": ({"quantization": "int8"}, "int8 needs calibration_data"),
    "no such quantization": ({"quantization": "int9"}, "int9"),
    "no such data": ({"quantization": "int8", "calibration_data": "voc:nowhere"}, "nowhere"),
    "no image": (
        {"quantization": "int8", "calibration_data": SHAPES, "calibration_images": 0},
        "at least 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path, case):
    options, reason = WRONG[case]
    with pytest.raises(UserError, match=reason):
        tiny.detector().export_tflite(tmp_path / "a.tflite", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_follows_the_detectors_suppression(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(deploy, "to_saved_model", lambda *args, **rest: given.append((args, rest)))
    detector = tiny.detector()
    assert ssd_keras.Detector.export is not ssd_keras.Detector.export_saved_model
    detector.export_saved_model(tmp_path / "folder", max_detections=3)
    ((args, rest),) = given
    assert args == (detector, tmp_path / "folder")
    assert rest["max_detections"] == 3
    assert rest["score_threshold"] is None
