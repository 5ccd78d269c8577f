"""Batch normalisation by one kernel: the same values, statistics and gradients as Keras'."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.backbones.normalization import BatchNormalization

SHAPES = {"maps": (4, 7, 5, 6), "one cell": (3, 1, 1, 6), "one value a channel": (1, 1, 1, 6)}


def pair(**options):
    """Ours and Keras' layer with the same random weights."""
    made = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(**options)
        layer.build((None, None, None, 6))
        rng = np.random.default_rng(0)
        layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
        made.append(layer)
    return made


def trained(layer, x, dtype="float32"):
    """Outputs, gradients and statistics of a training step."""
    x = tf.cast(x, dtype)
    weight = tf.constant(np.random.default_rng(2).normal(size=x.shape), dtype)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y * weight, "float32"))
        return y, tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])

    y, gradients = step()
    return [np.asarray(tf.cast(v, "float32")) for v in (y, *gradients)] + layer.get_weights()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "momentum": 0.0}])
def test_it_trains_as_keras_does(name, options):
    x = np.random.default_rng(1).normal(3, 2, SHAPES[name]).astype("float32")
    ours, theirs = pair(**options)
    for found, expected in zip(trained(ours, x), trained(theirs, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    x = np.random.default_rng(1).normal(300, 2, SHAPES["maps"]).astype("float32")
    ours, theirs = pair(dtype=f"mixed_{dtype}")
    for found, expected in zip(trained(ours, x, dtype), trained(theirs, x, dtype), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-2)
    assert ours(tf.zeros(SHAPES["maps"], dtype), training=True).dtype == dtype


def test_the_kernel_is_what_trains():
    layer, _ = pair()
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec([2, 3, 3, 6])
    )
    assert "FusedBatchNormV3" in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize(
    ("training", "trainable"), [(False, True), (None, True), (True, False)], ids=str
)
def test_without_training_the_statistics_stay_and_are_used(training, trainable):
    x = np.random.default_rng(1).normal(3, 2, SHAPES["maps"]).astype("float32")
    ours, theirs = pair(trainable=trainable)
    before = ours.get_weights()
    np.testing.assert_array_equal(ours(x, training=training), theirs(x, training=training))
    for now, then in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_several_devices_share_the_statistics_as_keras_does():
    assert not pair(synchronized=True)[0]._has_kernel(tf.zeros([2, 3, 3, 6]))


def test_it_is_rebuilt_from_its_settings(tmp_path):
    images = keras.Input((4, 4, 6))
    model = keras.Model(images, BatchNormalization(momentum=0.7, name="norm")(images))
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").get_layer("norm")
    assert (type(layer), layer.momentum) == (BatchNormalization, 0.7)
