"""Any network of `keras.applications` as a Core Network: its maps are found by their strides."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

import keras
import numpy as np

from ssd_keras.backbones.cloning import number_by_kind, numbered_copy
from ssd_keras.backbones.map_search import maps_at
from ssd_keras.backbones.normalization import prepare_like
from ssd_keras.errors import UserError, one_line

STRIDES = (8, 16, 32)
WITHOUT_NORMS = ("VGG16", "VGG19")
# Kinds of layers with weights that Keras' networks leave without a name: Keras then counts them.
_COUNTED = (
    *("conv2d", "separable_conv2d", "depthwise_conv2d", "dense"),
    *("batch_normalization", "layer_normalization"),
)


def find_application(name: str) -> Callable | None:
    """The function of `keras.applications` of this name, or None."""
    found = getattr(keras.applications, name, None)
    return found if inspect.isfunction(found) and _module_of(name) is not None else None


def application_names() -> list[str]:
    """All networks of `keras.applications` that are taken by name."""
    return [name for name in dir(keras.applications) if find_application(name) is not None]


def application_backbone(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    name: str,
    finest_stride: int = 16,
) -> keras.Model:
    """A network of `keras.applications` as a Core Network.

    The map of a stride is the last one that all of what follows is computed from, or where there
    is none, as in NASNet, the last sum or concatenation. The first layer does what the network's
    `preprocess_input` does, unless the network does it itself. As in `backbones.mobilenet_v2` the
    statistics of batch norms follow faster than Keras'. Layers without a name of their own are
    numbered from 1.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts; other than 1 for networks that have an `alpha`.
        name: the function's name, such as "EfficientNetB0".
        finest_stride: 16, or 8 for one map more before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to maps of strides 16 and 32.

    Raises:
        UserError: the network cannot be built at this size or width, or has no such maps.
    """
    images = keras.Input((*image_size, 3), name="image")
    options, whose = _width_option(name, width), f"'{name}' of keras.applications"
    try:
        whole = find_application(name)(
            input_tensor=prepare_like(_module_of(name).preprocess_input, images, whose),
            input_shape=(*image_size, 3),
            include_top=False,
            weights=None,
            **options,
        )
    except ValueError as error:
        raise UserError(
            f"{whose} cannot be built for images of {image_size[0]}x{image_size[1]} px: "
            f"{one_line(error).rstrip('.')}."
        ) from error
    whole = numbered_copy(whole)
    wanted = [stride for stride in STRIDES if stride >= finest_stride]
    maps = maps_at(whole, wanted, whose)
    return keras.Model(whole.inputs[0], maps, name=name.lower())


def application_with_weights(name: str, width: float) -> keras.Model:
    """Keras' own network with its ImageNet weights, which are downloaded if they are not here."""
    return find_application(name)(
        include_top=False,
        weights="imagenet",
        input_shape=(224, 224, 3),
        **_width_option(name, width),
    )


def renumbered_weights(arrays: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Weights whose layers Keras counted, numbered from 1 in the same order."""
    numbered = number_by_kind(arrays, _COUNTED)
    return {numbered.get(name, name): value for name, value in arrays.items()}


def has_widths(name: str) -> bool:
    """Whether a network of `keras.applications` can be built with fewer channels."""
    return "alpha" in inspect.signature(find_application(name)).parameters


def _width_option(name: str, width: float) -> dict[str, float]:
    if has_widths(name):
        return {"alpha": width}
    if width != 1.0:
        raise UserError(f"'{name}' of keras.applications has one width: leave out width={width:g}.")
    return {}


def _module_of(name: str) -> ModuleType | None:
    """The module of `keras.applications` that a network shares with its `preprocess_input`."""
    for module in vars(keras.applications).values():
        if inspect.ismodule(module) and hasattr(module, name):
            return module if hasattr(module, "preprocess_input") else None
    return None
