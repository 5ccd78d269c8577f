"""Resizing with NumPy alone, as devices do it."""

from __future__ import annotations

import numpy as np


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image bilinearly: half-pixel centres, no antialiasing, aspect ratio not kept.

    The same rule as `tf.image.resize` and as a detector's own resizing.

    Args:
        image: `[H, W, 3]`, any number type.
        size: (height, width) of the result.

    Returns:
        float32 `[height, width, 3]`.
    """
    image = np.asarray(image)
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32)
    (top, bottom, y), (left, right, x) = (
        _neighbours(have, want) for have, want in zip(image.shape[:2], size, strict=True)
    )
    y, x = y[:, None, None], x[None, :, None]
    rows = image[top].astype(np.float32) * (1 - y) + image[bottom].astype(np.float32) * y
    return rows[:, left] * (1 - x) + rows[:, right] * x


def _neighbours(have: int, want: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two neighbours of each output pixel and the share of the second."""
    places = (np.arange(want, dtype=np.float32) + 0.5) * np.float32(have / want) - 0.5
    first = np.floor(places)
    share = places - first
    lower = np.clip(first, 0, have - 1).astype(np.int64)
    upper = np.clip(first + 1, 0, have - 1).astype(np.int64)
    return lower, upper, share.astype(np.float32)
