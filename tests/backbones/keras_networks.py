"""Small networks of the kinds that `keras.applications` has in large only."""

import types

import keras


def small_convnext(include_top=False, weights=None, **options):
    """ConvNeXt of one block a stage, with Keras' names; its layer scales are no tiny numbers."""
    return keras.src.applications.convnext.ConvNeXt(
        depths=[1, 1, 1, 1],
        projection_dims=[4, 4, 8, 8],
        layer_scale_init_value=0.3,
        include_top=include_top,
        weights=None,
        **options,
    )


def add_application(monkeypatch, name, build, preprocess=lambda images: images):
    """Adds a network to `keras.applications` for a test, with its module."""
    module = types.ModuleType(name.lower())
    module.preprocess_input = preprocess
    setattr(module, name, build)
    monkeypatch.setattr(keras.applications, module.__name__, module, raising=False)
    monkeypatch.setattr(keras.applications, name, build, raising=False)
    return module
