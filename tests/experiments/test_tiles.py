"""The flags of tiles, which detect, evaluate and the exports share."""

import json
import signal
import time

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from ssd_keras import data
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.commands import _tiles
from ssd_keras.data.source import GroundTruth, Source
from ssd_keras.data.tile_sizes import fit_tile_size
from ssd_keras.errors import UserError
from ssd_keras.training import RunSettings
from ssd_keras.training.tiles import apply_tiles
from tests import tiny
from tests.data.samples import voc_image, voc_object
from tests.experiments.programs import end, start


class Detector:
    """What of a detector the flags look at."""

    image_size, tiling = (32, 32), Tiling(height=64, width=64, overlap=0.5)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, Detector.tiling),
        ({"tiles": "none"}, None),
        ({"tiles": "auto"}, Detector.tiling),
        ({"tiles": "128"}, Tiling(height=128, width=128, overlap=0.5)),
        ({"tiles": "128", "tile_overlap": 0.1}, Tiling(height=128, width=128, overlap=0.1)),
        ({"tile_whole": True}, Tiling(height=64, width=64, overlap=0.5, whole=True)),
    ],
)
def test_flags_go_before_the_detectors_own(given, wanted):
    with flagsaver.flagsaver(**given):
        _tiles.check_tiles()
        assert _tiles.tiling_of(Detector()) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tiles": "big"}, "512 or 384x640"),
        ({"tiles": "8"}, "height of a tile must be 16"),
        ({"tile_overlap": 0.9}, "overlap of tiles must be in 0..0.75"),
        ({"tiles": "none", "tile_whole": True}, "--tiles=none leaves nothing"),
    ],
)
def test_values_that_make_no_sense_are_refused(given, message):
    with flagsaver.flagsaver(**given), pytest.raises(UserError, match=message):
        _tiles.check_tiles()


