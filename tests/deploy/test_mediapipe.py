"""The real MediaPipe ObjectDetector loads the files and gives our boxes and labels."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_keras import deploy
from tests.conftest import ROOT
from tests.deploy.conftest import pictures

SECONDS = 60
SCRIPT = Path(__file__).with_name("mediapipe_detect.py")
IMAGES = pictures(3, seed=9)


def python_with_mediapipe() -> str:
    """An interpreter that has mediapipe: this one, or that of a folder beside the project."""
    if importlib.util.find_spec("mediapipe") is not None:
        return sys.executable
    beside = ROOT.parent / "venv_mp" / "bin" / "python"
    if not beside.exists():
        pytest.skip("needs mediapipe: pip install mediapipe")
    return str(beside)


@pytest.fixture(scope="module")
def mediapipe_detect(tmp_path_factory):
    """Detections of MediaPipe for a file, for each of IMAGES."""
    python, folder = python_with_mediapipe(), tmp_path_factory.mktemp("mediapipe")
    np.save(folder / "images.npy", np.stack(IMAGES))

    def detect(content: bytes) -> list[list[dict]]:
        path = folder / "model.tflite"
        path.write_bytes(content)
        done = subprocess.run(
            [python, SCRIPT, path, folder / "images.npy"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

    return detect


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "builtin"},
        {"kind": "builtin", "quantization": "int8"},
        {"kind": "op"},
    ],
    ids=["float32", "int8", "op"],
)
def test_boxes_and_labels_are_ours(assembled, mediapipe_detect, options):
    # With more slots than MediaPipe shows, equal scores could be cut differently.
    content = assembled(**options, max_detections=20, score_threshold=0.3)
    runner = deploy.TFLiteDetector(content)
    for image, rows in zip(IMAGES, mediapipe_detect(content), strict=True):
        ours = runner.detect(image)
        assert len(rows) == len(ours) > 3
        pixels = ours.boxes * [120, 160, 120, 160]
        for row in rows:
            # It resizes a little differently and cuts boxes to whole pixels.
            near = np.abs(pixels - row["box"]).max(-1) < 4
            same = near & (np.array(ours.names) == row["name"])
            assert np.any(np.abs(ours.scores[same] - row["score"]) < 0.05), row


def test_raw_file_is_accepted_with_its_anchors(assembled, mediapipe_detect):
    content = assembled("none")
    best = deploy.TFLiteDetector(assembled("builtin"))
    for image, rows in zip(IMAGES, mediapipe_detect(content), strict=True):
        ours = best.detect(image)
        assert rows[0]["name"] == ours.names[0]
        assert np.abs(ours.boxes[0] * [120, 160, 120, 160] - rows[0]["box"]).max() < 4
