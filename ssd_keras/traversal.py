"""Walking through the layers of a model."""

from __future__ import annotations

from collections.abc import Iterator

import keras


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer that is not a model, those of nested models included, in their order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer
