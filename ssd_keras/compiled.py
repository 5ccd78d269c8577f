"""Compiling a pure function on arrays with whatever backend Keras runs on."""

from collections.abc import Callable

import keras


def compiled(function: Callable) -> Callable:
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
