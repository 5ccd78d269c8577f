"""The detection program, as a user starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"pixel": (1, 1), "grey": (60, 80), "photo": (300, 400)}


def start(*flags):
    """Starts the program without waiting for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.detect", *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained detector, and images among files that are none."""
    import ssd_keras

    folder = tmp_path_factory.mktemp("detect")
    detector = ssd_keras.create("SSD_MobileNet_300", classes=["cat", "dog"], width=0.25)
    detector.save(folder / "tiny.keras")
    (folder / "images").mkdir()
    (folder / "empty").mkdir()
    for name, size in SIZES.items():
        shape = size if name == "grey" else (*size, 3)
        pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    (folder / "images" / "notes.txt").write_text("no image")
    (folder / "images" / "broken.jpg").write_text("no image either")
    (folder / "film.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    """The program on each kind of input."""
    common = (f"--run_dir={folder / 'tiny.keras'}", f"--out={folder / 'out'}")
    running = {
        place: start(*common, "--score_threshold=0.2", f"--images={folder / place}")
        for place in ("images", "empty", "film.mp4")
    }
    return {
        place: (*process.communicate(timeout=300), process.returncode)
        for place, process in running.items()
    }


@pytest.mark.parametrize("name", SIZES)
def test_picture_and_description_of_each_image(folder, ended, name):
    assert ended["images"][2] == 0, ended["images"][1]
    described = json.loads((folder / "out" / f"{name}.json").read_text())
    assert (described["height"], described["width"]) == SIZES[name]
    assert min(Image.open(folder / "out" / f"{name}.jpg").size) >= 240


def test_files_that_are_no_images_are_named(ended):
    printed = ended["images"][0]
    assert "Left out: 1 in " in printed
    assert "broken.jpg: cannot be decoded" in printed
    assert "3 images: " in printed


@pytest.mark.parametrize(
    ("place", "words"), [("empty", "no images in the folder"), ("film.mp4", "ideo")]
)
def test_faults_end_in_one_line(ended, place, words):
    _, complaint, code = ended[place]
    assert code == 2
    assert words in complaint.strip().splitlines()[-1]
    assert "Traceback" not in complaint
