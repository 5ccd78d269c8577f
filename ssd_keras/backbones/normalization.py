"""What a Core Network does to pixels and maps before it uses them; float32 under any policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers, ops

from ssd_keras.errors import UserError

# Means of ImageNet in RGB order, as Keras' "caffe" preprocessing subtracts them.
IMAGENET_MEANS = (123.68, 116.779, 103.939)
# Means and deviations of ImageNet as PyTorch's networks take them, of RGB 0..1.
TORCH_MEANS = (0.485, 0.456, 0.406)
TORCH_DEVIATIONS = (0.229, 0.224, 0.225)


def rescale_to_one(images):
    """RGB 0..255 to -1..1, what MobileNet and Inception are trained on."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="normalization")(images)


def standardize(
    images, means: Sequence[float] = TORCH_MEANS, deviations: Sequence[float] = TORCH_DEVIATIONS
):
    """RGB 0..255 to 0..1, less the mean and divided by the deviation of each channel."""
    return layers.Rescaling(
        [1 / (255 * deviation) for deviation in deviations],
        offset=[-mean / deviation for mean, deviation in zip(means, deviations, strict=True)],
        dtype="float32",
        name="normalization",
    )(images)


def subtract_means(images, means: Sequence[float] = IMAGENET_MEANS):
    """RGB 0..255 less the mean of each channel, which stay in this order."""
    return layers.Rescaling(
        [1.0] * 3, offset=[-mean for mean in means], dtype="float32", name="normalization"
    )(images)


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
class BatchNormalization(layers.BatchNormalization):
    """Keras' batch normalisation, which trains by one kernel where TensorFlow has it.

    Keras computes mean, variance and the rest one after the other, each a pass over the maps. On a
    CPU the fused kernel takes a third of that, and a MobileNet's training step a quarter less.
    Values, statistics and gradients are the same but for rounding.
    """

    def call(self, inputs, training=None, mask=None):
        """Maps `[B, H, W, C]` of any dtype, computed in float32."""
        if not (training and self.trainable and mask is None and self._has_kernel(inputs)):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        x = ops.cast(inputs, "float32")
        mean, variance = self.moving_mean, self.moving_variance
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gamma if self.scale else ops.ones_like(mean),
            offset=self.beta if self.center else ops.zeros_like(mean),
            mean=ops.zeros_like(mean),
            variance=ops.ones_like(variance),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance, Keras keeps that of the batch.
        count = ops.cast(ops.size(x) // x.shape[-1], "float32")
        batch_variance *= ops.maximum(count - 1, 1) / count
        keep = self.momentum
        mean.assign(keep * mean + (1 - keep) * batch_mean)
        variance.assign(keep * variance + (1 - keep) * batch_variance)
        return ops.cast(outputs, self.compute_dtype)

    def _has_kernel(self, inputs) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.synchronized
            and not getattr(self, "renorm", False)
        )


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


def prepare_like(prepare: Callable, images, whose: str):
    """Images as a network's own function makes them, which is seen from what it does to colours.

    Args:
        prepare: from an array `[B, H, W, 3]`, RGB 0..255, to one of the same shape.
        images: symbolic tensor of images, RGB 0..255.
        whose: what the network is called in errors.

    Raises:
        UserError: it does more than scale and shift each channel, or swap them.
    """
    probes = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).astype("float32")
    done = prepare(probes.reshape(4, 1, 1, 3).copy())
    black, *colours = np.asarray(done).reshape(4, 3)
    matrix = (np.stack(colours) - black) / 255
    if np.allclose(matrix, np.eye(3)) and not black.any():
        return images
    if np.allclose(matrix, np.eye(3)[::-1], atol=1e-5):
        means = tuple(round(-float(value), 4) for value in black[::-1])
        return CaffeNormalization(means, name="preprocessing")(images)
    if np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-6):
        scale, offset = np.diag(matrix).tolist(), black.tolist()
        return layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")(images)
    raise UserError(f"{whose} prepares images in a way that is not known.")
