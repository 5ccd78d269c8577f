"""Any network of `keras.applications` as a Core Network: its maps are found by their strides."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable
from types import ModuleType

import keras
import numpy as np
from keras import layers

from ssd_keras.backbones.normalization import (
    TORCH_DEVIATIONS,
    TORCH_MEANS,
    BatchNormalization,
    CaffeNormalization,
)
from ssd_keras.errors import UserError, one_line
from ssd_keras.keras_compat import operations_of

BATCH_NORM_MOMENTUM = 0.99
STRIDES = (8, 16, 32)
# They only pad, and their maps have other sizes than those of the network.
_PADDING = (layers.ZeroPadding2D, layers.Cropping2D)
_MERGES = (layers.Add, layers.Concatenate)
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
    options = _width_option(name, width)
    try:
        whole = find_application(name)(
            input_tensor=_preprocess(images, name),
            input_shape=(*image_size, 3),
            include_top=False,
            weights=None,
            **options,
        )
    except ValueError as error:
        raise UserError(
            f"'{name}' of keras.applications cannot be built for images of {image_size[0]}x"
            f"{image_size[1]} px: {one_line(error).rstrip('.')}."
        ) from error
    whole = keras.models.clone_model(whole, clone_function=_cloning(_own_names(whole)))
    wanted = [stride for stride in STRIDES if stride >= finest_stride]
    maps = _maps_at(whole, wanted, name)
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
    numbered = _number_by_kind(arrays, _COUNTED)
    return {numbered.get(name, name): value for name, value in arrays.items()}


def _width_option(name: str, width: float) -> dict[str, float]:
    if "alpha" in inspect.signature(find_application(name)).parameters:
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


def _preprocess(images, name: str):
    """Images as the network's `preprocess_input` makes them; seen from what it does to colours."""
    probes = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).astype("float32")
    done = _module_of(name).preprocess_input(probes.reshape(4, 1, 1, 3).copy())
    black, *colours = np.asarray(done).reshape(4, 3)
    matrix = (np.stack(colours) - black) / 255
    if np.allclose(matrix, np.eye(3)) and not black.any():
        return images
    if np.allclose(matrix, np.eye(3)[::-1], atol=1e-5):
        means = tuple(round(-float(value), 4) for value in black[::-1])
        return CaffeNormalization(means, name="preprocessing")(images)
    if np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-6):
        scale, offset = np.diag(matrix).tolist(), black.tolist()
        return layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")(images)
    raise UserError(f"'{name}' of keras.applications prepares images in a way that is not known.")


# === Names and layers ===


def _own_names(model: keras.Model) -> dict[str, str]:
    """For each layer that Keras counted, its number from 1 among those of its kind."""
    kinds = {_snake_case(type(layer).__name__) for layer in model.layers}
    return _number_by_kind([layer.name for layer in model.layers], sorted(kinds))


def _snake_case(name: str) -> str:
    """A class's name as Keras makes it a layer's."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def _number_by_kind(names: Iterable[str], counted: Iterable[str]) -> dict[str, str]:
    pattern = re.compile(rf"({'|'.join(counted)})(?:_(\d+))?")
    kinds: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            kinds.setdefault(match[1], []).append((int(match[2] or 0), name))
    return {
        name: f"{kind}_{position}"
        for kind, found in kinds.items()
        for position, (_, name) in enumerate(sorted(found), start=1)
    }


def _cloning(names: dict[str, str]) -> Callable:
    def clone(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config["name"] = names.get(layer.name, layer.name)
        if isinstance(layer, layers.BatchNormalization):
            return BatchNormalization.from_config({**config, "momentum": BATCH_NORM_MOMENTUM})
        if isinstance(layer, layers.Normalization) and config["mean"] is None:
            return _imagenet_normalization(config["name"])
        return layer.__class__.from_config(config)

    return clone


def _imagenet_normalization(name: str) -> layers.Layer:
    """EfficientNet's normalization of 0..1, of which Keras has the numbers with weights only."""
    return layers.Rescaling(
        [1 / deviation for deviation in TORCH_DEVIATIONS],
        offset=[-mean / std for mean, std in zip(TORCH_MEANS, TORCH_DEVIATIONS, strict=True)],
        dtype="float32",
        name=name,
    )


# === Maps ===


def _maps_at(model: keras.Model, strides: list[int], name: str) -> dict:
    """The map of each stride, by the name of the layer that makes it, if one does."""
    candidates = _bottlenecks(model), _merges(model)
    maps = {}
    for stride in strides:
        for operations in candidates:
            found = [op for op in operations if _stride(model, op) == stride]
            if found:
                # Operations that are no layers have names that Keras counted.
                is_layer = isinstance(found[-1], layers.Layer)
                maps[found[-1].name if is_layer else f"stride{stride}"] = found[-1].output
                break
        else:
            raise UserError(f"'{name}' of keras.applications has no map of stride {stride}.")
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


def _stride(model: keras.Model, operation) -> int | None:
    """Image pixels from one cell of an operation's output to the next, or None if it is no map."""
    output = operation.output
    if isinstance(operation, _PADDING) or isinstance(output, list) or len(output.shape) != 4:
        return None
    if None in output.shape[1:] or min(output.shape[1:3]) < 2:
        return None
    return 2 ** round(math.log2(model.inputs[0].shape[1] / output.shape[1]))
