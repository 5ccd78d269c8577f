"""Finding the maps of a functional network by their strides."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.backbones.feature_maps import stride_of
from ssd_keras.errors import UserError
from ssd_keras.keras_compat import operations_of

# They only pad, and their maps have other sizes than those of the network.
_PADDING = (layers.ZeroPadding2D, layers.Cropping2D)
_MERGES = (layers.Add, layers.Concatenate)


def maps_at(model: keras.Model, strides: Sequence[int], whose: str) -> dict:
    """The map of each stride, by the name of the layer that makes it, if one does.

    It is the last one that all of what follows is computed from, or where there is none, as in
    NASNet, the last sum or concatenation.

    Args:
        model: a functional model of one image.
        strides: image pixels from one cell to the next.
        whose: what the network is called in errors.

    Raises:
        UserError: it has no map of a stride.
    """
    candidates = _bottlenecks(model), _merges(model)
    maps = {}
    for stride in strides:
        for operations in candidates:
            found = [op for op in operations if _stride_of(model, op) == stride]
            if found:
                # Operations that are no layers have names that Keras counted.
                is_layer = isinstance(found[-1], layers.Layer)
                maps[found[-1].name if is_layer else f"stride{stride}"] = found[-1].output
                break
        else:
            height, width = model.input_shape[1:3]
            raise UserError(
                f"{whose} has no map of stride {stride} for images of {height}x{width} px: of "
                "networks without padding, larger images may have one."
            )
    return maps


def _bottlenecks(model: keras.Model) -> list:
    """Operations that all of what follows is computed from, in their order."""
    operations = operations_of(model)
    places = {id(operation): place for place, (operation, _) in enumerate(operations)}
    last_use = list(range(len(operations)))
    for place, (_, parents) in enumerate(operations):
        for parent in parents:
            last_use[places[id(parent)]] = place
    found, needed_until = [], 0
    for place, (operation, _) in enumerate(operations):
        if needed_until <= place:
            found.append(operation)
        needed_until = max(needed_until, last_use[place])
    return found


def _merges(model: keras.Model) -> list:
    return [operation for operation, _ in operations_of(model) if isinstance(operation, _MERGES)]


def _stride_of(model: keras.Model, operation) -> int | None:
    """The stride of an operation's output, or None if it is no map."""
    return None if isinstance(operation, _PADDING) else map_stride(model, operation.output)


def map_stride(model: keras.Model, output) -> int | None:
    """Image pixels from one cell of an output to the next, or None if it is no map.

    Args:
        model: the functional model that it belongs to.
        output: what a layer gives, a symbolic tensor or several.
    """
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 4:
        return None
    if None in output.shape[1:] or min(output.shape[1:3]) < 2:
        return None
    return stride_of(model.inputs[0].shape[1:3], output.shape[1:3])
