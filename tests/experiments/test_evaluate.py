"""The evaluation program, as a user starts it."""

import json

import numpy as np
import pytest
from PIL import Image

from tests import oracles, tiny
from tests.experiments.programs import end, start

pytestmark = pytest.mark.eager
# Of each image, as COCO writes it.
BOXES = {7: [10, 20, 30, 40], 9: [5, 5, 50, 20]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of two photographs in COCO's layout, and results that are right."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    for number in BOXES:
        Image.fromarray(np.full((80, 100, 3), 90, np.uint8)).save(folder / f"images/{number}.png")
    annotations = [
        {"id": i, "image_id": number, "category_id": 44, "bbox": box, "area": 900, "iscrowd": 0}
        for i, (number, box) in enumerate(BOXES.items(), start=1)
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in BOXES],
        "categories": [{"id": 44, "name": "cat"}],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(content))
    results = [
        {"image_id": n, "category_id": 44, "bbox": box, "score": 0.9} for n, box in BOXES.items()
    ]
    (folder / "results.json").write_text(json.dumps(results))
    # The surer one lies elsewhere: half of what is found is right, and half is found.
    half = [results[0], results[1] | {"bbox": [60, 40, 30, 30], "score": 0.95}]
    (folder / "half.json").write_text(json.dumps(half))
    return folder


RESULTS = {"image_id": 7, "category_id": 44, "bbox": [1, 2, 3, 4], "score": 0.9}
FAULTS = {
    "nothing": ([], "Give either --run_dir (a detector) or --detections (a results file)."),
    "other classes": (["--detections={}/other.json"], "there is no category_id 1 in the data"),
    "suppression of results": (
        ["--detections={}/results.json", "--iou_threshold=0.3"],
        "--iou_threshold needs a detector (--run_dir)",
    ),
    "tiles of results": (
        ["--detections={}/results.json", "--tiles=64"],
        "--tiles needs a detector (--run_dir)",
    ),
    "no class in common": (["--run_dir={}/bird.keras"], "the data have cat; the detector bird."),
}


def prefer_the_first_class(detector):
    """Lets random weights find the first class everywhere, in any order of tests."""
    for name in detector.box_network.class_layers:
        bias = detector.get_layer(name).bias
        values = np.array(bias).reshape(-1, 1 + len(detector.classes))
        values[:, 1] += 3.0
        bias.assign(values.ravel())


@pytest.fixture(scope="module")
def ended(folder):
    """The program on right results, on a detector, and on misfits, all at once."""
    for classes in (["bird"], ["cat", "bird"]):
        detector = tiny.detector(classes)
        prefer_the_first_class(detector)
        detector.suppression = {"score_threshold": 0.0, "iou_threshold": 0.3, "max_detections": 7}
        detector.save(folder / f"{'_'.join(classes)}.keras")
    (folder / "other.json").write_text(json.dumps([RESULTS | {"category_id": 1}]))
    data = f"--data=coco:{folder}"
    running = {"good": start("evaluate", f"--detections={folder / 'results.json'}", data)}
    running["half"] = start("evaluate", f"--detections={folder / 'half.json'}", data)
    some = (f"--run_dir={folder / 'cat_bird.keras'}", f"--out={folder / 'detected'}")
    running["detector"] = start("evaluate", *some, data, "--max_detections=2")
    for name, (flags, _) in FAULTS.items():
        running[name] = start("evaluate", data, *(flag.format(folder) for flag in flags))
    return {name: end(process) for name, process in running.items()}


def test_right_results_score_one(folder, ended):
    assert ended["good"].code == 0, ended["good"].complaint
    metrics = json.loads((folder / "results_evaluation" / "metrics.json").read_text())
    assert metrics["voc"]["ap50"] == 1
    assert metrics["coco"]["AP"] == pytest.approx(1)
    assert "voc.ap50          1.000" in ended["good"].printed


def test_results_half_of_which_are_right_score_what_they_should(folder, ended):
    assert ended["half"].code == 0, ended["half"].complaint
    metrics = json.loads((folder / "half_evaluation" / "metrics.json").read_text())
    assert metrics["voc"]["ap50"] == pytest.approx(0.5 * 0.5)
    assert metrics["coco"]["AP50"] == pytest.approx(51 / 101 * 0.5)


def test_report_is_a_page(folder, ended):
    assert ended["good"].code == 0
    page = (folder / "results_evaluation/report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")


def test_detections_keep_the_numbers_of_the_data(folder, ended):
    assert ended["good"].code == 0
    written = json.loads((folder / "results_evaluation/detections.json").read_text())
    assert {row["category_id"] for row in written} == {44}
    assert sorted(row["image_id"] for row in written) == [7, 9]


def average_precision(written):
    """Of the class cat, by the rule in plain NumPy."""

    def pixels(number):
        rows = [row for row in written if row["image_id"] == number]
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)[:, [1, 0, 3, 2]]
        boxes[:, 2:] += boxes[:, :2]
        return boxes, np.zeros(len(rows), int), [row["score"] for row in rows]

    truths = [
        (np.array([[y, x, y + h, x + w]]), np.zeros(1, int), np.zeros(1, bool))
        for x, y, w, h in BOXES.values()
    ]
    founds = [pixels(number) for number in BOXES]
    return oracles.voc_average_precision(truths, founds, 0, eleven_points=False)


def test_a_detector_is_measured(folder, ended):
    assert ended["detector"].code == 0, ended["detector"].complaint
    metrics = json.loads((folder / "detected/metrics.json").read_text())
    written = json.loads((folder / "detected/detections.json").read_text())
    assert metrics["voc"]["ap50"] == pytest.approx(average_precision(written))
    assert metrics["per_class"]["bird"]["objects"] == 0
    levels = metrics["recall_by_level"]["all detections"]
    assert (len(levels), sum(level["objects"] for level in levels)) == (2, 2)


def test_a_detector_suppresses_by_its_own_rule_unless_told_otherwise(folder, ended):
    told = "score > 0, IoU 0.3 within a class, at most 2 an image."
    assert told in ended["detector"].printed
    written = json.loads((folder / "detected/detections.json").read_text())
    assert 0 < len(written) <= 2 * 2


def test_detections_of_classes_that_the_data_do_not_have_are_left_out(folder, ended):
    assert "Not in detections.json: bird, for which coco:" in ended["detector"].printed
    written = json.loads((folder / "detected/detections.json").read_text())
    assert {row["category_id"] for row in written} == {44}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_end_in_one_line(ended, name):
    assert ended[name].code == 2
    (line,) = ended[name].complaint.strip().splitlines()
    assert FAULTS[name][1] in line
