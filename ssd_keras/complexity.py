"""What a model costs: multiply-adds."""

from __future__ import annotations

import math

import keras
from keras import layers

from ssd_keras import keras_compat
from ssd_keras.traversal import leaf_layers


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of one image through the convolutions, deconvolutions and dense layers.

    Nested models are opened; all else (activations, batch norms, pools) is left out, as in the
    figures of the papers.
    """
    return sum(_layer_macs(layer) for layer in leaf_layers(model))


def _layer_macs(layer: layers.Layer) -> int:
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    # Every input cell of a deconvolution is multiplied with the whole kernel.
    kinds = ((layers.Conv2DTranspose, "input"), ((layers.Conv2D, layers.DepthwiseConv2D), "output"))
    for kind, side in kinds:
        if isinstance(layer, kind):
            return _cells(layer, side) * math.prod(layer.kernel.shape)
    return 0


def _cells(layer: layers.Layer, side: str) -> int:
    """Cells of the maps that go into or come out of a layer, which may stand in several places."""
    return sum(math.prod(x.shape[1:3]) for x in keras_compat.maps_of(layer, side))
