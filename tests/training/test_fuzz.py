"""A run folder whose files are damaged in any way ends in one line, or the run goes on."""

import json
import shutil

import pytest

import ssd_keras
from ssd_keras.training import Recipe, RunFolder
from ssd_keras.training.checkpoint import Progress, read_progress, restore_state, save_state
from tests import tiny
from tests.mutations import PLACES, fuzz, outcome, put_in_place

pytestmark = pytest.mark.slow

SETTINGS = {
    "model": "SSD_MobileNet_300",
    "train_data": "voc:photos#train",
    "smallest_box": None,
    "width": 0.25,
    "freeze": ["backbone"],
    "model_options": {},
    "recipe": {"epochs": 3, "learning_rate": 0.001, "milestones": [0.5, 0.75]},
}
CLASSES = ("cat", "dog", "猫", "$x$", " blank")
USED = {"precision": "float32", "steps_per_epoch": 4}


def compiled():
    detector = tiny.detector()
    detector.compile(Recipe(optimizer="adamw", ema=0.9).build_optimizer(10))
    detector.optimizer.build(detector.trainable_variables)
    return detector


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A run folder with all its files."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    folder.open(SETTINGS, CLASSES)
    folder.write_used(USED)
    rows = [{"epoch": i, "loss": 2.5 / i, "seconds": 1.0} for i in (1, 2, 3)]
    folder.write_history([*rows, {"epoch": 4, "loss": 0.25, "ap50": 0.5}])
    detector = compiled()
    save_state(folder.state, detector, Progress(step=16))
    detector.save(folder.best)
    detector.save(folder.last)
    return folder


@pytest.fixture(scope="module")
def trained():
    return compiled()


@pytest.fixture
def folder(good, tmp_path):
    shutil.copytree(good.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def open_again(folder):
    """What every run does with its folder first."""
    folder.open(SETTINGS, CLASSES)
    folder.write_used(USED)
    folder.steps_per_epoch()


@pytest.mark.parametrize(
    ("name", "read", "count"),
    [
        ("settings.json", open_again, 100),
        ("labels.txt", open_again, 100),
        ("history.csv", lambda folder: folder.history(4), 100),
        ("training_state.npz", lambda folder: read_progress(folder.state), 100),
        # Of which tests/weights/test_fuzz.py reads more.
        ("best.keras", lambda folder: ssd_keras.load(folder.path), 30),
    ],
)
def test_files_of_a_run(folder, name, read, count):
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    # Other settings or classes are refused by the folder's name.
    named = "run" if name in ("settings.json", "labels.txt") else None
    found = fuzz(folder.path / name, lambda path: read(folder), count, seconds=30, named=named)
    assert found["UserError"] > 10
    after = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    assert after == before


def test_states_that_are_restored(folder, trained):
    before = trained.get_weights()
    fuzz(folder.state, lambda path: restore_state(path, trained), count=100)
    restore_state(folder.state, trained)
    assert len(before) == len(trained.get_weights())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("settings.json", open_again),
        ("labels.txt", open_again),
        ("history.csv", lambda folder: folder.history(4)),
        ("training_state.npz", lambda folder: read_progress(folder.state)),
        ("best.keras", lambda folder: ssd_keras.load(folder.path)),
    ],
)
def test_what_is_none_of_a_runs_files(folder, name, read, place):
    put_in_place(folder.path / name, place)
    found = outcome(folder.path / name, lambda path: read(folder), seconds=3, named="run")
    assert found == "UserError"


def test_deep_and_large_json_is_refused_at_once(folder):
    for text in (
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps({"a": "x" * (5 << 20)}),
        '{"recipe": {"epochs": ' + "9" * 5000 + "}}",
        '{"used": 3}',
        '{"recipe": [1]}',
        "[]",
        "null",
        '"text"',
    ):
        folder.settings_file.write_text(text)
        found = outcome(folder.settings_file, lambda path: open_again(folder), seconds=2)
        assert found == "UserError"
