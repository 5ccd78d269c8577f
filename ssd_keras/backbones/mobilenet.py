"""MobileNet v1 with the grids that SSD needs."""

from __future__ import annotations

import keras
from keras import layers

from ssd_keras.backbones.initializers import NearIdentity
from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

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
# Stride of the finest map -> blocks whose outputs are the maps.
MAP_BLOCKS = {16: (11, 13), 8: (5, 11, 13)}


def mobilenet(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    min_channels: int = 8,
    activation: str = "relu6",
    explicit_padding: bool = False,
    epsilon: float = 1e-3,
    finest_stride: int = 16,
) -> keras.Model:
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
        min_channels: no layer has fewer.
        activation: "relu6", or "relu" as in Caffe's MobileNet.
        explicit_padding: strided convolutions pad a pixel on every side, as in Caffe and PyTorch;
            "same" pads even sizes at the end only, which shifts what a cell sees by a pixel.
        epsilon: of the batch normalizations; PyTorch's is 1e-5.
        finest_stride: 16, or 8 for one map more, "conv_pw_5_relu", before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "conv_pw_11_relu" (stride 16)
        and "conv_pw_13_relu" (stride 32).

    Source: arXiv 1704.04861; TF Object Detection API, ssd_mobilenet_v1_feature_extractor.py.
    """

    def depth(channels):
        return max(min_channels, int(channels * width))

    def batch_norm_relu(x, name):
        x = BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)
        return layers.ReLU(6.0 if activation == "relu6" else None, name=f"{name}_relu")(x)

    def pad(x, stride, name):
        if stride == 1 or not explicit_padding:
            return x, "same"
        return layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x, padding = pad(rescale_to_one(images), 2, "conv1")
    x = layers.Conv2D(depth(32), 3, strides=2, padding=padding, use_bias=False, name="conv1")(x)
    x = batch_norm_relu(x, "conv1")
    outputs = {}
    for block, (channels, stride) in enumerate(BLOCKS, start=1):
        name = f"conv_dw_{block}"
        x, padding = pad(x, stride, name)
        x = layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=name)(x)
        x = batch_norm_relu(x, name)
        name = f"conv_pw_{block}"
        x = layers.Conv2D(
            depth(channels), 1, use_bias=False, kernel_initializer=NearIdentity(), name=name
        )(x)
        x = batch_norm_relu(x, name)
        if block in MAP_BLOCKS[finest_stride]:
            outputs[f"{name}_relu"] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="mobilenet")
