"""Optimizers and the learning-rate schedule."""

import keras
import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import Recipe
from tests.training.plain_steps import plain_optimizer


def rates(recipe, steps_per_epoch):
    schedule = recipe.build_schedule(steps_per_epoch)
    return np.array([float(schedule(step)) for step in range(recipe.epochs * steps_per_epoch + 1)])


def test_rate_warms_up_linearly_then_follows_half_a_cosine_to_zero():
    recipe = Recipe(epochs=10, learning_rate=0.5, warmup_epochs=2)
    rate = rates(recipe, 5)
    np.testing.assert_allclose(rate[:11], np.linspace(0, 0.5, 11), rtol=1e-5)
    np.testing.assert_allclose(
        rate[10:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 41))), rtol=1e-4, atol=1e-7
    )


def test_without_warm_up_the_first_step_has_the_highest_rate():
    rate = rates(Recipe(epochs=2, learning_rate=0.5, warmup_epochs=0), 10)
    assert rate[0] == 0.5
    assert np.all(np.diff(rate) < 0)


def test_a_warm_up_longer_than_the_run_ends_with_it():
    rate = rates(Recipe(epochs=1, learning_rate=0.5, warmup_epochs=9), 4)
    np.testing.assert_allclose(rate[:4], np.linspace(0, 0.5, 4), rtol=1e-5)


def test_steps_multiply_the_rate_at_shares_of_the_run():
    recipe = Recipe(
        epochs=10,
        learning_rate=0.5,
        warmup_epochs=1,
        schedule="steps",
        milestones=(0.4, 0.8),
        step_factor=0.2,
    )
    rate = rates(recipe, 10)
    np.testing.assert_allclose(rate[:11], np.linspace(0, 0.5, 11), rtol=1e-5)
    np.testing.assert_allclose(rate[10:40], 0.5, rtol=1e-6)
    np.testing.assert_allclose(rate[40:80], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rate[80:], 0.02, rtol=1e-6)


def test_a_flat_cosine_stays_for_half_of_the_run():
    recipe = Recipe(epochs=10, learning_rate=0.5, warmup_epochs=1, schedule="flat_cosine")
    rate = rates(recipe, 10)
    np.testing.assert_allclose(rate[:11], np.linspace(0, 0.5, 11), rtol=1e-5)
    np.testing.assert_allclose(rate[10:51], 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        rate[50:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 51))), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("schedule", ["cosine", "flat_cosine", "steps"])
def test_a_rollback_lowers_the_whole_schedule(schedule):
    recipe = Recipe(epochs=4, schedule=schedule, warmup_epochs=1)
    for step in (1, 5, 12):
        full, tenth = (recipe.build_schedule(5, factor)(step) for factor in (1.0, 0.1))
        np.testing.assert_allclose(float(tenth), 0.1 * float(full), rtol=1e-5)


def test_accumulated_gradients_make_one_update_of_their_mean():
    variable = keras.Variable([0.0])
    optimizer = plain_optimizer(accumulation=2)
    optimizer.build([variable])
    found = []
    for gradient in (2.0, 4.0, 1.0, 1.0):
        optimizer.apply([keras.ops.array([gradient])])
        found.append(float(variable[0]))
    assert found == [0.0, -3.0, -3.0, -4.0]


def test_an_average_never_reaches_back_over_more_than_a_tenth_of_the_run():
    recipe = Recipe(epochs=10, ema=0.999)
    assert recipe.build_optimizer(20).ema_momentum == pytest.approx(0.95)
    assert recipe.build_optimizer(2000).ema_momentum == 0.999
    assert not Recipe().build_optimizer(20).use_ema


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_decay_shrinks_kernels_alone(optimizer):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="dense"), keras.layers.BatchNormalization()]
    )
    for layer in model.layers:
        layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    recipe = Recipe(
        optimizer=optimizer, learning_rate=0.1, weight_decay=0.5, warmup_epochs=0, epochs=1
    )
    built = recipe.build_optimizer(10)
    built.build(model.trainable_variables)
    built.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    dense, norm = model.layers
    np.testing.assert_allclose(dense.kernel, 1 - 0.1 * 0.5, rtol=1e-6)
    for untouched in (dense.bias, norm.gamma, norm.beta):
        np.testing.assert_array_equal(untouched, 1.0)


def test_gradients_are_clipped_by_their_global_norm():
    variables = [keras.Variable([0.0]), keras.Variable([0.0])]
    optimizer = plain_optimizer(clip_norm=10.0)
    optimizer.build(variables)
    optimizer.apply([keras.ops.array([30.0]), keras.ops.array([-40.0])])
    np.testing.assert_allclose([float(v[0]) for v in variables], [-6.0, 8.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"epochs": 0}, "epochs must be more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be more than 0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"milestones": (0.8, 0.4)}, "milestones must rise between 0 and 1"),
        ({"ema": 1.0}, "ema must be less than 1"),
        ({"momentum": 1.5}, "momentum must be less than 1"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number"),
        ({"warmup_epochs": float("inf")}, "warmup_epochs must be a finite number"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Recipe(**values)


@pytest.mark.parametrize("schedule", ["cosine", "flat_cosine", "steps"])
def test_an_optimizer_is_read_again_with_its_schedule(schedule):
    optimizer = Recipe(epochs=4, schedule=schedule).build_optimizer(5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config()["learning_rate"] == optimizer.get_config()["learning_rate"]
