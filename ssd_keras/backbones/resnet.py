"""ResNet-101 with the grids and the dilated last stage of the published DSSD."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.backbones.normalization import (
    IMAGENET_MEANS,
    BatchNormalization,
    CaffeNormalization,
)

# Of each stage: channels, blocks, stride of its first block, dilation of its 3x3 convolutions.
STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 2, 1), (512, 3, 1, 2))
EPSILON = 1.001e-5


def resnet101(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    means: Sequence[float] = IMAGENET_MEANS,
) -> keras.Model:
    """ResNet-101 as a Core Network.

    Differs from `keras.applications.ResNet101`: the first pool is not padded (321 px give 40x40
    and 20x20 maps, 513 px 64x64 and 32x32), and the last stage keeps stride 16 and dilates its 3x3
    convolutions by 2. Layer names and shapes are Keras' own, so Keras' ImageNet weights load by
    name; like Keras', the convolutions have biases, which the published model has not. RGB 0..255
    becomes BGR without the mean in the first layer.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.
        means: what is subtracted from red, green and blue.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "conv3_block4_out" (stride 8)
        and "conv5_block3_out" (stride 16).

    Source: arXiv 1512.03385; caffe-dssd, model_libs.py, ResNet101Body.
    """

    def conv_bn(x, channels, kernel, name, **options):
        x = layers.Conv2D(round(channels * width), kernel, name=f"{name}_conv", **options)(x)
        return BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)

    def bottleneck(x, channels, stride, dilation, project, name):
        shortcut = x
        if project:
            shortcut = conv_bn(x, 4 * channels, 1, f"{name}_0", strides=stride)
        x = conv_bn(x, channels, 1, f"{name}_1", strides=stride)
        x = layers.ReLU(name=f"{name}_1_relu")(x)
        x = conv_bn(x, channels, 3, f"{name}_2", padding="same", dilation_rate=dilation)
        x = layers.ReLU(name=f"{name}_2_relu")(x)
        x = conv_bn(x, 4 * channels, 1, f"{name}_3")
        x = layers.Add(name=f"{name}_add")([shortcut, x])
        return layers.ReLU(name=f"{name}_out")(x)

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = CaffeNormalization(means, name="normalization")(images)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = conv_bn(x, 64, 7, "conv1", strides=2)
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    outputs = {}
    for stage, (channels, blocks, stride, dilation) in enumerate(STAGES, start=2):
        for block in range(1, blocks + 1):
            first = block == 1
            name = f"conv{stage}_block{block}"
            x = bottleneck(x, channels, stride if first else 1, dilation, first, name)
        if stage in (3, 5):
            outputs[f"{name}_out"] = x
    # === Functional model ===
    return keras.Model(images, outputs, name="resnet101")
