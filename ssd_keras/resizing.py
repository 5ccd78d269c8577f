"""The ways in which images are resized, each the same to the bit everywhere.

Bilinear, no antialiasing, and the aspect ratio is not kept. "half_pixel" is the usual way, that of
`tf.image.resize`, of TFLite's RESIZE_BILINEAR and of the samples in export/: pixels have their
centres at half a pixel. "corner" is that of the TF Object Detection API, with which its detectors
were trained: output pixel x of S is taken from x * n / S of n, which moves the picture towards its
top left corner by up to half a pixel of the smaller one.
"""

from __future__ import annotations

import numpy as np

from ssd_keras.errors import unknown

HALF_PIXEL, CORNER = "half_pixel", "corner"
WAYS = (HALF_PIXEL, CORNER)


def check_way(way: str):
    """Raises a UserError if `way` is not one of `WAYS`."""
    if way not in WAYS:
        raise unknown("way of resizing", way, WAYS)


def resize(image: np.ndarray, size: tuple[int, int], way: str = HALF_PIXEL) -> np.ndarray:
    """Resizes an image with NumPy alone; of a large photograph it reads the pixels it needs only.

    Args:
        image: `[H, W, C]`, any number type.
        size: (height, width) of the result.
        way: one of `WAYS`.

    Returns:
        float32 `[height, width, C]`, equal to `resize_tensor`'s.
    """
    image = np.asarray(image)
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32)
    (top, bottom, y), (left, right, x) = (
        _neighbours(have, want, way) for have, want in zip(image.shape[:2], size, strict=True)
    )
    above, below = (
        _between(rows[:, left], rows[:, right], x[None, :, None])
        for rows in (image[top], image[bottom])
    )
    return _between(above, below, y[:, None, None])


def resize_tensor(images, size: tuple[int, int], way: str = HALF_PIXEL):
    """Resizes images `[B, H, W, C]` or `[H, W, C]` inside a TensorFlow function; float32."""
    import tensorflow as tf

    images = tf.cast(images, tf.float32)
    if way == HALF_PIXEL:
        return tf.image.resize(images, size, "bilinear", antialias=False)
    is_single = len(images.shape) == 3
    resized = tf.raw_ops.ResizeBilinear(images=images[None] if is_single else images, size=size)
    return resized[0] if is_single else resized


def _neighbours(have: int, want: int, way: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two neighbours of each output pixel and the share of the second."""
    shift = np.float32(0.5 if way == HALF_PIXEL else 0.0)
    places = (np.arange(want, dtype=np.float32) + shift) * (
        np.float32(have) / np.float32(want)
    ) - shift
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
