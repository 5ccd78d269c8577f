"""The importing program, as a user starts it."""

import json

import numpy as np
import pytest

import ssd_keras
from tests.experiments import programs
from tests.weights import api_graphs


def start(*flags):
    return programs.start("import_weights", *flags)


FAULTS = {
    "missing": (["--source=nowhere.pb"], "'nowhere.pb' does not exist: give a frozen graph"),
    "another kind": (["--source=setup.py"], "'setup.py' is of no known kind"),
    "missing labels": (
        ["--source=setup.py", "--labels=nowhere.txt"],
        "There is no label file 'nowhere.txt'",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def faulty(folder):
    """Programs that were started with each fault."""
    started = {
        name: start(*flags, f"--run_dir={folder / 'none'}") for name, (flags, _) in FAULTS.items()
    }
    (folder / "taken").mkdir()
    (folder / "taken" / "best.keras").write_text("a run of the user")
    started["taken"] = start("--source=setup.py", f"--run_dir={folder / 'taken'}")
    return started


@pytest.fixture(scope="module")
def imported(folder, faulty):
    """(run folder, what the program printed)."""
    (folder / "x.pb").write_bytes(api_graphs.mobilenet_v1())
    (folder / "map.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 3 name: 'dog' }")
    program = start(
        f"--source={folder / 'x.pb'}",
        f"--labels={folder / 'map.pbtxt'}",
        f"--run_dir={folder / 'run'}",
    )
    ended = programs.end(program)
    assert ended.code == 0, ended.complaint
    return folder / "run", ended.printed


def test_the_run_folder_holds_an_ordinary_detector(imported):
    folder, _ = imported
    detector = ssd_keras.load(folder)
    assert detector.classes == ("cat", "dog")
    assert (folder / "labels.txt").read_text() == "cat\ndog\n"
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["model"] == "SSD_MobileNet_128"
    assert settings["suppression"]["iou_threshold"] == 0.6


def test_the_report_says_what_was_mapped(imported):
    folder, output = imported
    assert "2 classes, named by the label file; 1 numbers without a name are left out" in output
    assert "199 tensors fill 82 layers of SSD_MobileNet_128; 0 tensors are not needed" in output
    report = (folder / "import_report.txt").read_text()
    assert "level0_boxes: BoxPredictor_0/BoxEncodingPredictor/weights, BoxPredictor_0" in report


def test_it_detects(imported):
    folder, _ = imported
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert set(ssd_keras.load(folder).detect(image).names) == {"cat", "dog"}


def test_another_list_of_classes_starts_from_its_very_architecture(imported):
    folder, _ = imported
    first = ssd_keras.load(folder)
    second = ssd_keras.create("SSD_MobileNet_128", ["bird"], weights=folder)
    images = np.random.default_rng(0).uniform(0, 255, (1, 128, 128, 3)).astype("float32")
    np.testing.assert_allclose(
        second.predict_on_batch(images)["boxes"], first.predict_on_batch(images)["boxes"], atol=1e-5
    )
    assert second.box_network.scores == "sigmoid"
    assert second.classes == ("bird",)


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line(name, faulty, folder):
    _, errors, code = programs.end(faulty[name])
    assert code == 2
    assert errors.startswith("error: ")
    assert FAULTS[name][1] in errors
    assert errors.count("\n") == 1
    assert not (folder / "none").exists()


def test_a_folder_that_holds_a_run_is_left_alone(faulty, folder):
    _, errors, code = programs.end(faulty["taken"])
    assert code == 2
    assert "holds a run already" in errors
    assert [path.name for path in (folder / "taken").iterdir()] == ["best.keras"]
    assert (folder / "taken" / "best.keras").read_text() == "a run of the user"
