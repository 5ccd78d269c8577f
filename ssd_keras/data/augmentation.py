"""Random changes of training images: parameters are drawn apart from the functions that apply them.

The SSD chain follows caffe-ssd (`annotated_data_layer.cpp`, `sampler.cpp`, `im_transforms.cpp`):
photometric distortion, expansion, IoU-constrained crop, resize, mirror. Expansion, crop and resize
are one linear map here, so the large canvas of an expansion never exists: only the part of the
picture that stays visible is cut out, resized to its place, distorted and laid on the fill.
Distorting after resizing differs from distorting before only where hue or saturation meet
interpolated pixels (they are no linear maps); the fill stays undistorted either way.

A draw is a dict of scalar tensors, which a function of `draws` makes from a stateless seed. `apply`
is a pure function of image, boxes and draw.
"""

from __future__ import annotations

import tensorflow as tf

from ssd_keras.data.draws import INTERPOLATIONS
from ssd_keras.resizing import CORNER, FILL, HALF_PIXEL, LETTERBOX
from ssd_keras.tensor_resizing import place_tensor

# Where a label is this, the box is a region that is neither object nor background.
IGNORED = -2


def apply(
    image, boxes, labels, draw: dict, image_size, dtype: str = "float32", resize: str = HALF_PIXEL
) -> tuple:
    """Applies a draw.

    Args:
        image: uint8 `[H, W, 3]`.
        boxes, labels: float32 `[n, 4]` and int32 `[n]`.
        draw: what one of the draw functions returned.
        image_size: (height, width) of the result.
        dtype: "float32", or "uint8" for rounded values.
        resize: one of `resizing.WAYS`.

    Returns:
        image `[h, w, 3]` in 0..255, and the boxes whose centre is in the window, cut to
        it, with their labels.
    """
    place = placement(tf.shape(image)[:2], draw["window"], image_size, resize)
    picture = sample(image, place, draw["interpolation"], resize)
    picture = distort(picture, draw)
    picture = tf.clip_by_value(picture, 0.0, 255.0)
    if dtype == "uint8":
        picture = tf.cast(tf.round(picture), tf.uint8)
    picture = lay_on_fill(picture, place, image_size)
    boxes, labels = transform_boxes(boxes, labels, place["window"])
    picture, boxes = tf.cond(draw["flip"], lambda: mirror(picture, boxes), lambda: (picture, boxes))
    picture.set_shape([*image_size, 3])
    return picture, boxes, labels


def placement(size, window, image_size, resize: str = HALF_PIXEL) -> dict:
    """Which pixels of the image go where.

    Args:
        size: int `[2]`, height and width of the image.
        window: float32 `[4]` in shares of the image.
        image_size: (height, width) of the result.
        resize: one of `resizing.WAYS`; for "letterbox" the window grows to the shape of the result.

    Returns:
        `source` int `[4]`: rows and columns of the image that are visible, `target` int `[4]`:
        where they lie in the result, and `window` float32 `[4]`: the given one moved by less than
        a pixel so that the map from source to target is exact.
    """
    pixels = tf.cast(tf.tile(size, [2]), tf.float32)
    result = tf.cast(tf.tile(tf.constant(image_size), [2]), tf.float32)
    whole = tf.cast(size, tf.float32)
    window = window * pixels
    low, high = window[:2], window[2:]
    if resize == LETTERBOX:
        low, high = _grow(low, high, image_size)
    first = tf.clip_by_value(tf.round(low), 0.0, whole - 1)
    last = tf.clip_by_value(tf.round(high), first + 1, whole)
    per_pixel = result[:2] / (high - low)
    begin = tf.clip_by_value(tf.round((first - low) * per_pixel), 0.0, result[:2] - 1)
    end = tf.clip_by_value(tf.round((last - low) * per_pixel), begin + 1, result[:2])
    # The window that maps [first, last] to [begin, end] exactly.
    step = (last - first) / (end - begin)
    low = first - begin * step
    high = low + result[:2] * step
    return {
        "source": tf.cast(tf.concat([first, last], 0), tf.int32),
        "target": tf.cast(tf.concat([begin, end], 0), tf.int32),
        "window": tf.concat([low, high], 0) / pixels,
    }


def _grow(low, high, image_size):
    """The window, in pixels, and what a canvas has around it that keeps its aspect ratio."""
    before, inside = place_tensor(high - low, image_size)
    per_pixel = (high - low) / tf.cast(inside, tf.float32)
    low = low - tf.cast(before, tf.float32) * per_pixel
    return low, low + tf.cast(tf.constant(image_size), tf.float32) * per_pixel


