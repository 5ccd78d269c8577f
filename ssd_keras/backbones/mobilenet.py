"""MobileNet v1 with the grids that SSD needs."""

from __future__ import annotations

import keras
from keras import layers

from ssd_keras.backbones.initializers import NearIdentity
from ssd_keras.backbones.normalization import rescale_to_one

# Channels after each depthwise-separable block, and the stride of its depthwise convolution
# (MobileNets, arXiv 1704.04861, table 1).
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


def mobilenet(image_size: tuple[int, int], width: float = 1.0) -> keras.Model:
    """MobileNet v1 as a Core Network.

    Differs from `keras.applications.MobileNet` in the padding alone: strided convolutions pad
    "same", so that a 300 px image gives the 19x19 and 10x10 maps of the published detectors
    and not 18x18 and 9x9. At even sizes the two are equal. Layer names are Keras' own, so Keras'
    ImageNet weights load by name. Random weights start near the identity (see
    `backbones.initializers`), without which so deep a stack of depthwise convolutions learns little
    in a short training. RGB 0..255 is normalised to -1..1 by the first layer.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts, as in the paper.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "conv_pw_11_relu" (stride 16)
        and "conv_pw_13_relu" (stride 32).

    Source: arXiv 1704.04861; TF Object Detection API, ssd_mobilenet_v1_feature_extractor.py.
    """
    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = rescale_to_one(images)
    x = layers.Conv2D(int(32 * width), 3, strides=2, padding="same", use_bias=False, name="conv1")(
        x
    )
    x = _normalise_and_clip(x, "conv1")
    outputs = {}
    for block, (channels, stride) in enumerate(BLOCKS, start=1):
        name = f"conv_dw_{block}"
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=name)(x)
        x = _normalise_and_clip(x, name)
        name = f"conv_pw_{block}"
        x = layers.Conv2D(
            int(channels * width), 1, use_bias=False, kernel_initializer=NearIdentity(), name=name
        )(x)
        x = _normalise_and_clip(x, name)
        if block in (11, 13):
            outputs[f"{name}_relu"] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="mobilenet")


def _normalise_and_clip(x, name: str):
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
