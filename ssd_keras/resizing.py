"""The one way in which images are resized: as devices do it, the same to the bit everywhere.

Bilinear, half-pixel centres, no antialiasing, and the aspect ratio is not kept: the rule of
`tf.image.resize`, of TFLite's RESIZE_BILINEAR and of the samples in export/.
"""

from __future__ import annotations

import numpy as np


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image with NumPy alone; of a large photograph it reads the pixels it needs only.

    Args:
        image: `[H, W, C]`, any number type.
        size: (height, width) of the result.

    Returns:
        float32 `[height, width, C]`, equal to `resize_tensor`'s.
    """
    image = np.asarray(image)
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32)
    (top, bottom, y), (left, right, x) = (
        _neighbours(have, want) for have, want in zip(image.shape[:2], size, strict=True)
    )
    above, below = (
        _between(rows[:, left], rows[:, right], x[None, :, None])
        for rows in (image[top], image[bottom])
    )
    return _between(above, below, y[:, None, None])


def resize_tensor(images, size: tuple[int, int]):
    """Resizes images `[B, H, W, C]` or `[H, W, C]` inside a TensorFlow function; float32."""
    import tensorflow as tf

    return tf.image.resize(tf.cast(images, tf.float32), size, "bilinear", antialias=False)


def _neighbours(have: int, want: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two neighbours of each output pixel and the share of the second."""
    places = (np.arange(want, dtype=np.float32) + np.float32(0.5)) * (
        np.float32(have) / np.float32(want)
    ) - np.float32(0.5)
    first = np.floor(places)
    lower, upper = np.maximum(first, 0), np.minimum(np.ceil(places), have - 1)
    return lower.astype(np.int64), upper.astype(np.int64), places - first


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """TensorFlow's order of rounding: first + (second - first) * share, float32."""
    first = first.astype(np.float32, copy=False)
    between = second.astype(np.float32)
    between -= first
    between *= share
    between += first
    return between
