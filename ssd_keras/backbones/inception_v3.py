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
    numbers = itertools.count(1)

    def conv(x, channels, rows, columns, strides=1, padding="same"):
        number = next(numbers)
        x = layers.Conv2D(
            max(1, round(channels * width)),
            (rows, columns),
            strides=strides,
            padding=padding,
            use_bias=False,
            name=f"conv2d_{number}",
        )(x)
        x = BatchNormalization(scale=False, name=f"batch_normalization_{number}")(x)
        return layers.ReLU(name=f"activation_{number}")(x)

    def chain(x, *steps):
        for step in steps:
            x = conv(x, *step)
        return x

    def pooled(x, channels):
        return conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), channels, 1, 1)

    def halved(x):
        return layers.MaxPooling2D(3, strides=2)(x)

    def joined(name, *branches):
        return layers.Concatenate(name=name)(branches)

    # === Stem ===
    images = keras.Input((*image_size, 3), name="image")
    x = rescale_to_one(images)
    x = conv(x, 32, 3, 3, strides=2, padding="valid")
    x = conv(x, 32, 3, 3, padding="valid")
    x = conv(x, 64, 3, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = conv(x, 80, 1, 1, padding="valid")
    x = conv(x, 192, 3, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(x)

    outputs = {}
    # === Stride 8 ===
    for block, pool_channels in enumerate((32, 64, 64)):
        x = joined(
            f"mixed{block}",
            conv(x, 64, 1, 1),
            chain(x, (48, 1, 1), (64, 5, 5)),
            chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            pooled(x, pool_channels),
        )
    outputs["mixed2"] = x
    # === Stride 16 ===
    x = joined(
        "mixed3",
        conv(x, 384, 3, 3, strides=2, padding="valid"),
        chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3, 2, "valid")),
        halved(x),
    )
    for block, inner in enumerate((128, 160, 160, 192), start=4):
        x = joined(
            f"mixed{block}",
            conv(x, 192, 1, 1),
            chain(x, (inner, 1, 1), (inner, 1, 7), (192, 7, 1)),
            chain(x, (inner, 1, 1), (inner, 7, 1), (inner, 1, 7), (inner, 7, 1), (192, 1, 7)),
            pooled(x, 192),
        )
    outputs["mixed7"] = x
    # === Stride 32 ===
    x = joined(
        "mixed8",
        chain(x, (192, 1, 1), (320, 3, 3, 2, "valid")),
        chain(x, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3, 2, "valid")),
        halved(x),
    )
    for block in (9, 10):
        single = conv(x, 320, 1, 1)
        wide = conv(x, 384, 1, 1)
        wide = joined(f"mixed{block}_wide", conv(wide, 384, 1, 3), conv(wide, 384, 3, 1))
        deep = chain(x, (448, 1, 1), (384, 3, 3))
        deep = joined(f"mixed{block}_deep", conv(deep, 384, 1, 3), conv(deep, 384, 3, 1))
        x = joined(f"mixed{block}", single, wide, deep, pooled(x, 192))
    outputs["mixed10"] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="inception_v3")


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
