"""What Keras does not promise to keep is there and does its part; a failure names the touch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import keras_compat

SIDES = ("input", "output")


def model_of(optimizer) -> keras.Model:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    model.compile(optimizer, "mse", jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def fit(model):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    return model.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False)


@pytest.fixture
def averaging():
    keras.utils.set_random_seed(0)
    return model_of(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))


def kernel(model):
    return keras.ops.convert_to_numpy(model.get_layer("dense").kernel)


def test_the_averages_are_those_of_the_weights(averaging):
    keras_compat.keep_weights_at_end(averaging.optimizer)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(kernel(averaging))
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    averaging.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
    pairs = keras_compat.weight_averages(averaging.optimizer)
    assert [id(v) for v, _ in pairs] == [id(v) for v in averaging.trainable_variables]
    average = keras.ops.convert_to_numpy(pairs[0][1])
    # Keras begins with the weights of the first step, not with zeros.
    np.testing.assert_allclose(average, 0.5 * seen[0] + 0.5 * seen[1], rtol=1e-5)


def test_the_maps_of_each_place_of_a_layer_are_found():
    conv = keras.layers.Conv2D(2, 3, strides=2)
    large, small = keras.Input((9, 9, 2)), keras.Input((5, 5, 2))
    keras.Model([large, small], [conv(large), conv(small)])
    found = {side: [x.shape[1:] for x in keras_compat.maps_of(conv, side)] for side in SIDES}
    assert found == {"input": [(9, 9, 2), (5, 5, 2)], "output": [(4, 4, 2), (2, 2, 2)]}


def test_the_layer_that_a_map_comes_from_is_known_by_name():
    maps = keras.layers.ReLU(name="last")(keras.layers.Conv2D(2, 3)(keras.Input((9, 9, 2))))
    assert keras_compat.layer_name_of(maps) == "last"


def test_without_averages_there_are_none():
    assert keras_compat.weight_averages(keras.optimizers.SGD()) == []
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    assert keras_compat.weight_averages(scaled) == []


def test_the_optimizer_inside_the_one_that_scales_is_found():
    inner = keras.optimizers.SGD()
    assert keras_compat.unscaled_optimizer(keras.optimizers.LossScaleOptimizer(inner)) is inner
    assert keras_compat.unscaled_optimizer(inner) is inner


def test_steps_are_counted_also_while_gradients_are_gathered():
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=3)
    weight = keras.Variable([0.0])
    optimizer.build([weight])
    for _ in range(5):
        optimizer.apply([keras.ops.ones(1)], [weight])
    assert keras_compat.steps_seen(optimizer) == 5
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize("kept", [False, True])
def test_fit_ends_with_the_averages_unless_told_otherwise(averaging, kept):
    if kept:
        keras_compat.keep_weights_at_end(averaging.optimizer)
    fit(averaging)
    average = keras.ops.convert_to_numpy(keras_compat.weight_averages(averaging.optimizer)[0][1])
    assert np.array_equal(kernel(averaging), average) == (not kept)


def test_fit_builds_from_a_batch_unless_told_otherwise(monkeypatch):
    """The very method that is replaced is the one that `fit` calls."""
    called = []
    monkeypatch.setattr(
        keras.Model, "_maybe_symbolic_build", lambda self, **_: called.append(1), raising=True
    )
    fit(model_of(keras.optimizers.SGD()))
    assert called
    called.clear()
    model = model_of(keras.optimizers.SGD())
    keras_compat.skip_build_from_batch(model)
    fit(model)
    assert not called


def test_the_logs_of_a_step_are_changed():
    x, y = np.ones((4, 3)), np.ones((4, 2))
    model = model_of(keras.optimizers.SGD(0.0))
    keras_compat.change_logs(model, lambda value: 0.0 * value + 7.0)
    assert model.train_on_batch(x, y, return_dict=True) == {"loss": 7.0}


def test_gradients_are_summed_before_they_are_clipped():
    """Two devices with a gradient of 3 each and a limit of 4: clipped is the sum of 6."""
    optimizer = keras.optimizers.SGD(1.0, clipnorm=4.0)
    variable = keras.Variable([0.0])
    optimizer.build([variable])
    keras_compat.sum_before_clipping(optimizer, lambda gradients: [2 * g for g in gradients])
    optimizer.apply([keras.ops.array([3.0])])
    np.testing.assert_allclose(variable, [-4.0], rtol=1e-6)


def test_keras_sums_gradients_by_the_method_that_is_replaced(monkeypatch):
    """Else they would be summed twice."""
    called = []
    keep = keras.optimizers.SGD._all_reduce_sum_gradients
    monkeypatch.setattr(
        keras.optimizers.SGD,
        "_all_reduce_sum_gradients",
        lambda self, pairs: called.append(1) or keep(self, pairs),
    )
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        inside = keras.optimizers.SGD(1.0)
        weight = keras.Variable([0.0])
        inside.build([weight])
    strategy.run(lambda: inside.apply([tf.constant([1.0])], [weight]))
    assert called
    called.clear()
    keras_compat.sum_before_clipping(inside, list)
    strategy.run(lambda: inside.apply([tf.constant([1.0])], [weight]))
    assert not called


@pytest.mark.parametrize(
    ("touch", "needed"),
    [
        (keras_compat.skip_build_from_batch, "_maybe_symbolic_build"),
        (keras_compat.steps_seen, "_iterations"),
        (keras_compat.keep_weights_at_end, "finalize_variable_values"),
        (lambda x: keras_compat.sum_before_clipping(x, list), "_all_reduce_sum_gradients"),
    ],
)
def test_a_keras_without_it_is_named(touch, needed):
    class Changed:
        """A model or an optimizer of another Keras."""

    with pytest.raises(RuntimeError, match=rf"Keras {keras.__version__} has no Changed.{needed}"):
        touch(Changed())


def test_operations_come_with_those_they_depend_on_in_their_order():
    images = keras.Input((4,), name="images")
    left = keras.layers.Dense(2, name="left")(images)
    right = keras.layers.Dense(2, name="right")(images)
    model = keras.Model(images, keras.layers.Add(name="sum")([left, right]))
    found = [
        (operation.name, [parent.name for parent in parents])
        for operation, parents in keras_compat.operations_of(model)
    ]
    assert sorted(found[1:3]) == [("left", ["images"]), ("right", ["images"])]
    assert [found[0], found[3]] == [("images", []), ("sum", ["left", "right"])]


def test_each_operation_of_a_model_is_computed_by_another_function():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.ReLU(name="second")(keras.layers.Dense(2)(inputs)))
    seen = []

    def compute(operation, *args, **kwargs):
        seen.append(operation.name)
        return operation(*args, **kwargs) + 1.0

    x = np.ones((1, 3), "float32")
    plain = keras.ops.convert_to_numpy(model.layers[1](x))
    found = keras_compat.run_through(model, x, compute)
    np.testing.assert_allclose(found, np.maximum(plain + 1, 0) + 1, rtol=1e-6)
    assert seen == [model.layers[1].name, "second"]


def test_a_model_computes_by_another_function_and_its_layers_know_whether_it_trains():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dropout(0.999, seed=0)(inputs))
    keras_compat.replace_call(model, lambda x: model.layers[1](x) * 2.0)
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(model(x, training=False), 2 * x)
    np.testing.assert_array_equal(model(x, training=True), 0 * x)
    model.compile("sgd", "mse", jit_compile=False)
    assert model.evaluate(x, 2 * x, verbose=0) == 0.0
