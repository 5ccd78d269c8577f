"""What happens beside the gradient steps."""

import math

import keras
import numpy as np
import pytest

from ssd_keras.training.callbacks import (
    Checkpoints,
    Explosion,
    Recorder,
    StepCounter,
    copy_weights,
    duration,
    is_best,
    is_stalled,
)
from ssd_keras.training.checkpoint import Progress
from tests.training.plain_steps import plain_optimizer


def test_averaged_weights_are_what_is_judged():
    trained, judged = (
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        for _ in range(2)
    )
    optimizer = plain_optimizer(ema=0.75)
    trained.compile(optimizer)
    optimizer.build(trained.trainable_variables)
    for _ in range(3):
        optimizer.apply([keras.ops.ones((2, 1)), keras.ops.zeros((1,))])
    assert copy_weights(trained, judged)
    # Weights were -1, -2, -3; the first average is the first weight.
    average = 0.75 * (0.75 * -1 + 0.25 * -2) + 0.25 * -3
    np.testing.assert_allclose(judged.get_weights()[0], average, rtol=1e-6)
    np.testing.assert_array_equal(trained.get_weights()[0], -3)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"loss": 2.0}], True),
        ([{"loss": 2.0}, {"loss": 2.5}], False),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 1.0}], False),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 3.0, "ap50": 0.6}], True),
        ([{"loss": 2.0, "ap50": 0.5}, {"loss": 1.0, "ap50": 0.4}], False),
        ([{"loss": 2.0, "ap50": math.nan}, {"loss": 1.0, "ap50": math.nan}], True),
        ([{"loss": 1.0, "ap50": math.nan}, {"loss": 2.0, "ap50": math.nan}], False),
    ],
)
def test_the_best_epoch_is_that_of_the_highest_map_else_of_the_lowest_loss(rows, expected):
    assert is_best(rows) is expected


@pytest.mark.parametrize(
    ("scores", "patience", "expected"),
    [
        ([0.5, 0.4, 0.4], 2, True),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.4], 0, False),
        ([0.5, 0.6, 0.6, 0.6], 2, True),
        # Where no object counts there is no mAP: by the loss, which stays as it is.
        ([float("nan")] * 2, 2, False),
        ([float("nan")] * 3, 2, True),
    ],
)
def test_patience_ends_after_so_many_evaluations_without_a_better_one(scores, patience, expected):
    rows = [row for score in scores for row in ({"loss": 1.0}, {"loss": 1.0, "ap50": score})]
    assert is_stalled(rows, patience, evaluates=True) is expected


@pytest.mark.parametrize(("evaluates", "expected"), [(True, False), (False, True)])
def test_losses_before_the_first_evaluation_end_nothing(evaluates, expected):
    rows = [{"loss": loss} for loss in (5.0, 5.1, 5.05)]
    assert is_stalled(rows, 2, evaluates) is expected


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (89.6, "90 s"), (720, "12 min"), (11_100, "3 h 05 min")]
)
def test_durations_are_told_in_words(seconds, words):
    assert duration(seconds) == words


def test_weights_that_are_no_numbers_take_the_place_of_no_good_ones(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    checkpoints = Checkpoints(None, StepCounter(1, 1), Progress(), minutes=10)
    checkpoints.set_model(model)
    # A judged detector that cannot be saved: nothing may try to.
    recorder = Recorder(tmp_path, None, [], 1, checkpoints)
    recorder.set_model(model)
    with pytest.raises(Explosion, match="A weight is not a number after step 1"):
        recorder.on_epoch_end(0, {"loss": 1.0})
    assert recorder.rows == []
