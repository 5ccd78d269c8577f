"""The contract of a Core Network: an ordered dict of feature maps, readable from the model."""

from __future__ import annotations

import dataclasses
import itertools
import math

import keras


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """One feature map of a backbone.

    Attributes:
        name: the layer that makes it.
        size: (height, width) in cells.
        stride: image pixels from one cell to the next; cores halve, so this is a power of two.
        channels: number of channels.
    """

    name: str
    size: tuple[int, int]
    stride: int
    channels: int


def stride_of(image_size: tuple[int, int], map_size: tuple[int, int]) -> int:
    """Image pixels from one cell of a map to the next, a power of two.

    Networks without padding lose cells at the borders, of the longer side the smaller share.
    """
    cells, side = max(zip(map_size, image_size, strict=True), key=lambda pair: pair[1])
    return 2 ** round(math.log2(side / cells))


def feature_maps(backbone: keras.Model) -> tuple[FeatureMap, ...]:
    """Reads the feature maps of a backbone, finest first.

    Raises:
        ValueError: it is no model, or its output is not a dict of `[B, H, W, C]` maps with known
            sizes, ordered from fine to coarse.
    """
    if not isinstance(backbone, keras.Model):
        raise ValueError(f"A backbone must be a keras.Model, got {type(backbone).__name__}.")
    if not isinstance(backbone.output, dict):
        raise ValueError(
            f"Backbone '{backbone.name}' must return a dict of feature maps, name -> tensor, "
            f"got {type(backbone.output).__name__}."
        )
    maps = []
    for name, tensor in backbone.output.items():
        if len(tensor.shape) != 4 or None in tensor.shape[1:]:
            raise ValueError(
                f"Feature map '{name}' of backbone '{backbone.name}' must be [B, H, W, C] with a "
                f"fixed size, got {tuple(tensor.shape)}: build the backbone for one image size."
            )
        height, width, channels = tensor.shape[1:]
        stride = stride_of(backbone.input.shape[1:3], (height, width))
        maps.append(FeatureMap(name, (height, width), stride, channels))
    for fine, coarse in itertools.pairwise(maps):
        if fine.size < coarse.size:
            raise ValueError(
                f"Feature maps of backbone '{backbone.name}' must go from fine to coarse, but "
                f"'{fine.name}' {fine.size} comes before '{coarse.name}' {coarse.size}."
            )
    return tuple(maps)
