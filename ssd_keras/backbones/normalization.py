"""What a Core Network does to pixels and maps before it uses them; float32 under any policy."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

# Means of ImageNet in RGB order, as Keras' "caffe" preprocessing subtracts them.
IMAGENET_MEANS = (123.68, 116.779, 103.939)


def rescale_to_one(images):
    """RGB 0..255 to -1..1, what MobileNet and Inception are trained on."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="normalization")(images)


@keras.saving.register_keras_serializable("ssd_keras")
class CaffeNormalization(layers.Layer):
    """RGB 0..255 to BGR with the mean of each channel subtracted, as Caffe's models expect.

    The channels are swapped by a constant 1x1 convolution: TFLite's delegates run it, while a
    reversed slice falls back to the plain CPU kernel.

    Args:
        means: what is subtracted, in RGB order.
    """

    def __init__(self, means: Sequence[float] = IMAGENET_MEANS, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.means = tuple(means)

    def call(self, images):
        swap = np.eye(3, dtype="float32")[::-1].reshape(1, 1, 3, 3)
        swapped = ops.conv(images, ops.convert_to_tensor(swap), padding="valid")
        return swapped - ops.convert_to_tensor(self.means[::-1], "float32")

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """The arguments."""
        return {**super().get_config(), "means": list(self.means)}


@keras.saving.register_keras_serializable("ssd_keras")
class L2Normalization(layers.Layer):
    """Each cell's channels divided by their length, times a learned scale per channel.

    Computed in float32: the squares of 512 activations do not fit float16.

    Args:
        initial_scale: the scale at the start.
        epsilon: smallest squared length that is divided by.

    Source: SSD paper, section 3.1; ParseNet, arXiv 1506.04579; caffe-ssd, NormalizeLayer.
    """

    def __init__(
        self, initial_scale: float = 20.0, epsilon: float = 1e-10, dtype="float32", **kwargs
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.initial_scale = initial_scale
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the scale, `[channels]`."""
        self.scale = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_scale),
            name="scale",
        )

    def call(self, x):
        squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(ops.maximum(squares, self.epsilon)) * self.scale

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """The arguments."""
        return {
            **super().get_config(),
            "initial_scale": self.initial_scale,
            "epsilon": self.epsilon,
        }
