"""Inception v2 as the TF Object Detection API uses it; `keras.applications` has none."""

from __future__ import annotations

import keras
from keras import layers

from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

MIN_CHANNELS = 16

# Channels of the branches of each module: of a single convolution, of a reduction and what follows
# it, or of a pool and its projection. Modules of two branches halve the map (slim, inception_v2).
MODULES = {
    "Mixed_3b": (64, (64, 64), (64, 96), ("AvgPool", 32)),
    "Mixed_3c": (64, (64, 96), (64, 96), ("AvgPool", 64)),
    "Mixed_4a": ((128, 160), (64, 96)),
    "Mixed_4b": (224, (64, 96), (96, 128), ("AvgPool", 128)),
    "Mixed_4c": (192, (96, 128), (96, 128), ("AvgPool", 128)),
    "Mixed_4d": (160, (128, 160), (128, 160), ("AvgPool", 96)),
    "Mixed_4e": (96, (128, 192), (160, 192), ("AvgPool", 96)),
    "Mixed_5a": ((128, 192), (192, 256)),
    "Mixed_5b": (352, (192, 320), (160, 224), ("AvgPool", 128)),
    "Mixed_5c": (352, (192, 320), (192, 224), ("MaxPool", 128)),
}
# Stride of the finest map -> modules whose outputs are the maps.
MAP_MODULES = {16: ("Mixed_4c", "Mixed_5c"), 8: ("Mixed_3c", "Mixed_4c", "Mixed_5c")}


def inception_v2(
    image_size: tuple[int, int],
    width: float = 1.0,
    activation: str = "relu6",
    *,
    finest_stride: int = 16,
) -> keras.Model:
    """Inception v2 as a Core Network.

    Layers are named after the scopes of the published checkpoints, with "_" for "/"; each batch
    norm has the name of its convolution and "_bn".

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts; none falls below 16.
        activation: "relu6", as in the published detectors, or "relu", as in ImageNet's weights.
        finest_stride: 16, or 8 for one map more, "Mixed_3c", before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "Mixed_4c" (stride 16) and
        "Mixed_5c" (stride 32).

    Source: arXiv 1502.03167; TF Object Detection API, ssd_inception_v2_feature_extractor.py.
    """

    make = _Layers(width, activation)
    outputs = {}

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = _stem(make, rescale_to_one(images))
    for name, branches in MODULES.items():
        x = (_halving if len(branches) == 2 else _inception)(make, x, name)
        if name in MAP_MODULES[finest_stride]:
            outputs[name] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="inception_v2")


class _Layers:
    """Makes convolutions of a width, with batch norm and activation."""

    def __init__(self, width: float, activation: str):
        self.width = width
        self.limit = 6.0 if activation == "relu6" else None

    def depth(self, channels: int) -> int:
        """A number of channels at this width."""
        return max(int(channels * self.width), MIN_CHANNELS)

    def batch_norm_relu(self, x, name):
        """Batch norm and activation."""
        x = BatchNormalization(name=f"{name}_bn")(x)
        return layers.ReLU(self.limit, name=f"{name}_relu")(x)

    def conv(self, x, channels, kernel, name, strides=1):
        """Convolution without bias, batch norm, activation."""
        x = layers.Conv2D(
            self.depth(channels), kernel, strides=strides, padding="same", use_bias=False, name=name
        )(x)
        return self.batch_norm_relu(x, name)


def _max_pool(x, name):
    return layers.MaxPooling2D(3, 2, padding="same", name=name)(x)


def _stem(make: _Layers, x):
    x = layers.SeparableConv2D(
        make.depth(64),
        7,
        strides=2,
        padding="same",
        depth_multiplier=min(make.depth(64) // 3, 8),
        use_bias=False,
        name="Conv2d_1a_7x7",
    )(x)
    x = make.batch_norm_relu(x, "Conv2d_1a_7x7")
    x = _max_pool(x, "MaxPool_2a_3x3")
    x = make.conv(x, 64, 1, "Conv2d_2b_1x1")
    x = make.conv(x, 192, 3, "Conv2d_2c_3x3")
    return _max_pool(x, "MaxPool_3a_3x3")


def _halving(make: _Layers, x, name):
    (reduce0, out0), (reduce1, out1) = MODULES[name]
    short = make.conv(x, reduce0, 1, f"{name}_Branch_0_Conv2d_0a_1x1")
    short = make.conv(short, out0, 3, f"{name}_Branch_0_Conv2d_1a_3x3", strides=2)
    long = make.conv(x, reduce1, 1, f"{name}_Branch_1_Conv2d_0a_1x1")
    long = make.conv(long, out1, 3, f"{name}_Branch_1_Conv2d_0b_3x3")
    long = make.conv(long, out1, 3, f"{name}_Branch_1_Conv2d_1a_3x3", strides=2)
    pooled = _max_pool(x, f"{name}_Branch_2_MaxPool_1a_3x3")
    return layers.Concatenate(name=name)([short, long, pooled])


def _inception(make: _Layers, x, name):
    single, (reduce1, out1), (reduce2, out2), (pool, out3) = MODULES[name]
    single = make.conv(x, single, 1, f"{name}_Branch_0_Conv2d_0a_1x1")
    short = make.conv(x, reduce1, 1, f"{name}_Branch_1_Conv2d_0a_1x1")
    short = make.conv(short, out1, 3, f"{name}_Branch_1_Conv2d_0b_3x3")
    long = make.conv(x, reduce2, 1, f"{name}_Branch_2_Conv2d_0a_1x1")
    long = make.conv(long, out2, 3, f"{name}_Branch_2_Conv2d_0b_3x3")
    long = make.conv(long, out2, 3, f"{name}_Branch_2_Conv2d_0c_3x3")
    pool_layer = layers.AveragePooling2D if pool == "AvgPool" else layers.MaxPooling2D
    pooled = pool_layer(3, 1, padding="same", name=f"{name}_Branch_3_{pool}_0a_3x3")(x)
    pooled = make.conv(pooled, out3, 1, f"{name}_Branch_3_Conv2d_0b_1x1")
    return layers.Concatenate(name=name)([single, short, long, pooled])