def sample(image, place, interpolation, resize: str = HALF_PIXEL):
    """Cuts `place["source"]` out of the image and resizes it to the size of `place["target"]`.

    Of the other interpolations, which are there for variety, nearest and bicubic follow `resize`.
    """
    centres = {"half_pixel_centers": resize != CORNER}

    first, last = place["source"][:2], place["source"][2:]
    part = image[first[0] : last[0], first[1] : last[1]][None]
    size = place["target"][2:] - place["target"][:2]

    def nearest():
        near = tf.raw_ops.ResizeNearestNeighbor(images=part, size=size, **centres)
        return tf.cast(near, tf.float32)

    kernels = {
        "bilinear": lambda: tf.raw_ops.ResizeBilinear(images=part, size=size, **centres),
        "area": lambda: tf.raw_ops.ResizeArea(images=part, size=size),
        "nearest": nearest,
        "bicubic": lambda: tf.raw_ops.ResizeBicubic(images=part, size=size, **centres),
        "lanczos": lambda: _lanczos(part[0], size)[None],
    }
    return tf.switch_case(interpolation, [kernels[name] for name in INTERPOLATIONS])[0]


def _lanczos(image, size):
    """Resizes `[h, w, 3]` by Lanczos' kernel of radius 3.

    Rows and columns one after the other, each as rows of one very deep pixel: the same to the bit
    as both at once, in half the time, because TensorFlow's sum over columns works pixel by pixel.
    """

    def rows(image, count):
        height, width = tf.unstack(tf.shape(image)[:2])
        resized = tf.raw_ops.ScaleAndTranslate(
            images=tf.reshape(image, [1, height, 1, 3 * width]),
            size=tf.stack([count, 1]),
            scale=tf.stack([tf.cast(count, tf.float32) / tf.cast(height, tf.float32), 1.0]),
            translation=tf.zeros([2]),
            kernel_type="lanczos3",
            antialias=False,
        )
        return tf.reshape(resized, [count, width, 3])

    turned = tf.transpose(rows(image, size[0]), [1, 0, 2])
    return tf.transpose(rows(turned, size[1]), [1, 0, 2])


def lay_on_fill(picture, place, image_size):
    """Puts the resized part at its place on a canvas of the fill colour."""
    height, width = image_size
    begin, end = place["target"][:2], place["target"][2:]
    rows = end[0] - begin[0]

    def strip(rows, columns):
        return tf.tile(tf.cast(tf.constant([[FILL]]), picture.dtype), [rows, columns, 1])

    def fill_border():
        middle = tf.concat([strip(rows, begin[1]), picture, strip(rows, width - end[1])], 1)
        return tf.concat([strip(begin[0], width), middle, strip(height - end[0], width)], 0)

    covered = tf.reduce_all(end - begin == tf.constant(image_size))
    return tf.cond(covered, lambda: picture, fill_border)


def transform_boxes(boxes, labels, window):
    """Boxes seen through `window`: those whose centre is inside, in its shares, cut to it.

    Of ignored regions, whose label is `IGNORED`, all that is seen of them.
    """
    low, span = window[:2], window[2:] - window[:2]
    boxes = (boxes - tf.tile(low, [2])) / tf.tile(span, [2])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = tf.reduce_all((centre > 0) & (centre < 1), -1)
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    seen = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], -1)
    inside = tf.where(labels == IGNORED, seen, inside)
    return tf.boolean_mask(boxes, inside), tf.boolean_mask(labels, inside)


def mosaic(pictures):
    """Four pictures `(image [h, w, 3], boxes, labels)` as the quarters of one."""
    images, boxes, labels = zip(*pictures, strict=True)
    rows = [tf.concat(images[:2], 1), tf.concat(images[2:], 1)]
    placed = [
        (box + tf.constant([row, column, row, column], tf.float32)) / 2
        for box, (row, column) in zip(boxes, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True)
    ]
    return tf.concat(rows, 0), tf.concat(placed, 0), tf.concat(labels, 0)


def mirror(image, boxes):
    """Image and boxes flipped left to right."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, [1]), tf.stack([ymin, 1 - xmax, ymax, 1 - xmin], -1)


def distort(image, draw):
    """Photometric distortion of float RGB 0..255: brightness, then contrast before or after
    saturation and hue. Values may leave 0..255."""
    image = adjust_brightness(image, draw["brightness"])
    early = tf.where(draw["contrast_first"], draw["contrast"], 1.0)
    late = tf.where(draw["contrast_first"], 1.0, draw["contrast"])
    image = adjust_contrast(image, early)
    image = adjust_saturation(image, draw["saturation"])
    image = adjust_hue(image, draw["hue"])
    return adjust_contrast(image, late)


def _unless(neutral, value, change, image):
    return tf.cond(tf.equal(value, neutral), lambda: image, lambda: change(image))


def adjust_brightness(image, delta):
    """Adds `delta`."""
    return _unless(0.0, delta, lambda x: x + delta, image)


def adjust_contrast(image, factor):
    """Multiplies by `factor`."""
    return _unless(1.0, factor, lambda x: x * factor, image)


def adjust_saturation(image, factor):
    """Multiplies the saturation of HSV by `factor`, at most to full saturation."""
    return _unless(
        1.0, factor, lambda x: tf.raw_ops.AdjustSaturation(images=x, scale=factor), image
    )


def adjust_hue(image, degrees):
    """Turns the hue of HSV by `degrees` of 360."""
    turn = degrees / 360.0
    return _unless(0.0, degrees, lambda x: tf.raw_ops.AdjustHue(images=x, delta=turn), image)
