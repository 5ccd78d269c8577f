"""Inception v3, whose grids are right as Keras builds them; layers named so that weights load."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
from keras import layers

from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one


def inception_v3(image_size: tuple[int, int], width: float = 1.0) -> keras.Model:
    """Inception v3 as a Core Network.

    The same network as `keras.applications.InceptionV3`. Keras numbers its convolutions and batch
    norms by how many were made before in the process; here they are numbered from 1 in the same
    order, as in Keras' weights file.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "mixed2" (stride 8), "mixed7"
        (stride 16) and "mixed10" (stride 32).

    Source: arXiv 1512.00567; keras/src/applications/inception_v3.py.
    """
    make = _Layers(width)
    outputs = {}

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = _stem(make, rescale_to_one(images))
    for block, pool_channels in enumerate((32, 64, 64)):
        x = _inception_a(make, x, f"mixed{block}", pool_channels)
    outputs["mixed2"] = x
    x = _reduction_a(make, x, "mixed3")
    for block, inner in enumerate((128, 160, 160, 192), start=4):
        x = _inception_b(make, x, f"mixed{block}", inner)
    outputs["mixed7"] = x
    x = _reduction_b(make, x, "mixed8")
    for block in (9, 10):
        x = _inception_c(make, x, f"mixed{block}")
    outputs["mixed10"] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="inception_v3")


class _Layers:
    """Makes convolutions of a width, counted from 1."""

    def __init__(self, width: float):
        self.width = width
        self.numbers = itertools.count(1)

    def conv(self, x, channels, rows, columns, strides=1, padding="same"):
        """Convolution without bias, batch norm, ReLU."""
        number = next(self.numbers)
        x = layers.Conv2D(
            max(1, round(channels * self.width)),
            (rows, columns),
            strides=strides,
            padding=padding,
            use_bias=False,
            name=f"conv2d_{number}",
        )(x)
        x = BatchNormalization(scale=False, name=f"batch_normalization_{number}")(x)
        return layers.ReLU(name=f"activation_{number}")(x)

    def chain(self, x, *steps):
        """One convolution after the other."""
        for step in steps:
            x = self.conv(x, *step)
        return x

    def pool_project(self, x, channels):
        """The mean of each neighbourhood, projected."""
        return self.conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), channels, 1, 1)


def _concat(name, *branches):
    return layers.Concatenate(name=name)(branches)


def _max_pool(x):
    return layers.MaxPooling2D(3, strides=2)(x)


# === The modules, by the names of the paper's figures 5 to 7 and 10 ===


def _stem(make: _Layers, x):
    x = make.conv(x, 32, 3, 3, strides=2, padding="valid")
    x = make.conv(x, 32, 3, 3, padding="valid")
    x = make.conv(x, 64, 3, 3)
    x = _max_pool(x)
    x = make.conv(x, 80, 1, 1, padding="valid")
    x = make.conv(x, 192, 3, 3, padding="valid")
    return _max_pool(x)


def _inception_a(make: _Layers, x, name, pool_channels):
    return _concat(
        name,
        make.conv(x, 64, 1, 1),
        make.chain(x, (48, 1, 1), (64, 5, 5)),
        make.chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
        make.pool_project(x, pool_channels),
    )


def _reduction_a(make: _Layers, x, name):
    return _concat(
        name,
        make.conv(x, 384, 3, 3, strides=2, padding="valid"),
        make.chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3, 2, "valid")),
        _max_pool(x),
    )


def _inception_b(make: _Layers, x, name, inner):
    return _concat(
        name,
        make.conv(x, 192, 1, 1),
        make.chain(x, (inner, 1, 1), (inner, 1, 7), (192, 7, 1)),
        make.chain(x, (inner, 1, 1), (inner, 7, 1), (inner, 1, 7), (inner, 7, 1), (192, 1, 7)),
        make.pool_project(x, 192),
    )


def _reduction_b(make: _Layers, x, name):
    return _concat(
        name,
        make.chain(x, (192, 1, 1), (320, 3, 3, 2, "valid")),
        make.chain(x, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3, 2, "valid")),
        _max_pool(x),
    )


def _inception_c(make: _Layers, x, name):
    single = make.conv(x, 320, 1, 1)
    wide = make.conv(x, 384, 1, 1)
    wide = _concat(f"{name}_wide", make.conv(wide, 384, 1, 3), make.conv(wide, 384, 3, 1))
    deep = make.chain(x, (448, 1, 1), (384, 3, 3))
    deep = _concat(f"{name}_deep", make.conv(deep, 384, 1, 3), make.conv(deep, 384, 3, 1))
    return _concat(name, single, wide, deep, make.pool_project(x, 192))


def renumbered_inception_weights(
    arrays: dict[str, list[np.ndarray]],
) -> dict[str, list[np.ndarray]]:
    """Inception weights with convolutions and batch norms counted from 1, whatever they had."""
    renamed = dict(arrays)
    for kind in ("conv2d", "batch_normalization"):
        names = [name for name in arrays if re.fullmatch(rf"{kind}(_\d+)?", name)]
        names.sort(key=lambda name: int(name.removeprefix(kind).removeprefix("_") or 0))
        for name in names:
            del renamed[name]
        renamed |= {f"{kind}_{i}": arrays[name] for i, name in enumerate(names, start=1)}
    return renamed