def source_of(side, size=400):
    """One image with squares of this side in pixels."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, size - side, (60, 2))
    boxes = np.concatenate([low, low + side], 1) / size
    return Source("drawn", ("a",), [GroundTruth("0", size, size, boxes, [0] * 60)])


def test_tiles_cannot_be_fitted_to_no_objects():
    empty = Source("drawn", ("a",), [GroundTruth("0", 400, 400, np.zeros((0, 4)), [])])
    settings = RunSettings("SSD_MobileNet_96", "drawn", tiles="auto")
    with pytest.raises(UserError, match="'drawn' has no object to fit tiles to"):
        apply_tiles(settings, empty)


def test_small_objects_get_tiles_and_large_ones_do_not():
    detector = tiny.detector()
    levels, size = detector.box_network.level_anchors, detector.image_size
    best, *others = fit_tile_size(source_of(12), levels, size, "half_pixel")
    whole = next(fit for fit in others if fit.tiling is None)
    assert best.tiling.height < 128
    assert best.met > whole.met + 0.05
    assert fit_tile_size(source_of(12), levels, size, "half_pixel")[0] == best
    assert fit_tile_size(source_of(200), levels, size, "half_pixel")[0].tiling is None


@pytest.mark.slow
def test_records_are_made_of_tiles(tmp_path):
    voc_image(tmp_path, "0", voc_object(), size=(150, 100), width=150, height=100)
    out = tmp_path / "records" / "x"
    flags = (f"--data=voc:{tmp_path}", f"--out={out}", "--tiles=64", "--empty_tiles=1")
    done = end(start("make_records", *flags))
    assert done.code == 0, done.complaint
    assert "1 image as 6 tiles of 64x64 pixels, overlap 20%" in done.printed
    packed = data.load_source(f"tfrecord:{out}-*")
    assert [one.image_id for one in packed.ground_truth()][:2] == ["0_0_0", "0_0_51"]
    assert packed.image(0).shape == (64, 64, 3)


@pytest.mark.slow
def test_records_of_tiles_are_the_same_after_a_kill(tmp_path):
    flags = ("make_records", "--data=shapes#train,count=60,size=150", "--tiles=64", "--shards=2")
    straight = start(*flags, f"--out={tmp_path}/straight/x")
    killed = start(*flags, f"--out={tmp_path}/killed/x")
    while not list((tmp_path / "killed").glob(".*.tfrecord")) and killed.runs():
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert end(killed).code == -signal.SIGKILL
    assert not list((tmp_path / "killed").glob("x-*"))
    assert end(start(*flags, f"--out={tmp_path}/killed/x")).code == end(straight).code == 0
    made = [sorted((tmp_path / name).glob("x*")) for name in ("straight", "killed")]
    assert len(made[0]) == 3
    for wanted, found in zip(*made, strict=True):
        assert (found.name, found.read_bytes()) == (wanted.name, wanted.read_bytes())


@pytest.mark.slow
def test_check_data_says_when_tiles_would_help(tmp_path):
    objects = [voc_object("dog", (x, 40, x + 9, 49)) for x in range(10, 560, 30)]
    voc_image(tmp_path, "0", "".join(objects), size=(600, 600), width=600, height=600)
    flags = (f"--data=voc:{tmp_path}", "--model=SSD_MobileNet_96", "--nodecode")
    done = end(start("check_data", *flags))
    assert "Tiles would help: tiles of" in done.printed, done.complaint
    assert "Train with --tiles=" in done.printed


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """The program on large images, tile by tile, among those that cannot be read to their end."""
    pytest.importorskip("rasterio")
    folder = tmp_path_factory.mktemp("tiles")
    tiny.detector().save(folder / "tiny.keras")
    images = folder / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (600, 2000, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(images / "turned.jpg", exif=exif)
    Image.fromarray(noise[:1, :700]).save(images / "line.png")
    Image.fromarray(noise).save(images / "whole.tif")
    content = (images / "whole.tif").read_bytes()
    (images / "cut.tif").write_bytes(content[: len(content) // 2])
    flags = (f"--run_dir={folder}/tiny.keras", f"--images={images}", f"--out={folder}/out")
    tiles = ("--tiles=512", "--tile_whole", "--tile_overlap=0", "--max_megapixels=1.2")
    return folder / "out", end(start("detect", *flags, *tiles, "--score_threshold=0.3"))


@pytest.mark.slow
def test_evaluation_by_tiles_finds_what_detection_does(tmp_path):
    voc_image(tmp_path, "0", voc_object("dog", (10, 10, 90, 60)), size=(150, 100), width=150,
              height=100)  # fmt: skip
    detector = tiny.detector()
    detector.suppression = {"score_threshold": 0.3}
    detector.save(tmp_path / "tiny.keras")
    flags = (f"--run_dir={tmp_path}/tiny.keras", f"--data=voc:{tmp_path}", f"--out={tmp_path}/out")
    done = end(start("evaluate", *flags, "--tiles=64", "--tile_whole"))
    assert done.code == 0, done.complaint
    tiling = Tiling(height=64, width=64, whole=True)
    assert str(tiling) in done.printed
    assert str(tiling) in (tmp_path / "out/report.html").read_text()
    wanted = detector.detect(tmp_path / "JPEGImages/0.jpg", tiles=tiling)
    results = json.loads((tmp_path / "out/detections.json").read_text())
    assert len(results) == len(wanted) > 5
    found = np.array([one["bbox"] for one in results])
    top, left, bottom, right = wanted.pixels().T
    pixels = np.stack([left, top, right - left, bottom - top], 1)
    np.testing.assert_allclose(found, pixels, atol=0.02)
    # Levels of default boxes are those of tiles, not of the image.
    assert "recall_by_level" not in json.loads((tmp_path / "out/metrics.json").read_text())


@pytest.mark.slow
def test_large_images_are_detected_in_and_drawn(detected):
    out, done = detected
    assert done.code == 0, done.complaint
    sizes = {"turned": (2000, 600), "line": (1, 700), "whole": (600, 2000)}
    for name, size in sizes.items():
        described = json.loads((out / f"{name}.json").read_text())
        assert (described["height"], described["width"]) == size
        assert (out / f"{name}.jpg").is_file()
    assert "Large images: tiles of" in done.printed
    assert "overlap 0%, and the whole image" in done.printed


@pytest.mark.slow
def test_one_that_is_cut_off_is_left_out(detected):
    out, done = detected
    assert "cut.tif: " in done.printed
    assert "1 of 4 images could not be read" in done.printed
    assert not (out / "cut.json").exists()
