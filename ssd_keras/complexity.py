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


# Kinds of layers, the side whose cells each meet all of their kernels, and these kernels. Of a
# deconvolution it is the input; a dense layer of a map is applied to each of its cells.
_KINDS = (
    (layers.Conv2DTranspose, "input", ("kernel",)),
    (layers.SeparableConv2D, "output", ("depthwise_kernel", "pointwise_kernel")),
    ((layers.Conv2D, layers.DepthwiseConv2D, layers.Dense), "output", ("kernel",)),
)


def _layer_macs(layer: layers.Layer) -> int:
    for kinds, side, kernels in _KINDS:
        if isinstance(layer, kinds):
            return _cells(layer, side) * sum(math.prod(getattr(layer, k).shape) for k in kernels)
    return 0


def _cells(layer: layers.Layer, side: str) -> int:
    """Cells of the maps that go into or come out of a layer, which may stand in several places.

    A vector is one cell.
    """
    return sum(math.prod(x.shape[1:-1]) for x in keras_compat.maps_of(layer, side))
