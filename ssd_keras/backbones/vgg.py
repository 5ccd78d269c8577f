"""VGG16 with the changes that SSD makes to it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from ssd_keras.backbones.normalization import IMAGENET_MEANS, CaffeNormalization, L2Normalization

# Channels and convolutions of each block (VGG, arXiv 1409.1556, table 1, column D).
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
FULLY_CONVOLUTIONAL = 1024
FC6_DILATION = 6


def vgg16(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    means: Sequence[float] = IMAGENET_MEANS,
) -> keras.Model:
    """VGG16 as a Core Network, its fully connected layers turned into convolutions.

    Differs from `keras.applications.VGG16`: pools round up (300 px give 38x38 and 19x19 maps),
    the last pool keeps the size, fc6 is a dilated 3x3 and fc7 a 1x1 convolution ("atrous"), and
    the finer map is L2-normalised with a learned scale. Layer names are Keras' own where there
    is a counterpart. RGB 0..255 becomes BGR without the mean in the first layer.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.
        means: what is subtracted from red, green and blue.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "block4_conv3_norm"
        (stride 8) and "fc7" (stride 16).

    Source: SSD paper, arXiv 1512.02325, section 3.1; caffe-ssd, model_libs.py, VGGNetBody.
    """

    def conv(x, channels, kernel, name, dilation=1):
        return layers.Conv2D(
            round(channels * width),
            kernel,
            padding="same",
            dilation_rate=dilation,
            activation="relu",
            name=name,
        )(x)

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = CaffeNormalization(means, name="normalization")(images)
    for block, (channels, convolutions) in enumerate(BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            x = conv(x, channels, 3, f"block{block}_conv{i}")
        if block == 4:
            fine = L2Normalization(name="block4_conv3_norm")(x)
        pool, stride = (3, 1) if block == 5 else (2, 2)
        x = layers.MaxPooling2D(pool, stride, padding="same", name=f"block{block}_pool")(x)
    x = conv(x, FULLY_CONVOLUTIONAL, 3, "fc6", dilation=FC6_DILATION)
    x = conv(x, FULLY_CONVOLUTIONAL, 1, "fc7")
    # === Functional model ===
    return keras.Model(images, {"block4_conv3_norm": fine, "fc7": x}, name="vgg16")


def convolutional_vgg_weights(arrays: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Keras' VGG16 weights with the fully connected layers cut down to fc6 and fc7.

    Every fourth output is kept, and of fc6's 7x7 window every third row and column, as in the
    fc-reduced VGG16 that SSD starts from (DeepLab, arXiv 1412.7062, section 3.1). Weights
    without the fully connected layers are returned as they are.
    """
    if "fc1" not in arrays or "fc2" not in arrays:
        return arrays
    arrays = dict(arrays)
    kernel, bias = arrays.pop("fc1")
    fc6 = kernel.reshape(7, 7, 512, 4096)[::3, ::3, :, ::4]
    arrays["fc6"] = [fc6, bias[::4]]
    kernel, bias = arrays.pop("fc2")
    arrays["fc7"] = [kernel[None, None, ::4, ::4], bias[::4]]
    arrays.pop("predictions", None)
    return arrays
