"""Random changes of training images: parameters are drawn apart from the functions that apply them.

The SSD chain follows caffe-ssd (`annotated_data_layer.cpp`, `sampler.cpp`, `im_transforms.cpp`):
photometric distortion, expansion, IoU-constrained crop, resize, mirror. Expansion, crop and resize
are one linear map here, so the large canvas of an expansion never exists: only the part of the
picture that stays visible is cut out, resized to its place, distorted and laid on the fill.
Distorting after resizing differs from distorting before only where hue or saturation meet
interpolated pixels (they are no linear maps); the fill stays undistorted either way.

A draw is a dict of scalar tensors, made by `draw_ssd`, `draw_light` or `draw_none` from a
stateless seed. `apply` is a pure function of image, boxes and draw.
"""

from __future__ import annotations

import tensorflow as tf

from ssd_keras.boxes.geometry import iou_of_coordinates
from ssd_keras.resizing import CORNER, FILL, HALF_PIXEL, LETTERBOX
from ssd_keras.tensor_resizing import place_tensor

MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # 0: any crop that has an object to be compared with
TRIALS = 50
# Where a label is this, the box is a region that is neither object nor background.
IGNORED = -2
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
