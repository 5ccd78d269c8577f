"""The script for small computers stands alone and gives the library's answers."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ssd_keras import deploy
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data.images import read_image
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.detections import Detections
from ssd_keras.resizing import resize
from tests import mutations
from tests.comparing import assert_same_detections
from tests.conftest import ROOT
from tests.deploy.conftest import (
    CLASSES,
    WAYS_OF_RECTANGLES,
    assemble,
    pictures,
    portrait_and_landscape,
    rectangle,
    rectangle_file,
)
from tests.export import golden
from tests.export.conftest import load_script

SCRIPT = ROOT / "export" / "raspberry_pi" / "detect.py"
IMAGE = pictures(1, seed=9)[0]


@pytest.fixture(scope="module")
def script():
    return load_script(SCRIPT)


@pytest.fixture
def run(script, monkeypatch, capsys):
    """What the script does in this process, which has imported LiteRT already."""

    def call(*arguments) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        code = script.main()
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


def test_it_needs_only_litert_and_numpy():
    tree = ast.parse(SCRIPT.read_text())
    imported = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "ai_edge_litert"}


@pytest.mark.parametrize("name", ["float_file", "int8_file"])
def test_it_finds_what_the_library_finds(request, script, tmp_path, name):
    content = request.getfixturevalue(name)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    found = script.Detector(str(path), threads=2).detect(IMAGE, min_score=0.3)
    wanted = deploy.TFLiteDetector(content).detect(IMAGE).above(0.3)
    assert [name for name, _, _ in found] == wanted.names
    np.testing.assert_allclose([score for _, score, _ in found], wanted.scores)
    pixels = wanted.boxes * [120, 160, 120, 160]
    np.testing.assert_allclose([box for _, _, box in found], pixels, atol=1e-3)


@pytest.mark.parametrize("rule", golden.RULES)
def test_suppression_outside_is_that_of_the_library(script, rule):
    num_classes, suppression = golden.RULES[rule]
    codes, scores, anchors = golden.raw_outputs(num_classes)
    corners = script.decode(codes, anchors, golden.VARIANCES)
    boxes, labels, scores = script.suppress(corners, scores, suppression.as_dict())
    golden.assert_detections(
        np.concatenate([boxes, labels[:, None], scores[:, None]], axis=1), rule
    )


@pytest.mark.parametrize(("quantization", "class_agnostic"), [("none", False), ("int8", True)])
def test_a_file_of_raw_outputs_finds_what_one_with_suppression_finds(
    script, tmp_path, quantization, class_agnostic
):
    path = tmp_path / "model.tflite"
    path.write_bytes(assemble("none", quantization, class_agnostic=class_agnostic))
    found = script.Detector(str(path)).detect(IMAGE, min_score=0.0)
    inside = assemble("builtin", quantization, class_agnostic=class_agnostic)
    wanted = deploy.TFLiteDetector(inside).detect(IMAGE)
    assert len(found) == len(wanted) > 20
    pixels = wanted.boxes * [120, 160, 120, 160]
    wanted = by_score(zip(wanted.names, wanted.scores, pixels, strict=True))
    for (name, score, box), (its_name, its_score, its_box) in zip(
        by_score(found), wanted, strict=True
    ):
        assert name == its_name
        np.testing.assert_allclose(score, its_score, atol=1e-6)
        np.testing.assert_allclose(box, its_box, atol=1e-3)


@pytest.mark.slow
def test_photographs_have_the_detections_of_the_file_with_suppression_inside(script, photographs):
    folder, wanted = photographs
    rule = json.loads((folder / "rule.json").read_text())
    anchors = np.fromfile(folder / "anchors", np.float32).reshape(-1, 4)
    found = []
    for number in range(len(wanted)):
        codes, scores = (
            np.fromfile(folder / f"{number:03}" / name, np.float32).reshape(len(anchors), -1)
            for name in ("codes", "scores")
        )
        corners = script.decode(codes, anchors, rule["variances"])
        boxes, labels, scores = script.suppress(corners, scores, rule)
        found.append(np.concatenate([boxes, labels[:, None], scores[:, None]], 1))
    golden.assert_photographs(found, wanted)


def by_score(detections) -> list:
    """Best first; of equal scores, which int8 has, each file has an order of its own."""
    return sorted(detections, key=lambda found: (-round(float(found[1]), 5), found[0]))


def test_raw_outputs_without_default_boxes_are_one_line(run, tmp_path):
    file = TFLiteFile(assemble("none"))
    del file.files["anchors.f32"]
    (tmp_path / "model").write_bytes(file.to_bytes())
    done = run(f"--model={tmp_path}/model", "--image=none.jpg")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: The model has raw outputs and no default boxes: export it again."
    )


@pytest.mark.parametrize("way", golden.CENTRES)
@pytest.mark.parametrize("name", golden.PHOTOGRAPHS)
def test_the_network_gets_the_pixels_that_the_library_gives_it(
    script, tmp_path, float_file, monkeypatch, name, way
):
    (tmp_path / "photo.png").write_bytes(golden.photograph(name))
    image = script.read_image(str(tmp_path / "photo.png"))
    detector = of_a_file(script, tmp_path, float_file, monkeypatch, way)
    detector._input = {"shape": np.array([1, *golden.SIZE, 3]), "dtype": np.uint8}
    golden.assert_pixels(detector.to_input(image), name, way)


def of_a_file(script, tmp_path, content, monkeypatch, way):
    """The script's detector of a file that wants its images resized in this way."""
    (tmp_path / "model.tflite").write_bytes(content)
    settings = script.read_settings(content)
    assert settings["resize"] == "half_pixel"
    monkeypatch.setattr(script, "read_settings", lambda content: settings | {"resize": way})
    return script.Detector(str(tmp_path / "model.tflite"))


