"""The detection program, as a user starts it."""

import json

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tests.experiments.programs import end, start

try:
    import cv2
except ImportError:
    cv2 = None

pytestmark = pytest.mark.eager
FAULTS = {"empty": "no images in the folder", "film.mp4": "ideo"}
CLIPS = ("clip.mp4",) if cv2 else ()
FRAMES = 10
SIZES = {"pixel": (1, 1), "grey": (60, 80), "photo": (300, 400)}


def write_clip(path):
    """A video of one colour, 5 frames a second."""
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (80, 60))
    for _ in range(FRAMES):
        file.write(np.full((60, 80, 3), 90, np.uint8))
    file.release()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained detector, and images among files that are none."""
    folder = tmp_path_factory.mktemp("detect")
    tiny.detector().save(folder / "tiny.keras")
    (folder / "images").mkdir()
    (folder / "empty").mkdir()
    for name, size in SIZES.items():
        shape = size if name == "grey" else (*size, 3)
        pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    (folder / "images" / "notes.txt").write_text("no image")
    (folder / "images" / "broken.jpg").write_text("no image either")
    (folder / "images/more").mkdir()
    Image.fromarray(pixels).save(folder / "images/more/photo.png")
    (folder / "film.mp4").write_text("no video")
    for clip in CLIPS:
        write_clip(folder / clip)
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    """The program on each kind of input, all at once."""
    common = (f"--run_dir={folder / 'tiny.keras'}", f"--out={folder / 'out'}")
    running = {
        place: start("detect", *common, "--score_threshold=0.2", f"--images={folder / place}")
        for place in ("images", *FAULTS, *CLIPS)
    }
    running["recursive"] = start(
        "detect",
        common[0],
        f"--out={folder / 'deep'}",
        f"--images={folder / 'images'}",
        "--recursive",
    )
    return {place: end(process) for place, process in running.items()}


@pytest.mark.parametrize("name", SIZES)
def test_picture_and_description_of_each_image(folder, ended, name):
    assert ended["images"].code == 0, ended["images"].complaint
    described = json.loads((folder / "out" / f"{name}.json").read_text())
    assert (described["height"], described["width"]) == SIZES[name]
    assert min(Image.open(folder / "out" / f"{name}.jpg").size) >= 240


def test_files_that_are_no_images_are_named(ended):
    printed = ended["images"].printed
    assert "Left out: more (a folder: --recursive looks into it), notes.txt (no image f" in printed
    assert "1 of 4 images could not be read" in printed
    assert "broken.jpg: is no image that can be read" in printed
    assert "3 images: " in printed


def test_images_of_sub_folders_keep_their_folders(folder, ended):
    assert ended["recursive"].code == 0, ended["recursive"].complaint
    described = json.loads((folder / "deep/more/photo.json").read_text())
    assert described["image"] == str(folder / "images/more/photo.png")
    assert (folder / "deep/more/photo.jpg").is_file()
    assert (folder / "deep/photo.jpg").is_file()
    assert not list((folder / "deep").rglob(".partial*"))


@pytest.mark.parametrize("place", FAULTS)
def test_faults_end_in_one_line(ended, place):
    assert ended[place].code == 2
    (line,) = ended[place].complaint.strip().splitlines()
    assert FAULTS[place] in line


@pytest.mark.skipif(not CLIPS, reason="needs the extra 'video'")
def test_a_video_becomes_a_video_and_an_entry_for_each_frame(folder, ended):
    assert ended["clip.mp4"].code == 0, ended["clip.mp4"].complaint
    assert len(json.loads((folder / "out/clip.json").read_text())) == FRAMES
    drawn = cv2.VideoCapture(str(folder / "out/clip.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert drawn.get(cv2.CAP_PROP_FPS) == 5
    assert drawn.read()[1].shape == (60, 80, 3)
