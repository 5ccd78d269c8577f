"""What a model costs: multiply-adds."""

from __future__ import annotations

import math

import keras
from keras import layers

from ssd_keras.traversal import leaf_layers


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of one image through the convolutions, deconvolutions and dense layers.

    Nested models are opened; all else (activations, batch norms, pools) is left out, as in the
    figures of the papers.
    """
    return sum(_layer_macs(layer) for layer in leaf_layers(model))


def _layer_macs(layer: layers.Layer) -> int:
    if isinstance(layer, layers.Conv2DTranspose):
        # Every input cell is multiplied with the whole kernel.
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0