@pytest.mark.parametrize("size", [(120, 160), (160, 90), (96, 96)])
def test_letterboxed_objects_are_where_the_library_finds_them(
    script, tmp_path, float_file, monkeypatch, size
):
    image = resize(IMAGE, size).astype(np.uint8)
    runner = deploy.TFLiteDetector(float_file, trusted=True)
    runner.settings = runner.settings | {"resize": "letterbox"}
    wanted = runner.detect(image)
    assert len(wanted) > 10
    detector = of_a_file(script, tmp_path, float_file, monkeypatch, "letterbox")
    found = detector.detect(image, min_score=0.0)
    assert [name for name, _, _ in found] == list(wanted.names)
    np.testing.assert_allclose([score for _, score, _ in found], wanted.scores, atol=1e-4)
    np.testing.assert_allclose([box for _, _, box in found], wanted.pixels(image), atol=0.1)


@pytest.mark.parametrize("way", WAYS_OF_RECTANGLES)
def test_a_rectangle_finds_what_keras_finds(script, tmp_path, way):
    (tmp_path / "model.tflite").write_bytes(rectangle_file(way))
    detector = script.Detector(str(tmp_path / "model.tflite"))
    for image in portrait_and_landscape():
        names, scores, boxes = zip(*detector.detect(image, min_score=0.0), strict=True)
        found = Detections(
            np.array(boxes) / np.tile(image.shape[:2], 2),
            scores,
            [CLASSES.index(name) for name in names],
            CLASSES,
        )
        wanted = rectangle(way).detect(image, score_threshold=0.3)
        assert len(wanted) > 3
        # Half a pixel.
        assert_same_detections(found, wanted, box_atol=0.5 / 160, score_atol=1e-3)


def run_alone(*arguments) -> subprocess.CompletedProcess:
    """The script as a user starts it."""
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


def test_it_prints_names_scores_and_boxes(tmp_path, float_file):
    (tmp_path / "model.tflite").write_bytes(float_file)
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    done = run_alone(f"--model={tmp_path}/model.tflite", f"--image={tmp_path}/photo.png")
    best = deploy.TFLiteDetector(float_file).detect(IMAGE)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{best.names[0]:<20} {best.scores[0]:.2f}  top ")


