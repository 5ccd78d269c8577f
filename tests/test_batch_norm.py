"""Batch normalisation statistics are those of the data."""

import keras
import numpy as np
import pytest

from ssd_keras.batch_norm import BatchStatistics


def model():
    images = keras.Input((1, 1, 2))
    x = keras.layers.BatchNormalization(name="first")(images)
    x = keras.layers.Conv2D(3, 1, name="conv")(x)
    x = keras.layers.BatchNormalization(name="second", momentum=0.9)(x)
    return keras.Model(images, x)


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    means = [[5, -1], [7, 1], [9, 3]]
    return [(rng.normal(mean, [2, 0.1], (4, 1, 1, 2)).astype("float32"), None) for mean in means]


def test_they_are_mean_and_variance_of_all_images_not_of_the_last_batch(batches):
    built = model()
    BatchStatistics(built).measure(batches)
    pixels = np.concatenate([images for images, _ in batches]).reshape(-1, 2)
    first = built.get_layer("first")
    np.testing.assert_allclose(first.moving_mean, pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, pixels.var(axis=0), rtol=1e-4)


def test_deeper_layers_see_what_training_shows_them(batches):
    built = model()
    BatchStatistics(built).measure(batches)
    conv = built.get_layer("conv")
    seen = []
    for images, _ in batches:
        x = images.reshape(-1, 2)
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
        seen.append(x @ np.array(conv.kernel)[0, 0] + np.array(conv.bias))
    second = built.get_layer("second")
    np.testing.assert_allclose(
        second.moving_mean, np.concatenate(seen).mean(axis=0), rtol=1e-4, atol=1e-5
    )


def test_frozen_ones_keep_theirs(batches):
    built = model()
    statistics = BatchStatistics(built, frozen={"first"})
    statistics.measure(batches)
    first, second = built.get_layer("first"), built.get_layer("second")
    np.testing.assert_array_equal(first.moving_mean, 0.0)
    np.testing.assert_array_equal(first.moving_variance, 1.0)
    assert np.all(np.array(second.moving_mean) != 0)
    assert first.trainable


def test_nothing_else_changes(batches):
    built = model()
    kernel = np.array(built.get_layer("conv").kernel)
    BatchStatistics(built).measure(batches)
    np.testing.assert_array_equal(built.get_layer("conv").kernel, kernel)
    assert [built.get_layer(name).momentum for name in ("first", "second")] == [0.99, 0.9]


def test_moving_averages_are_trusted_after_ten_of_their_horizons():
    assert BatchStatistics(model()).horizon == pytest.approx(1000)
    assert BatchStatistics(model(), frozen={"first"}).horizon == pytest.approx(100)
    assert BatchStatistics(model(), frozen={"first", "second"}).horizon == 0


@pytest.mark.parametrize(
    ("step", "averaged", "frozen", "expected"),
    [
        (999, False, (), True),
        (1000, False, (), False),
        (1000, True, (), True),
        (0, True, ("first", "second"), False),
    ],
)
def test_when_moving_averages_lag(step, averaged, frozen, expected):
    assert BatchStatistics(model(), frozen).lag(step, averaged) is expected


def test_a_frozen_layer_stays_frozen(batches):
    built = model()
    built.get_layer("first").trainable = False
    BatchStatistics(built, frozen={"first"}).measure(batches)
    assert not built.get_layer("first").trainable
