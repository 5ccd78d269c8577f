"""The same geometry on NumPy arrays, in float64: for measuring, which asks no accelerator."""

from __future__ import annotations

import numpy as np

from ssd_keras.boxes.geometry import center_coordinates, iou_of_coordinates


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[N, 4]` and `[M, 4]`, float64 `[N, M]`."""
    return iou_of_coordinates(_columns(a)[:, :, None], _columns(b)[:, None, :], np)


def inclusive_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Overlap of pixel boxes as the VOC devkit measures it.

    A box from pixel 3 to pixel 5 is three pixels wide: one is added to every width and height.

    Args:
        a: `[N, 4]`, b: `[M, 4]`: pixel boxes, `[ymin, xmin, ymax, xmax]`.

    Returns:
        float64 `[N, M]`.
    """
    pixel = np.array([0.0, 0.0, 1.0, 1.0])
    return pairwise_iou(a + pixel, b + pixel)


def inclusive_share_inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which share of each box of `a` lies in each of `b`; arguments as of `inclusive_iou`."""
    pixel = np.array([0.0, 0.0, 1.0, 1.0])
    (y0, x0, y1, x1), (top, left, bottom, right) = _columns(a + pixel), _columns(b + pixel)
    height = np.minimum(y1[:, None], bottom) - np.maximum(y0[:, None], top)
    width = np.minimum(x1[:, None], right) - np.maximum(x0[:, None], left)
    area = ((y1 - y0) * (x1 - x0))[:, None]
    return np.maximum(height, 0.0) * np.maximum(width, 0.0) / area


def corners_to_centers(boxes: np.ndarray) -> np.ndarray:
    """Corners `[N, 4]` -> centre y, centre x, height, width, float64 `[N, 4]`."""
    return np.stack(center_coordinates(*_columns(boxes)), axis=-1)


def _columns(boxes: np.ndarray) -> np.ndarray:
    """The four coordinates of boxes `[N, 4]`, float64 `[4, N]`."""
    return np.asarray(boxes, np.float64).reshape(-1, 4).T
