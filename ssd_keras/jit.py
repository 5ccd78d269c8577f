"""Compiling a function on arrays with whatever backend Keras runs on."""

from collections.abc import Callable

import keras


def jit(function: Callable) -> Callable:
    """Returns `function` as a `tf.function` or under `jax.jit`.

    The function must be pure: arrays in, arrays out, no Keras variables inside.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def jit_call(model: keras.Model, function: Callable) -> Callable:
    """`function(model(x))` as one compiled step on `x`, with the weights of the time of the call.

    Args:
        model: the model, called for inference.
        function: pure, from the model's outputs to arrays.
    """
    if keras.backend.backend() != "jax":
        step = jit(lambda x: function(model(x, training=False)))
        return lambda x: step(keras.ops.convert_to_tensor(x))
    step = jit(
        lambda trainable, rest, x: function(
            model.stateless_call(trainable, rest, x, training=False)[0]
        )
    )

    def call(x):
        trainable = [variable.value for variable in model.trainable_variables]
        rest = [variable.value for variable in model.non_trainable_variables]
        return step(trainable, rest, x)

    return call
