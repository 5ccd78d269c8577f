"""Training a detector as its int8 file will compute, so that it learns to live with the rounding.

In an int8 file kernels have 255 levels per output channel and maps 256 levels each. Here both are
rounded so in the training step, and gradients pass as if they were not (Jacob et al. 2018,
Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference). The
weights stay those of the same layers, in float: what is judged and saved is an ordinary detector,
and the export quantizes it as any other.

What differs from the file: the range of a map is that of the batch, not that of the calibration
images, and batch normalisations are not folded into kernels, which with a scale for each channel
comes to the same.
"""

from __future__ import annotations

from collections import defaultdict

import keras
from keras import layers, ops

from ssd_keras.keras_compat import operations_of, replace_call, run_through

KERNEL_LEVELS = 127
MAP_LEVELS = 255
CONVOLUTIONS = (
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Dense,
)
# What keeps the levels of its input: it moves values, or takes some of them.
MOVES_VALUES = (
    layers.Reshape,
    layers.Permute,
    layers.Flatten,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.MaxPooling2D,
    layers.Dropout,
)
FUSED_ACTIVATIONS = ("relu", "relu6", "linear")


def round_kernel(kernel, channel_axes: tuple[int, ...]):
    """A kernel as int8 keeps it: symmetric, with a scale for each output channel.

    Args:
        kernel: of any shape.
        channel_axes: the axes of the output channels, counted from the end.

    Returns:
        The same in shape and dtype; its gradient is that of `kernel`.
    """
    rank = len(kernel.shape)
    others = [axis for axis in range(rank) if axis - rank not in channel_axes]
    values = ops.cast(kernel, "float32")
    largest = ops.max(ops.abs(values), axis=others, keepdims=True)
    scale = ops.where(largest > 0, largest, 1.0) / KERNEL_LEVELS
    return _straight_through(kernel, ops.round(values / scale) * scale)


def round_map(features):
    """A map as int8 keeps it: 256 levels over its range, one of them 0.

    Args:
        features: of any shape; the range is that of all of it.

    Returns:
        The same in shape and dtype; its gradient is that of `features`.
    """
    values = ops.cast(features, "float32")
    low = ops.minimum(ops.min(values), 0.0)
    high = ops.maximum(ops.max(values), 0.0)
    scale = ops.where(high > low, high - low, 1.0) / MAP_LEVELS
    zero = ops.round(-low / scale)
    levels = ops.clip(ops.round(values / scale), -zero, MAP_LEVELS - zero)
    return _straight_through(features, levels * scale)


def _straight_through(values, rounded):
    return values + ops.stop_gradient(ops.cast(rounded, values.dtype) - values)


def make_quantize_aware(detector: keras.Model):
    """Lets a detector compute as its int8 file will, until it is copied or loaded.

    Layers, weights and config stay as they are. Compile it afterwards.
    """
    rounded = rounded_operations(detector)

    def compute(operation, *args, **kwargs):
        if isinstance(operation, keras.Model):
            return run_through(operation, args[0], compute)
        if isinstance(operation, CONVOLUTIONS):
            result = _with_rounded_kernels(operation, *args)
        else:
            result = operation(*args, **kwargs)
        return keras.tree.map_structure(round_map, result) if id(operation) in rounded else result

    replace_call(detector, lambda images: run_through(detector, images, compute))


def rounded_operations(model: keras.Model, *, inside: bool = False) -> dict[int, str]:
    """The operations whose results an int8 file keeps in int8: id -> name.

    Not those that are computed together with the next one (a convolution, its batch normalisation
    and its ReLU are one operator), nor those that only move values, nor the model's outputs, which
    are joined in float.

    Args:
        model: a functional model.
        inside: whether it stands within another, where its outputs are maps like others.
    """
    found = {}
    graph = operations_of(model)
    followers = defaultdict(list)
    for operation, parents in graph:
        for parent in parents:
            followers[id(parent)].append(operation)
    for operation, parents in graph:
        if isinstance(operation, keras.Model):
            found |= rounded_operations(operation, inside=True)
            continue
        after = followers[id(operation)]
        if parents and (after or inside) and not _keeps_levels(operation, after):
            found[id(operation)] = operation.name
    return found


def _keeps_levels(operation, after: list) -> bool:
    if isinstance(operation, MOVES_VALUES):
        return True
    return len(after) == 1 and _are_one_operator(operation, after[0])


def _are_one_operator(operation, after) -> bool:
    if isinstance(after, layers.BatchNormalization):
        return isinstance(operation, CONVOLUTIONS)
    fused = isinstance(after, layers.ReLU) or (
        isinstance(after, layers.Activation) and after.activation.__name__ in FUSED_ACTIVATIONS
    )
    computing = (*CONVOLUTIONS, layers.BatchNormalization, layers.Add)
    return fused and isinstance(operation, computing)


def _with_rounded_kernels(layer, *args):
    kernels = _kernels(layer)

    def values(variables):
        return [
            round_kernel(v.value, kernels[id(v)]) if id(v) in kernels else v.value
            for v in variables
        ]

    # Without variables of its own to change, what comes second is as it was.
    return layer.stateless_call(
        values(layer.trainable_variables), values(layer.non_trainable_variables), *args
    )[0]


def _kernels(layer) -> dict[int, tuple[int, ...]]:
    """The axes of the output channels of each kernel of a convolution, by the kernel's id."""
    if isinstance(layer, layers.SeparableConv2D):
        return {id(layer.depthwise_kernel): (-2, -1), id(layer.pointwise_kernel): (-1,)}
    if isinstance(layer, layers.DepthwiseConv2D):
        return {id(layer.kernel): (-2, -1)}
    return {id(layer.kernel): (-2,) if isinstance(layer, layers.Conv2DTranspose) else (-1,)}