@pytest.mark.parametrize("kind", ["a FIFO", "an endless device", "a folder"])
@pytest.mark.parametrize("flag", ["model", "image"])
def test_what_is_no_file_is_one_line(run, tmp_path, float_file, flag, kind):
    (tmp_path / "model").write_bytes(float_file)
    mutations.put_in_place(tmp_path / flag, kind)
    done = run(f"--model={tmp_path}/model", f"--image={tmp_path}/image")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: '{tmp_path}/{flag}' is not a file."


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"GIF89a",
        b"",
    ],
    ids=["eps", "cut png", "gif", "empty"],
)
def test_an_image_that_is_none_is_one_line(run, tmp_path, float_file, content):
    (tmp_path / "model").write_bytes(float_file)
    (tmp_path / "photo.jpg").write_bytes(content)
    done = run(f"--model={tmp_path}/model", f"--image={tmp_path}/photo.jpg")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_one_line(tmp_path):
    done = run_alone(f"--model={tmp_path}/none.tflite", "--image=none.jpg")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: [Errno 2] No such file")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "dim I;16"])
def test_it_sees_pictures_as_the_library_does(script, tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    if mode.endswith("I;16"):
        grey = values[..., 0].astype(np.uint16) * (16 if mode == "dim I;16" else 256)
        picture = Image.fromarray(grey)
    else:
        picture = Image.fromarray(values, "RGBA").convert(mode)
    picture.save(tmp_path / "a.png", **({"transparency": 3} if mode == "P" else {}))
    found = script.read_image(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(found, read_image(str(tmp_path / "a.png")))


@pytest.mark.parametrize(("way", "centre"), [("half_pixel", 0.5), ("corner", 0.0)])
def test_it_resizes_as_the_library_does(script, way, centre):
    for height, width in ((96, 96), (240, 320)):
        found = script.resize(IMAGE, height, width, centre)
        np.testing.assert_allclose(found, resize(IMAGE, (height, width), way), atol=1e-3)


@pytest.mark.parametrize(("settings", "centre"), [("corner", 0.0), ("half_pixel", 0.5)])
def test_it_resizes_as_the_file_says(script, tmp_path, float_file, monkeypatch, settings, centre):
    assert of_a_file(script, tmp_path, float_file, monkeypatch, settings).centre == centre


def test_tiles_and_what_is_found_on_them_are_those_of_the_library(script):
    for case in golden.tile_cases():
        tiles = script.tiles_of(*case["size"], case["tiling"])
        assert [list(tile) for tile in tiles] == case["tiles"]
        columns = ("tile", "box", "label", "score")
        values = [np.array([one[name] for one in case["found"]]) for name in columns]
        boxes, labels, scores = script.merge_tiles(
            tiles, *values, case["tiling"], case["class_agnostic"]
        )
        rows = zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
        golden.assert_merged([[*box, score, label] for box, score, label in rows], case)


def test_it_cuts_images_as_the_file_says(script, float_file, tmp_path):
    image = np.concatenate([IMAGE] * 2, axis=1)
    file = TFLiteFile(float_file)
    settings = json.loads(file.files["ssd_keras.json"])
    settings["tiling"] = Tiling(height=120, width=160, overlap=0.25, whole=True).as_dict()
    file.files["ssd_keras.json"] = json.dumps(settings).encode()
    path = tmp_path / "model.tflite"
    path.write_bytes(file.to_bytes())
    detector = script.Detector(str(path), threads=2)
    library = deploy.TFLiteDetector(str(path))
    wanted = library.detect(image).above(0.3)
    found = detector.detect(image, min_score=0.3)
    assert [name for name, _, _ in found] == wanted.names
    np.testing.assert_allclose([box for _, _, box in found], wanted.pixels(image), atol=1e-3)
    library.tiling, detector.tiling = None, script.tiling(0)
    whole = library.detect(image).above(0.3)
    assert len(whole) != len(wanted)
    assert [name for name, _, _ in detector.detect(image, min_score=0.3)] == whole.names
