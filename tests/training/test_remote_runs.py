"""A run whose folder lies on a remote place is what it would be on this machine."""

import json
import os
import random
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import figures, remote, working_copy
from ssd_keras.data import shapes
from ssd_keras.deploy import TFLiteDetector
from ssd_keras.errors import UserError
from ssd_keras.training import Recipe, RunFolder, RunSettings, callbacks, run, train
from tests.training import killer
from tests.training.ten_steps import tiny_detector
from tests.training.test_kills import RUN, assert_same, error_line, finish, start

SETTINGS = RunSettings(
    model="SSD_Smooth_64",
    train_data="shapes#train,count=8,size=64",
    augmentation="none",
    max_boxes=8,
    batch_norm_batches=0,
    recipe=Recipe(epochs=2, batch_size=4, warmup_epochs=0),
)


@pytest.fixture
def tiny_model(monkeypatch):
    """A network that is made in a moment, and curves that nobody draws."""
    monkeypatch.setattr(run, "build", lambda _, classes: tiny_detector("SSD_Smooth_64", classes))
    monkeypatch.setattr(run.zoo, "parse", lambda *_: run.zoo.ModelName("SSD", "Smooth", (64, 64)))
    monkeypatch.setattr(figures, "save", lambda figure, path: Path(path).touch())


@pytest.mark.slow
@pytest.mark.eager
def test_a_run_that_was_stopped_goes_on_on_another_machine(tiny_model, tmp_path, monkeypatch):
    train(SETTINGS, str(tmp_path / "straight"))
    place = f"ram://{tmp_path.name}/run"
    real = callbacks.Checkpoints.on_train_batch_end

    def end_at_third(self, batch, logs=None):
        if self.steps.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, batch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.Checkpoints, "on_train_batch_end", end_at_third)
        with pytest.raises(SystemExit):
            train(SETTINGS, place)
    working_copy._copy_of.cache_clear()
    train(SETTINGS, place)
    working_copy._copy_of.cache_clear()
    straight, resumed = RunFolder(tmp_path / "straight"), RunFolder(place)
    resumed.fetch()
    with np.load(straight.state) as one, np.load(resumed.state) as other:
        assert set(one.files) == set(other.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert [row["loss"] for row in resumed.history()] == [r["loss"] for r in straight.history()]
    assert remote.is_file(f"{place}/pictures/curves.png")
    assert remote.matching(f"{place}/tensorboard/events*")


def test_a_place_that_cannot_be_written_is_said_before_the_first_step(
    tiny_model, tmp_path, monkeypatch, capsys
):
    def refuse(source, target):
        raise tf.errors.PermissionDeniedError(None, None, "no right\nto do so")

    monkeypatch.setattr(remote, "copy", refuse)
    place = f"ram://{tmp_path.name}/run"
    said = f"'{place}/.*' cannot be written: no right to do so. The newest files are kept in '"
    with pytest.raises(UserError, match=said) as caught:
        train(SETTINGS, place)
    shutil.rmtree(re.search("kept in '(.*?)'", str(caught.value))[1])
    assert "Preparing" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run on this machine that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    finish(start(folder))
    return folder


def without_lock(folder: Path) -> Path:
    (folder / ".lock").unlink()
    return folder


@pytest.mark.slow
def test_killed_while_files_are_sent(straight, tmp_path):
    folder, chance = tmp_path / "run", random.Random(3)
    place = f"file://{folder}"
    for what in killer.SENDING:
        count = chance.randint(3, 12)
        finish(start(place, ("tests.training.killer", what, count)), code=-signal.SIGKILL)
    finish(start(place))
    assert_same(folder, without_lock(straight))
    # Nothing is said of the copy where the place is meant.
    other = start(place, flags=(*RUN, "--seed=7"))
    assert f"'{place}' was started with seed=0 (now 7)" in error_line(finish(other, code=2))


@pytest.mark.slow
def test_a_second_process_is_noticed_and_harms_nothing(tmp_path):
    place = f"file://{tmp_path}/run"
    first = start(place)
    first.wait_for("epoch   1")
    first.send_signal(signal.SIGSTOP)
    finish(start(place))
    kept = RunFolder(tmp_path / "run").state.read_bytes()
    first.send_signal(signal.SIGCONT)
    line = error_line(finish(first, code=2))
    assert f"'{place}' is in use by another process, which has written to it" in line
    assert RunFolder(tmp_path / "run").state.read_bytes() == kept


@pytest.mark.slow
def test_it_is_evaluated_and_exported_from_there(straight, tmp_path):
    place, data = f"file://{straight}", "--data=shapes#val,count=4,size=32"
    out = ("--out=" + str(tmp_path / "found"), "--batch_size=4")
    finish(start(place, ("experiments.evaluate",), (data, *out)))
    assert json.loads((tmp_path / "found" / "metrics.json").read_text())["images"] == 4
    finish(start(place, ("export.tflite",), (f"--out={tmp_path}/a.tflite",)))
    assert TFLiteDetector(tmp_path / "a.tflite").classes == shapes.CLASSES
    ended = start(place, ("export.tflite",), ("--out=gs://bucket/a.tflite",))
    assert "a file that is written cannot lie there" in error_line(finish(ended, code=2))
