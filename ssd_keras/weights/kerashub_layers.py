"""Layers of KerasHub in files of detectors: which classes of it a file may name."""

from __future__ import annotations

import contextlib
import importlib
import re

import keras

from ssd_keras.backbones.kerashub import require_kerashub

# Where KerasHub keeps what a network is made of.
_LAYER_MODULES = re.compile(r"keras_hub\.(src\.)?(models|layers)(\.\w+)*", re.ASCII)


def names_kerashub(module: str | None, registered: str | None) -> bool:
    """Whether a file names a class of KerasHub, by its module or by what it is registered as."""
    return (module or "").partition(".")[0] == "keras_hub" or str(registered).startswith(
        "keras_hub>"
    )


def is_kerashub_layer(module: str | None, name: str, registered: str | None) -> bool:
    """Whether a class that a file names is a layer of KerasHub that only computes.

    Args:
        module: where the file says that it is.
        name: the class's name.
        registered: what it is registered as, by which Keras looks first.

    Returns:
        False also for KerasHub's tokenizers and converters, which read files.

    Raises:
        UserError: KerasHub is not installed.
    """
    require_kerashub(f"The layer '{name[:80]}' in the file")
    found = keras.saving.get_registered_object(registered) if registered else None
    if found is None and _LAYER_MODULES.fullmatch(module or ""):
        with contextlib.suppress(ImportError):
            found = vars(importlib.import_module(module)).get(name)
    if not isinstance(found, type) or not issubclass(found, keras.Layer):
        return False
    return not any(base.__name__ == "PreprocessingLayer" for base in found.__mro__)
