"""A detector is measured by one call."""

import json

import pytest

from ssd_keras import data, evaluation
from ssd_keras.errors import UserError
from tests import tiny
from tests.data import samples
from tests.deploy.conftest import CLASSES, lively_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three annotated photographs of cats, and one of a dog."""
    folder = tmp_path_factory.mktemp("voc")
    for index, name in enumerate(("cat", "cat", "dog", "cat")):
        samples.voc_image(folder, f"{index}", samples.voc_object(name), seed=index)
    return f"voc:{folder}"


def test_measuring_is_detecting_and_measuring(folder):
    detector = lively_detector()
    source = data.load_source(folder, CLASSES)
    found = evaluation.detect_source(detector, source)
    wanted = evaluation.evaluate(source.ground_truth(), found, CLASSES)
    for measured in (detector.measure(folder), detector.measure(source, batch_size=3)):
        assert measured.mAP == pytest.approx(wanted["voc"]["ap50"], rel=1e-5)
        assert measured.coco["AP"] == measured.AP
        assert pytest.approx(wanted["coco"]["AP"], rel=1e-5) == measured.AP
        assert {n: row["objects"] for n, row in measured.per_class.items()} == {
            "cat": 3, "dog": 1, "bird": 0,
        }  # fmt: skip
        assert measured.metrics["detections"] == sum(map(len, found)) == 800


def test_it_is_printed_as_a_table(folder):
    measured = lively_detector().measure(folder)
    lines = str(measured).splitlines()
    assert lines[0].startswith(f"voc.ap50          {measured.mAP:.3f}  VOC 2010")
    assert [line.split()[:2] for line in lines[-3:]] == [["cat", "3"], ["dog", "1"], ["bird", "0"]]
    assert repr(measured) == str(measured)


def test_it_is_saved_as_a_report(folder, tmp_path):
    measured = lively_detector().measure(folder, batch_size=2, worst=1)
    written = measured.save(tmp_path / "new")
    assert sorted(written) == ["detections.json", "metrics.json", "report.html"]
    metrics = json.loads(written["metrics.json"].read_text())
    assert metrics["voc"]["ap50"] == measured.mAP
    assert len(json.loads(written["detections.json"].read_text())) == 800
    assert f"Evaluation of {lively_detector().name}" in written["report.html"].read_text()


def test_what_is_not_measured_on_and_by_what_rule_is_said(tmp_path):
    samples.voc_image(tmp_path, "a", samples.voc_object("cat"))
    samples.voc_image(tmp_path, "b", samples.voc_object("Dogg"))
    measured = lively_detector().measure(f"voc:{tmp_path}", max_detections=3)
    left = "1 of 2 objects are lost (1 unknown_class); 1 images lost all of their objects"
    assert f"Not measured on: {left}" in str(measured)
    written = measured.save(tmp_path / "new")
    about = json.loads(written["metrics.json"].read_text())["about"]
    assert about["data"] == f"voc:{tmp_path}"
    assert about["left_out"].startswith(left)
    assert about["suppression"] == lively_detector().suppression.replace(max_detections=3).as_dict()
    assert about["tiling"] is None
    page = written["report.html"].read_text()
    assert "max_detections 3" in page
    assert left in page


def test_suppression_is_the_detectors_own_unless_told_otherwise(folder, monkeypatch):
    detector = lively_detector()
    monkeypatch.setattr(detector, "suppression", {"max_detections": 5})
    assert detector.measure(folder).metrics["detections"] == 20
    assert detector.measure(folder, max_detections=7).metrics["detections"] == 28


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"score_treshold": 0.5}, "Did you mean 'score_threshold'"),
        ({"iou_threshold": 2.0}, r"iou_threshold must be in 0\.\.1"),
    ],
)
def test_wrong_suppression_is_named_before_the_data_are_read(given, reason):
    with pytest.raises(UserError, match=reason):
        tiny.detector().measure("voc:nowhere", **given)


def test_data_of_other_classes_are_refused(folder):
    with pytest.raises(UserError, match="the data have cat, dog; the detector ship"):
        tiny.detector(["ship"]).measure(folder)
    with pytest.raises(UserError, match="opened with the classes cat, dog, but ship are needed"):
        tiny.detector(["ship"]).measure(data.load_source(folder))
    with pytest.raises(UserError, match="got list"):
        tiny.detector().measure([1, 2])
