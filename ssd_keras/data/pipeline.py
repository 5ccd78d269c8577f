"""From a source to batches: parallel, and the same to the bit whatever the parallelism.

Order and augmentation of training are a pure function of the seed and the step, so a run resumes
anywhere without replaying what came before, and no shuffle buffer is needed.
"""

from __future__ import annotations

import os

import numpy as np
from absl import logging

from ssd_keras.data import augmentation as augment
from ssd_keras.data.source import Source
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.resizing import resize_tensor

CACHE_BYTES = 1 << 30


def training_batches(
    source: Source,
    *,
    image_size: tuple[int, int] = (300, 300),
    batch_size: int = 32,
    seed: int = 0,
    augmentation: str = "ssd",
    max_boxes: int = 100,
    first_step: int = 0,
    steps: int | None = None,
    dtype: str = "uint8",
    shard: tuple[int, int] = (0, 1),
    cache_bytes: int = CACHE_BYTES,
    parallelism: int | None = None,
):
    """Batches for training, without end or `steps` of them.

    Every epoch is a new permutation of the images; what does not fill a batch at its end waits
    for another epoch. Objects marked as crowd are left out, difficult ones stay. Crops may leave
    an image without objects.

    Args:
        source: where the images come from.
        image_size: (height, width) of the result.
        batch_size: images in a batch, over all shards.
        seed: another seed gives another order and other random changes.
        augmentation: "ssd", "light", "mosaic" (four images in one, each changed as by "ssd") or
            "none".
        max_boxes: M; more objects in one image are cut off, which is said once.
        first_step: the step to begin with, counted from the start of training.
        steps: how many batches to give; None goes on for ever.
        dtype: "uint8" or "float32" for the images; values are 0..255 either way.
        shard: (index, count) of this worker; each gets `batch_size / count` of every batch.
        cache_bytes: keep decoded images in memory if all of them fit into this.
        parallelism: images prepared at a time; None lets TensorFlow choose.

    Returns:
        tf.data.Dataset of `(images [B, H, W, 3], {"boxes": float32 [B, M, 4], "labels": int32
        [B, M]})`, padded with -1.
    """
    import tensorflow as tf

    if augmentation not in augment.NAMES:
        raise UserError(
            f"Unknown augmentation '{augmentation}'; known: {', '.join(augment.NAMES)}."
            + did_you_mean(augmentation, augment.NAMES)
        )
    if augmentation == "mosaic" and (image_size[0] % 2 or image_size[1] % 2):
        raise UserError(f"A mosaic needs even sides, not {image_size[0]}x{image_size[1]}.")
    if not len(source):
        raise UserError(f"'{source.spec}' has no image to train on.")
    part, parts = shard
    if batch_size % parts:
        raise UserError(f"A batch of {batch_size} cannot be shared evenly by {parts} workers.")
    share = batch_size // parts
    read = _training_reader(source, cache_bytes)
    draw_of = augment.draw_for(augmentation)
    quarters = [(image_size[0] // 2, image_size[1] // 2)] * 4
    count = len(source)
    seed32 = np.int32(seed % (1 << 31))

    def picture(step, slot, size, extra=0):
        # A mosaic's other quarters come from further permutations of the images.
        index = _shuffled(count, batch_size, seed32 + extra, step, slot)
        image, boxes, labels = read(index)
        key = tf.random.experimental.stateless_fold_in(
            tf.constant([seed32, 20117 + extra]), step * batch_size + slot
        )
        shape = tf.shape(image)
        draw = draw_of(key, boxes, shape[0], shape[1])
        return augment.apply(image, boxes, labels, draw, size, dtype)

    def prepare(position):
        step, slot = position // share, position % share + part * share
        if augmentation == "mosaic":
            parts_of = [picture(step, slot, size, 7919 * i) for i, size in enumerate(quarters)]
            image, boxes, labels = augment.mosaic(parts_of)
        else:
            image, boxes, labels = picture(step, slot, image_size)
        boxes, labels = _pad(boxes, labels, max_boxes)
        return image, {"boxes": boxes, "labels": labels}

    _say_cut_off(source, max_boxes)
    last = tf.int64.max if steps is None else (first_step + steps) * share
    positions = tf.data.Dataset.range(first_step * share, last)
    dataset = positions.map(
        prepare, num_parallel_calls=parallelism or tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.batch(share, drop_remainder=True).prefetch(2)


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """How many training batches an epoch has: at least one, with repetition in a small source."""
    return max(1, len(source) // batch_size)


def batch_indices(source: Source, step: int, *, batch_size: int = 32, seed: int = 0) -> list[int]:
    """Indices of the images of a training batch, of a mosaic's those of the first quarters."""
    import tensorflow as tf

    seed32 = np.int32(seed % (1 << 31))
    slots = [tf.constant(slot, tf.int64) for slot in range(batch_size)]
    return [int(_shuffled(len(source), batch_size, seed32, step, slot)) for slot in slots]


def _shuffled(count: int, batch_size: int, seed, step, slot):
    """Index of the image at a slot of the batch of a step."""
    import tensorflow as tf

    per_epoch = max(1, count // batch_size)
    rounds = -(-batch_size // count)  # more than one only where a batch repeats images
    place = (step % per_epoch) * batch_size + slot
    epoch = step // per_epoch * rounds + place // count
    order = tf.stack([seed, tf.cast(epoch, tf.int32)])
    return tf.random.experimental.index_shuffle(place % count, order, count - 1)


def evaluation_batches(
    source: Source,
    *,
    image_size: tuple[int, int] = (300, 300),
    batch_size: int = 32,
    dtype: str = "uint8",
    parallelism: int | None = None,
):
    """All images once, in the order of `source.ground_truth()`, plainly resized (bilinear).

    Returns:
        tf.data.Dataset of `{"images": [B, H, W, 3], "index": int64 [B], "readable": bool [B]}`. An
        image that cannot be read is black, and so are those of index -1 that the last batch is
        filled up with to B, so that every batch has the same shape.
    """
    import tensorflow as tf

    read = _image_reader(source, 0)
    count = len(source)

    def prepare(index):
        def nothing():
            return tf.zeros([*image_size, 3]), tf.constant(False)

        def picture():
            image, readable = read(index)
            return tf.cond(readable, lambda: (resize_tensor(image, image_size), readable), nothing)

        image, readable = tf.cond(index < count, picture, nothing)
        if dtype == "uint8":
            image = tf.cast(tf.round(image), tf.uint8)
        image.set_shape([*image_size, 3])
        index = tf.where(index < count, index, -1)
        return {"images": image, "index": index, "readable": readable}

    filled = -(-count // batch_size) * batch_size
    dataset = tf.data.Dataset.range(filled).map(
        prepare, num_parallel_calls=parallelism or tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.batch(batch_size, drop_remainder=True).prefetch(2)


def _pad(boxes, labels, max_boxes):
    import tensorflow as tf

    boxes, labels = boxes[:max_boxes], labels[:max_boxes]
    missing = max_boxes - tf.shape(labels)[0]
    boxes = tf.pad(boxes, [[0, missing], [0, 0]], constant_values=-1.0)
    labels = tf.pad(labels, [[0, missing]], constant_values=-1)
    return tf.ensure_shape(boxes, [max_boxes, 4]), tf.ensure_shape(labels, [max_boxes])


def _say_cut_off(source: Source, max_boxes: int) -> None:
    over = [len(truth) - max_boxes for truth in source.ground_truth() if len(truth) > max_boxes]
    if over:
        logging.warning(
            "%s: %d objects in %d images are beyond the limit of %d objects an image.",
            source.spec, sum(over), len(over), max_boxes,
        )  # fmt: skip


def _training_reader(source: Source, cache_bytes: int):
    """A TensorFlow function from an index to image uint8, boxes and labels.

    Crowds are left out. An image that turns out unreadable teaches nothing: it is an even grey
    without objects.
    """
    import tensorflow as tf

    truth = source.ground_truth()
    keep = [~t.crowd for t in truth]
    starts = tf.constant(np.cumsum([0, *(k.sum() for k in keep)]))
    all_boxes = tf.constant(np.concatenate([t.boxes[k] for t, k in zip(truth, keep, strict=True)]))
    all_labels = tf.constant(
        np.concatenate([t.labels[k] for t, k in zip(truth, keep, strict=True)])
    )
    image_of = _image_reader(source, cache_bytes)

    def read(index):
        image, readable = image_of(index)
        begin, end = starts[index], starts[index + 1]
        end = tf.where(readable, end, begin)
        return image, all_boxes[begin:end], all_labels[begin:end]

    return read


def _image_reader(source: Source, cache_bytes: int):
    """A TensorFlow function from an index to an image uint8 and whether it could be read."""
    import tensorflow as tf

    careful = _Careful(source, cache_bytes)

    def slow(index):
        image, readable = tf.numpy_function(careful, [index], (tf.uint8, tf.bool), stateful=False)
        image.set_shape([None, None, 3])
        readable.set_shape([])
        return image, readable

    if careful.caches or not source.plain.any():
        return slow
    plain, encoded = tf.constant(source.plain), _encoded_reader(source)

    def fast(index):
        # The accurate method gives the pixels that Pillow gives.
        image = tf.io.decode_jpeg(encoded(index), channels=3, dct_method="INTEGER_ACCURATE")
        return image, tf.constant(True)

    def fast_or_slow(index):
        # There is no "try" in a graph, but a data set of one element may lose it without a fault.
        one = tf.data.Dataset.from_tensors(index)
        first = one.map(fast).ignore_errors().concatenate(one.map(slow)).take(1)
        return first.with_options(_as_written()).get_single_element()

    return lambda index: tf.cond(plain[index], lambda: fast_or_slow(index), lambda: slow(index))


def _as_written():
    """Options of a data set that is too small to be worth optimising, which takes longer."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _encoded_reader(source: Source):
    """A TensorFlow function from an index to the bytes of the image file."""
    import tensorflow as tf

    paths = [os.fsencode(truth.path or "") for truth in source.ground_truth()]
    places = tf.constant(paths)

    def packed(index):
        data = tf.numpy_function(
            lambda i: source.encoded(int(i)), [index], tf.string, stateful=False
        )
        return tf.ensure_shape(data, [])

    def file(index):
        return tf.io.read_file(places[index])

    if all(paths):
        return file
    if not any(paths):
        return packed
    return lambda index: tf.cond(places[index] == "", lambda: packed(index), lambda: file(index))


class _Careful:
    """Reads images in Python, keeps them if all fit, and survives those it cannot read."""

    def __init__(self, source: Source, cache_bytes: int):
        self.source = source
        size = sum(3 * t.height * t.width for t in source.ground_truth())
        self.caches = size <= cache_bytes
        self.kept: dict[int, np.ndarray] = {}

    def __call__(self, index) -> tuple[np.ndarray, np.bool_]:
        index = int(index)
        image = self.kept.get(index)
        if image is None:
            image = self.source.try_image(index)
            if image is None:
                return np.full((32, 32, 3), augment.FILL, np.uint8), np.False_
            if self.caches:
                self.kept[index] = image
        return image, np.True_
