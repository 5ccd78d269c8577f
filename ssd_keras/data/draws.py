"""What a random change of a training image is drawn to be, before anything is changed."""

from __future__ import annotations

import tensorflow as tf

from ssd_keras.boxes.geometry import iou_of_coordinates

MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # 0: any crop that has an object to be compared with
TRIALS = 50
INTERPOLATIONS = ("bilinear", "area", "nearest", "bicubic", "lanczos")


def draw_ssd(seed, boxes, height, width) -> dict:
    """Draws the parameters of the SSD chain.

    Args:
        seed: int `[2]`, stateless.
        boxes: float32 `[n, 4]`, normalised.
        height, width: of the image in pixels.

    Returns:
        dict of scalars: `brightness` (added), `contrast`, `saturation` (factors), `hue` (degrees),
        `contrast_first`; `window` float32 `[4]`: the region `[ymin, xmin, ymax, xmax]` that
        becomes the picture, in shares of the image, beyond 0..1 where the image was expanded;
        `flip`; `interpolation`: index into `INTERPOLATIONS`.
    """
    u = tf.random.stateless_uniform([24], seed)
    draw = _draw_photometric(u[:9], 32.0, 0.5, 18.0)
    expand = tf.where(u[9] < 0.5, 1.0 + 3.0 * u[10], 1.0)
    size = tf.stack([tf.cast(height, tf.float32), tf.cast(width, tf.float32)])
    canvas = tf.floor(size * expand)
    offset = tf.floor(u[11:13] * (canvas - size))
    # The canvas in shares of the image.
    low, span = -offset / size, canvas / size
    scale, shift = tf.tile(span, [2]), tf.tile(low, [2])
    crop = draw_crop(seed, (boxes - shift) / scale, u[13])
    draw["window"] = crop * scale + shift
    draw["flip"] = u[14] < 0.5
    draw["interpolation"] = _index(u[15], len(INTERPOLATIONS))
    return draw


def draw_crop(seed, boxes, choice):
    """Draws the crop of the SSD chain: `[4]`, normalised.

    Candidates are the whole image and, for each constraint, the first of 50 random regions with
    which some box has at least that IoU; `choice` in 0..1 picks one of the candidates.
    """
    count = len(MIN_IOUS)
    u = tf.random.stateless_uniform([4, count, TRIALS], tf.stack([seed[0], seed[1] + 1]))
    regions = random_regions(u)
    best = tf.reduce_max(_ious(tf.reshape(regions, [-1, 4]), boxes), axis=1, keepdims=False)
    best = tf.reshape(best, [count, TRIALS])
    good = best >= tf.constant(MIN_IOUS)[:, None]
    found = tf.reduce_any(good, axis=1)
    first = tf.argmax(tf.cast(good, tf.int8), axis=1)
    candidates = tf.gather(regions, first, axis=1, batch_dims=1)
    whole = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    candidates = tf.concat([whole, tf.boolean_mask(candidates, found)], 0)
    return candidates[_index(choice, tf.shape(candidates)[0])]


def random_regions(u, min_scale: float = 0.3):
    """Regions `[..., 4]` inside the unit square from uniform numbers `[4, ...]`.

    Scale s is U(min_scale, 1), the ratio r U(.5, 2) clamped to s^2..1/s^2, width s*sqrt(r), height
    s/sqrt(r), the position uniform.
    """
    scale = min_scale + (1 - min_scale) * u[0]
    ratio = tf.clip_by_value(0.5 + 1.5 * u[1], scale**2, 1 / scale**2)
    root = tf.sqrt(ratio)
    width, height = tf.minimum(scale * root, 1.0), tf.minimum(scale / root, 1.0)
    left, top = u[2] * (1 - width), u[3] * (1 - height)
    return tf.stack([top, left, top + height, left + width], -1)


def draw_light(seed, boxes, height, width) -> dict:
    """Draws a light chain for fine-tuning: mild colour, a window of 0.75 to 1.2 sides, flip."""
    u = tf.random.stateless_uniform([24], seed)
    draw = _draw_photometric(u[:9], 16.0, 0.2, 8.0)
    # A window a little smaller or larger than the image, near its place.
    side = 0.8 + 0.35 * u[9] + 0.1 * (u[10:12] - 0.5)
    low = u[12:14] * (1 - side)
    draw["window"] = tf.concat([low, low + side], 0)
    draw["flip"] = u[14] < 0.5
    draw["interpolation"] = tf.constant(0)
    return draw


def draw_scale(seed, window, amount: float) -> dict:
    """Draws how much larger or smaller a picture is shown: another `window` for a draw.

    Args:
        seed: int `[2]`, stateless.
        window: float32 `[4]`, that of the draw.
        amount: the factor is uniform between 1 - amount and 1 + amount; where the picture lies in
            the larger window, or the smaller one in the picture, is uniform, too.
    """
    u = tf.random.stateless_uniform([3], seed)
    side = 1.0 / (1.0 + amount * (2.0 * u[0] - 1.0))
    low, span = window[:2], window[2:] - window[:2]
    first = low + u[1:] * (1.0 - side) * span
    return {"window": tf.concat([first, first + side * span], 0)}


def draw_none(seed, boxes, height, width) -> dict:
    """No change: the whole image, plainly resized."""
    return {
        "brightness": tf.constant(0.0),
        "contrast": tf.constant(1.0),
        "saturation": tf.constant(1.0),
        "hue": tf.constant(0.0),
        "contrast_first": tf.constant(True),
        "window": tf.constant([0.0, 0.0, 1.0, 1.0]),
        "flip": tf.constant(False),
        "interpolation": tf.constant(0),
    }


NAMES = ("ssd", "light", "mosaic", "none")


def _draw_photometric(u, brightness, spread, hue) -> dict:
    on = u[:4] < 0.5
    amount = 2 * u[4:8] - 1
    return {
        "brightness": tf.where(on[0], brightness * amount[0], 0.0),
        "contrast": tf.where(on[1], 1 + spread * amount[1], 1.0),
        "saturation": tf.where(on[2], 1 + spread * amount[2], 1.0),
        "hue": tf.where(on[3], 2 * hue * amount[3], 0.0),
        "contrast_first": u[8] < 0.5,
    }


def _index(u, count):
    count = tf.cast(count, tf.int32)
    return tf.minimum(tf.cast(u * tf.cast(count, tf.float32), tf.int32), count - 1)


def _ious(a, b):
    """IoU `[n, m + 1]` of boxes `[n, 4]` and `[m, 4]`; the last column is -1."""
    # Coordinate by coordinate: arrays whose last axis is 2 are slow.
    rows = [column[:, None] for column in tf.unstack(a, axis=1)]
    columns = [column[None, :] for column in tf.unstack(b, axis=1)]
    iou = iou_of_coordinates(rows, columns, tf)
    return tf.pad(iou, [[0, 0], [0, 1]], constant_values=-1.0)


def draw_for(augmentation: str):
    """The function that draws the parameters of an augmentation by name."""
    return {"ssd": draw_ssd, "light": draw_light, "mosaic": draw_ssd, "none": draw_none}[
        augmentation
    ]
