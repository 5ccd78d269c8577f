"""Rebuilding a model in float32, whatever precision it was trained in."""

from __future__ import annotations

import keras

from ssd_keras.traversal import leaf_layers

_HALF = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def float32_model(model: keras.Model) -> keras.Model:
    """Returns a copy that computes in float32, or the model itself if it does already."""
    if all(layer.compute_dtype not in _HALF for layer in leaf_layers(model)):
        return model
    return float32_copy(model)


def float32_copy(model: keras.Model) -> keras.Model:
    """A model of the same architecture, names and weights that computes in float32.

    A converter cannot handle the float16 convolutions of a mixed-precision model, and
    `keras.models.clone_model` keeps the precision.
    """
    config = _with_float32(keras.saving.serialize_keras_object(model))
    policy = keras.config.dtype_policy()
    # Layers that a model builds by itself, and that no config tells of, follow the global policy.
    keras.config.set_dtype_policy("float32")
    try:
        copy = keras.saving.deserialize_keras_object(config)
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(model.get_weights())
    return copy


def _with_float32(config):
    """The same config with every half-precision policy replaced."""
    if isinstance(config, dict):
        return {
            key: "float32"
            if key == "dtype" and isinstance(value, str) and value in _HALF
            else _with_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, str) and config in _HALF:
        return "float32"
    if isinstance(config, (list, tuple)):
        return type(config)(_with_float32(item) for item in config)
    return config
