"""One training run."""

import dataclasses

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import Recipe, RunFolder, RunSettings, callbacks, train
from ssd_keras.training.callbacks import duration, is_best

SETTINGS = RunSettings(
    model="SSD_MobileNet_96",
    train_data="shapes#train,count=12",
    eval_data="shapes#val,count=5",
    width=0.25,
    augmentation="light",
    eval_every=2,
    recipe=Recipe(epochs=3, batch_size=4, warmup_epochs=0.5),
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    straight = train(SETTINGS, tmp_path / "straight")

    save_state = callbacks.Recorder.on_epoch_end

    def die_in_the_third_epoch(recorder, epoch, logs=None):
        if epoch == 2:
            raise Killed
        save_state(recorder, epoch, logs)

    monkeypatch.setattr(callbacks.Recorder, "on_epoch_end", die_in_the_third_epoch)
    with pytest.raises(Killed):
        train(SETTINGS, tmp_path / "stopped")
    monkeypatch.setattr(callbacks.Recorder, "on_epoch_end", save_state)
    resumed = train(SETTINGS, tmp_path / "stopped")

    for before, after in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    rows = [
        [{k: v for k, v in row.items() if "seconds" not in k and "images" not in k} for row in rows]
        for rows in (RunFolder(tmp_path / name).history() for name in ("straight", "stopped"))
    ]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3]
    # Evaluated in the second epoch, by eval_every, and in the last.
    assert ["ap50" in row for row in rows[0]] == [False, True, True]
    for picture in ("curves.png", "predictions.png"):
        assert (tmp_path / "stopped/pictures" / picture).stat().st_size > 10_000


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    recipe = dataclasses.replace(SETTINGS.recipe, batch_size=16)
    settings = dataclasses.replace(SETTINGS, recipe=recipe)
    with pytest.raises(UserError, match="12 images, fewer than one batch of 16"):
        train(settings, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_cause(tmp_path):
    recipe = dataclasses.replace(
        SETTINGS.recipe, optimizer="sgd", learning_rate=1e30, warmup_epochs=0, clip_norm=0.0
    )
    settings = dataclasses.replace(SETTINGS, recipe=recipe)
    with pytest.raises(UserError, match=r"loss became .* epoch 1.*learning rate"):
        train(settings, tmp_path / "run")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"loss": 2.0}], True),
        ([{"loss": 2.0}, {"loss": 2.5}], False),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 1.0}], False),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 3.0, "ap50": 0.6}], True),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 1.0, "ap50": 0.4}], False),
    ],
)
def test_the_best_epoch_is_that_of_the_highest_map_else_of_the_lowest_loss(rows, expected):
    assert is_best(rows) is expected


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (89.6, "90 s"), (720, "12 min"), (11_100, "3 h 05 min")]
)
def test_durations_are_told_in_words(seconds, words):
    assert duration(seconds) == words
