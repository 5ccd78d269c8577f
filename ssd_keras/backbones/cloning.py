"""Copies of networks that Keras builds, with names of layers that do not depend on a counter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import keras
from keras import layers

from ssd_keras.backbones.normalization import (
    TORCH_DEVIATIONS,
    TORCH_MEANS,
    BatchNormalization,
)

BATCH_NORM_MOMENTUM = 0.99


def numbered_copy(
    model: keras.Model, momentum: Callable[[float], float] = lambda _: BATCH_NORM_MOMENTUM
) -> keras.Model:
    """A copy with new weights in which layers without a name of their own are numbered from 1.

    Args:
        model: a functional model.
        momentum: from the momentum of a batch norm to that of the copy.
    """
    return keras.models.clone_model(model, clone_function=_cloning(_own_names(model), momentum))


def number_by_kind(names: Iterable[str], counted: Iterable[str]) -> dict[str, str]:
    """New names for those that Keras made of a kind and a counter: numbered from 1, in their order.

    Args:
        names: names of layers.
        counted: kinds as Keras writes them, such as "batch_normalization".
    """
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


def _own_names(model: keras.Model) -> dict[str, str]:
    """For each layer that Keras counted, its number from 1 among those of its kind."""
    kinds = {_snake_case(type(layer).__name__) for layer in model.layers}
    return number_by_kind([layer.name for layer in model.layers], sorted(kinds))


def _snake_case(name: str) -> str:
    """A class's name as Keras makes it a layer's."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def _cloning(names: dict[str, str], momentum: Callable[[float], float]) -> Callable:
    def clone(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config["name"] = names.get(layer.name, layer.name)
        if isinstance(layer, layers.BatchNormalization):
            faster = momentum(config["momentum"])
            return BatchNormalization.from_config({**config, "momentum": faster})
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
