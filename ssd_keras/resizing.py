"""The ways in which images are resized, each the same to the bit everywhere.

Bilinear, no antialiasing. "half_pixel" is the usual way, that of `tf.image.resize`, of TFLite's
RESIZE_BILINEAR and of the samples in export/: pixels have their centres at half a pixel, and the
picture is stretched to the size of the model. "corner" is that of the TF Object Detection API, with
which its detectors were trained: output pixel x of S is taken from x * n / S of n, which moves the
picture towards its top left corner by up to half a pixel of the smaller one. "letterbox" keeps the
aspect ratio: half-pixel centres, the picture as large as it fits in the middle of a canvas of the
model's size, and `FILL` around it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssd_keras.errors import unknown

HALF_PIXEL, CORNER, LETTERBOX = "half_pixel", "corner", "letterbox"
WAYS = (HALF_PIXEL, CORNER, LETTERBOX)
# What a new detector can be asked for.
CHOICES = {"stretch": HALF_PIXEL, "letterbox": LETTERBOX}
FILL = (123.0, 117.0, 104.0)  # RGB; caffe's mean 104, 117, 123 is BGR


def check_way(way: str):
    """Raises a UserError if `way` is not one of `WAYS`."""
    if way not in WAYS:
        raise unknown("way of resizing", way, WAYS)


def way_of(choice: str) -> str:
    """The way of `WAYS` that a choice of `CHOICES` means.

    Raises:
        UserError: there is no such choice.
    """
    if choice not in CHOICES:
        raise unknown("way of resizing", choice, CHOICES)
    return CHOICES[choice]


# === Geometry of the letterbox ===


def fit_size(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a picture of `size` made as large as it fits on the canvas, whole pixels.

    Half a pixel is rounded up. float64, as JavaScript and Kotlin have it.
    """
    (height, width), (rows, columns) = size, canvas
    return (
        max(1, min(rows, int(np.floor(height * columns / width + 0.5)))),
        max(1, min(columns, int(np.floor(width * rows / height + 0.5)))),
    )


def place_on_canvas(
    size: tuple[int, int], canvas: tuple[int, int], way: str
) -> tuple[int, int, int, int]:
    """(top, left, height, width) in pixels of the canvas of what is seen of an image of `size`."""
    if way != LETTERBOX:
        return (0, 0, *canvas)
    height, width = fit_size(size, canvas)
    return (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width


def boxes_on_canvas(
    boxes: np.ndarray, size: tuple[int, int], canvas: tuple[int, int], way: str
) -> np.ndarray:
    """Boxes `[N, 4]` in shares of an image of `size` -> in shares of the canvas, float32."""
    if way != LETTERBOX:
        return boxes
    start, extent = _window(size, canvas, way)
    return np.asarray(boxes, np.float32) * extent + start


def boxes_in_image(
    boxes: np.ndarray, size: tuple[int, int], canvas: tuple[int, int], way: str
) -> np.ndarray:
    """Boxes `[N, 4]` in shares of the canvas -> in shares of an image of `size`, cut to it."""
    if way != LETTERBOX:
        return boxes
    start, extent = _window(size, canvas, way)
    return ((np.asarray(boxes, np.float32) - start) / extent).clip(0, 1)


def _window(size, canvas, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Start and extent of what is seen of the image, (y, x, y, x) in shares of the canvas."""
    top, left, height, width = place_on_canvas(size, canvas, way)
    start, extent = np.divide((top, left), canvas), np.divide((height, width), canvas)
    return np.float32((*start, *start)), np.float32((*extent, *extent))


# === Pixels ===


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
    return resize_rows(lambda rows: image[rows], image.shape[:2], size, way)


def resize_rows(
    read: Callable[[np.ndarray], np.ndarray],
    have: tuple[int, int],
    size: tuple[int, int],
    way: str = HALF_PIXEL,
) -> np.ndarray:
    """As `resize`, of an image that is not in memory as a whole.

    Args:
        read: gives the rows of these numbers, `[n, width, C]`.
        have: (height, width) of the image.
        size, way: see `resize`.
    """
    if way == LETTERBOX:
        return _letterbox(read, have, size)
    if tuple(have) == tuple(size):
        return read(np.arange(have[0])).astype(np.float32)
    (top, bottom, y), (left, right, x) = (
        _neighbours(length, want, way) for length, want in zip(have, size, strict=True)
    )
    above, below = (
        _interpolate(rows[:, left], rows[:, right], x[None, :, None])
        for rows in (read(top), read(bottom))
    )
    return _interpolate(above, below, y[:, None, None])


def _letterbox(read, have: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    top, left, height, width = place_on_canvas(have, size, LETTERBOX)
    inside = resize_rows(read, have, (height, width))
    canvas = np.empty((*size, inside.shape[2]), np.float32)
    canvas[:] = FILL
    canvas[top : top + height, left : left + width] = inside
    return canvas


def _neighbours(have: int, want: int, way: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two neighbours of each output pixel and the share of the second."""
    shift = np.float32(0.5 if way == HALF_PIXEL else 0.0)
    places = (np.arange(want, dtype=np.float32) + shift) * (
        np.float32(have) / np.float32(want)
    ) - shift
    first = np.floor(places)
    lower, upper = np.maximum(first, 0), np.minimum(np.ceil(places), have - 1)
    return lower.astype(np.int64), upper.astype(np.int64), places - first


def _interpolate(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """TensorFlow's order of rounding: first + (second - first) * share, float32."""
    first = first.astype(np.float32, copy=False)
    between = second.astype(np.float32)
    between -= first
    between *= share
    between += first
    return between
