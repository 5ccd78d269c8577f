"""Resizing inside of TensorFlow functions, as `resizing` does it in NumPy: the same bits."""

import tensorflow as tf

from ssd_keras.resizing import FILL, HALF_PIXEL, LETTERBOX


def resize_tensor(images, size: tuple[int, int], way: str = HALF_PIXEL):
    """Resizes images `[B, H, W, C]` or `[H, W, C]` inside a TensorFlow function; float32."""
    images = tf.cast(images, tf.float32)
    if way == LETTERBOX:
        return _letterboxed_tensor(images, size)
    if way == HALF_PIXEL:
        return tf.image.resize(images, size, "bilinear", antialias=False)
    is_single = len(images.shape) == 3
    resized = tf.raw_ops.ResizeBilinear(images=images[None] if is_single else images, size=size)
    return resized[0] if is_single else resized


def _letterboxed_tensor(images, size: tuple[int, int]):
    top_left, inside = place_tensor(tf.shape(images)[-3:-1], size)
    picture = tf.image.resize(images, inside, "bilinear", antialias=False)
    edges = tf.stack([top_left, size - inside - top_left], axis=1)
    edges = tf.concat([tf.zeros([len(images.shape) - 3, 2], tf.int32), edges, [[0, 0]]], axis=0)
    seen = tf.pad(tf.ones_like(picture, tf.bool), edges)
    canvas = tf.where(seen, tf.pad(picture, edges), tf.constant(FILL))
    canvas.set_shape([*images.shape[:-3], *size, 3])
    return canvas


def place_tensor(size, canvas: tuple[int, int]) -> tuple:
    """As `place_on_canvas` for "letterbox", of sizes `[..., 2]`: (top, left) and (height, width).

    Both int32 `[..., 2]`.
    """
    have, want = tf.cast(size, tf.float64), tf.constant(canvas, tf.float64)
    inside = tf.floor(have * want[::-1] / have[..., ::-1] + 0.5)
    inside = tf.cast(tf.clip_by_value(inside, 1, want), tf.int32)
    return (tf.constant(canvas) - inside) // 2, inside
