"""The evaluation program, as a user starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def start(*flags):
    """Starts the program without waiting for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.evaluate", *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of two photographs in COCO's layout, and results that are right."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    boxes = {7: [10, 20, 30, 40], 9: [5, 5, 50, 20]}
    for number in boxes:
        Image.fromarray(np.full((80, 100, 3), 90, np.uint8)).save(folder / f"images/{number}.png")
    annotations = [
        {"id": i, "image_id": number, "category_id": 1, "bbox": box, "area": 900, "iscrowd": 0}
        for i, (number, box) in enumerate(boxes.items(), start=1)
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in boxes],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(content))
    results = [
        {"image_id": n, "category_id": 1, "bbox": box, "score": 0.9} for n, box in boxes.items()
    ]
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    """The program on right results and without a detector, both at once."""
    good = start(f"--detections={folder / 'results.json'}", f"--data=coco:{folder}")
    bad = start(f"--data=coco:{folder}")
    return [(*process.communicate(timeout=300), process.returncode) for process in (good, bad)]


def test_right_results_score_one(folder, ended):
    printed, complaint, code = ended[0]
    assert code == 0, complaint
    metrics = json.loads((folder / "results_evaluation" / "metrics.json").read_text())
    assert metrics["voc"]["ap50"] == 1
    assert metrics["coco"]["AP"] == pytest.approx(1)
    assert "voc.ap50          1.000" in printed


def test_report_and_detections_are_written(folder, ended):
    assert ended[0][2] == 0
    out = folder / "results_evaluation"
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert len(json.loads((out / "detections.json").read_text())) == 2


def test_a_detector_or_results_are_needed(ended):
    _, complaint, code = ended[1]
    assert code == 2
    assert complaint.strip().splitlines()[-1] == (
        "error: Give either --run_dir (a detector) or --detections (a results file)."
    )
