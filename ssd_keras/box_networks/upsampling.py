"""Enlarging maps."""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("ssd_keras")
class NearestUpsampling(layers.Layer):
    """Every cell repeated, to the size of a finer map.

    The factor is the whole number next to the ratio of the two sizes. What is too much is cut off
    at the bottom and the right, what is missing is the last cell's once more.

    Training repeats cells, whose gradient XLA compiles; detection resizes, which is a single
    operator on devices. Both give the same numbers.

    Args:
        size: (rows, columns) of the result.
    """

    def __init__(self, size: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(size)

    def call(self, x, training=False):
        """`[B, h, w, C]` -> `[B, H, W, C]`."""
        factors = [
            max(1, round(after / before))
            for after, before in zip(self.size, x.shape[1:3], strict=True)
        ]
        if training:
            for axis, factor in enumerate(factors, start=1):
                x = ops.repeat(x, factor, axis=axis)
        else:
            grown = [side * factor for side, factor in zip(x.shape[1:3], factors, strict=True)]
            x = ops.image.resize(x, grown, interpolation="nearest", data_format="channels_last")
        return _fit_size(x, self.size)

    def compute_output_shape(self, input_shape):
        """The size that is wanted."""
        return (input_shape[0], *self.size, input_shape[-1])

    def get_config(self) -> dict:
        """The arguments."""
        return {**super().get_config(), "size": list(self.size)}


def _fit_size(x, size: tuple[int, int]):
    """A map cut at the bottom and the right, or filled up with its last cells."""
    rows, columns = size
    x = x[:, :rows, :columns]
    missing = [wanted - have for wanted, have in zip(size, x.shape[1:3], strict=True)]
    for axis, count in enumerate(missing, start=1):
        if count:
            last = x[:, -1:] if axis == 1 else x[:, :, -1:]
            x = ops.concatenate([x, *[last] * count], axis=axis)
    return x
