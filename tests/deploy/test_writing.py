"""A detector is exported by one call."""

import functools
import warnings
from collections.abc import Mapping

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import ssd_keras
from ssd_keras import data, deploy
from ssd_keras.deploy import writing
from ssd_keras.errors import UserError
from tests import tiny
from tests.deploy.conftest import pictures

SHAPES = "shapes#train,count=4,size=32"


@pytest.fixture(scope="module")
def detector():
    return tiny.detector()


def test_a_tflite_file_detects_as_the_detector(detector, tmp_path):
    path = detector.export_tflite(tmp_path / "new" / "pets.tflite", score_threshold=0.0)
    assert path == tmp_path / "new" / "pets.tflite"
    (image,) = pictures(1)
    found = deploy.TFLiteDetector(path.read_bytes()).detect(image)
    wanted = detector.detect(image, score_threshold=0.0)
    np.testing.assert_allclose(found.scores[:10], wanted.scores[:10], atol=1e-4)


@pytest.fixture(scope="module")
def int8(detector, tmp_path_factory):
    """A file that is calibrated with drawn shapes."""
    path = tmp_path_factory.mktemp("int8") / "a.tflite"
    images = data.load_source(SHAPES)
    return detector.export_tflite(path, quantization="int8", calibration_data=images).read_bytes()


def first_shapes():
    return [data.load_source(SHAPES).image(index) for index in range(3)]


@pytest.mark.parametrize(
    ("form", "wanted", "warned"),
    [
        (str, first_shapes, True),
        (data.load_source, first_shapes, True),
        (lambda spec: pictures(4), lambda: pictures(4), False),
    ],
    ids=["SPEC", "source", "images"],
)
def test_int8_is_calibrated_with_a_spec_a_source_or_images(
    detector, int8, tmp_path, monkeypatch, form, wanted, warned
):
    seen = []

    @functools.wraps(writing.to_tflite)
    def converted(detector, *, calibration_images, **options):
        named = isinstance(calibration_images, Mapping)
        seen.extend(dict(calibration_images).values() if named else calibration_images)
        return int8

    monkeypatch.setattr(writing, "to_tflite", converted)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        path = detector.export_tflite(
            tmp_path / "a.tflite",
            quantization="int8",
            calibration_data=form(SHAPES),
            calibration_images=3,
        )
    interpreter = Interpreter(model_path=str(path))
    assert interpreter.get_input_details()[0]["dtype"] is np.uint8
    np.testing.assert_array_equal(seen, wanted())
    few = [w for w in told if "Only 3 calibration images; 100 or more" in str(w.message)]
    assert bool(few) is warned


WRONG = {
    "misspelt": ({"quantisation": "int8"}, "Did you mean 'quantization'"),
    "no images": ({"quantization": "int8"}, "int8 needs calibration_data"),
    "no such quantization": ({"quantization": "int9"}, "int9"),
    "no such data": ({"quantization": "int8", "calibration_data": "voc:nowhere"}, "nowhere"),
    "data for float": ({"calibration_data": "voc:nowhere"}, "calibration_data is for int8"),
    "images for float": ({"calibration_images": 9}, "calibration_images is for int8"),
    "images for a target in float": (
        {"target": "gpu", "calibration_data": pictures(1)},
        "calibration_data is for int8, but the file becomes float16: give quantization",
    ),
    "no image": (
        {"quantization": "int8", "calibration_data": SHAPES, "calibration_images": 0},
        "at least 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_written(detector, tmp_path, case):
    options, reason = WRONG[case]
    with pytest.raises(UserError, match=reason):
        detector.export_tflite(tmp_path / "a.tflite", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_follows_the_detectors_suppression(detector, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(deploy, "to_saved_model", lambda *args, **rest: given.append((args, rest)))
    assert ssd_keras.Detector.export is not ssd_keras.Detector.export_saved_model
    detector.export_saved_model(tmp_path / "folder", max_detections=3)
    ((args, rest),) = given
    assert args == (detector, tmp_path / "folder")
    assert rest["max_detections"] == 3
    assert rest["score_threshold"] is None
