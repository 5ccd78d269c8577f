"""Run folders of the version before detectors had suppression and ways of resizing."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ssd_keras
from ssd_keras.training import callbacks

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.eager]
SETTINGS = {
    "model": "SSD_Tiny_32",
    "backbone": f"{ROOT / 'tests' / 'tiny.py'}:backbone",
    "model_options": {"extras": []},
    "epochs": 3,
    "batch_size": 4,
    "ema": 0.9,
}
SHAPES = "shapes#train,count=8,size=32"
# What settings.json held; a detector's config had what made it.
OF_THE_RUN = (
    "model", "train_data", "eval_data", "backbone_weights", "backbone", "weights", "width",
    "box_scale", "smallest_box", "finest_stride", "model_options", "freeze", "stage",
    "augmentation", "max_boxes", "eval_every", "patience", "batch_norm_batches", "precision", "jit",
    "devices", "on_nan", "checkpoint_minutes", "seed", "recipe", "images", "used",
)  # fmt: skip
OF_THE_RECIPE = (
    "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "milestones", "step_factor",
    "warmup_epochs", "momentum", "weight_decay", "clip_norm", "accumulation", "ema",
)  # fmt: skip
OF_A_DETECTOR = ("name", "backbone", "box_network", "classes")


def train(folder):
    return ssd_keras.train(SHAPES, run_dir=folder, **SETTINGS)


def make_earlier(folder: Path):
    """Leaves of a run folder's files what that version wrote."""
    path = folder / "settings.json"
    settings = json.loads(path.read_text())
    settings = {key: settings[key] for key in OF_THE_RUN}
    settings["recipe"] = {key: settings["recipe"][key] for key in OF_THE_RECIPE}
    path.write_text(json.dumps(settings))
    for name in ("best.keras", "last.keras"):
        shutil.move(folder / name, folder / "new.keras")
        with (
            zipfile.ZipFile(folder / "new.keras") as new,
            zipfile.ZipFile(folder / name, "w") as old,
        ):
            for part in new.namelist():
                content = new.read(part)
                if part == "config.json":
                    config = json.loads(content)
                    config["config"] = {key: config["config"][key] for key in OF_A_DETECTOR}
                    content = json.dumps(config)
                old.writestr(part, content)
        (folder / "new.keras").unlink()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    train(folder)
    return folder


def test_one_that_was_stopped_goes_on_to_the_same_weights(straight, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Stands for a process that ends without a chance to tidy up."""

    def die(recorder, epoch, logs=None):
        raise Killed

    with monkeypatch.context() as patched:
        usual = callbacks.Recorder.on_epoch_end
        patched.setattr(
            callbacks.Recorder,
            "on_epoch_end",
            lambda self, epoch, logs=None: (die if epoch == 2 else usual)(self, epoch, logs),
        )
        with pytest.raises(Killed):
            train(tmp_path)
    make_earlier(tmp_path)
    train(tmp_path)
    ended, wanted = (ssd_keras.load(f / "last.keras").get_weights() for f in (tmp_path, straight))
    for one, other in zip(ended, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_one_is_loaded_measured_and_known_as_finished(straight, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    make_earlier(folder)
    detector = ssd_keras.load(folder)
    usual = ssd_keras.load(straight)
    assert detector.suppression == usual.suppression
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(detector.detect(image).boxes, usual.detect(image).boxes)
    assert detector.measure(SHAPES).metrics["images"] == 8
    train(folder)
    assert "all 3 epochs are done" in capsys.readouterr().out
