"""From a source to batches: parallel, and the same to the bit whatever the parallelism.

Order and augmentation of training are a pure function of the seed and the step, so a run resumes
anywhere without replaying what came before, and no shuffle buffer is needed.
"""

from __future__ import annotations

import threading

import numpy as np
from absl import logging

from ssd_keras.data import augmentation as augment
from ssd_keras.data.images import ImageError
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
    read = _reader(source, cache_bytes, training=True)
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
        tf.data.Dataset of `{"images": [B, H, W, 3], "index": int64 [B]}`. The last batch is
        filled up to B with black images of index -1, so that every batch has the same shape.
    """
    import tensorflow as tf

    read = _reader(source, 0, training=False)
    count = len(source)

    def prepare(index):
        def picture():
            image, _, _ = read(index)
            return resize_tensor(image, image_size)

        image = tf.cond(index < count, picture, lambda: tf.zeros([*image_size, 3]))
        if dtype == "uint8":
            image = tf.cast(tf.round(image), tf.uint8)
        image.set_shape([*image_size, 3])
        return {"images": image, "index": tf.where(index < count, index, -1)}

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
    if hasattr(source, "example"):
        return
    over = [len(truth) - max_boxes for truth in source.ground_truth() if len(truth) > max_boxes]
    if over:
        logging.warning(
            "%s: %d objects in %d images are beyond the limit of %d objects an image.",
            source.spec, sum(over), len(over), max_boxes,
        )  # fmt: skip


def _reader(source: Source, cache_bytes: int, training: bool):
    """A TensorFlow function from an index to image uint8, boxes and labels."""
    import tensorflow as tf

    if hasattr(source, "example"):
        return _drawn_reader(source, cache_bytes)
    truth = source.ground_truth()
    keep = [~t.crowd if training else np.ones(len(t), bool) for t in truth]
    lengths = np.array([k.sum() for k in keep], np.int64)
    starts = tf.constant(np.concatenate([[0], np.cumsum(lengths)]))
    all_boxes = tf.constant(np.concatenate([t.boxes[k] for t, k in zip(truth, keep, strict=True)]))
    all_labels = tf.constant(
        np.concatenate([t.labels[k] for t, k in zip(truth, keep, strict=True)])
    )
    image_of = _image_reader(source, cache_bytes, training)

    def read(index):
        image, sound = image_of(index)
        begin, end = starts[index], starts[index + 1]
        # An image that turned out unreadable teaches nothing: it has no objects.
        end = tf.where(sound, end, begin)
        return image, all_boxes[begin:end], all_labels[begin:end]

    return read


def _image_reader(source: Source, cache_bytes: int, training: bool):
    import tensorflow as tf

    lenient = _Lenient(source, cache_bytes, "Left out of training" if training else "Not seen")

    def slow(index):
        image, sound = tf.numpy_function(lenient, [index], (tf.uint8, tf.bool), stateful=False)
        image.set_shape([None, None, 3])
        sound.set_shape([])
        return image, sound

    if lenient.caches or not hasattr(source, "plain") or not source.plain.any():
        return slow
    plain = tf.constant(source.plain)
    encoded = _encoded_reader(source)

    def fast(index):
        # The accurate method gives the pixels that Pillow gives.
        image = tf.io.decode_jpeg(encoded(index), channels=3, dct_method="INTEGER_ACCURATE")
        return image, tf.constant(True)

    return lambda index: tf.cond(plain[index], lambda: fast(index), lambda: slow(index))


def _encoded_reader(source: Source):
    """A TensorFlow function from an index to the bytes of the image file."""
    import tensorflow as tf

    if not hasattr(source, "encoded"):
        paths = tf.constant([truth.path for truth in source.ground_truth()])
        return lambda index: tf.io.read_file(paths[index])

    def encoded(index):
        data = tf.numpy_function(
            lambda i: source.encoded(int(i)), [index], tf.string, stateful=False
        )
        return tf.ensure_shape(data, [])

    return encoded


class _Lenient:
    """Reads images in Python, keeps them if all fit, and survives those it cannot read."""

    def __init__(self, source: Source, cache_bytes: int, complaint: str):
        self.source = source
        self.complaint = complaint
        size = sum(3 * t.height * t.width for t in source.ground_truth())
        self.caches = size <= cache_bytes
        self.kept: dict[int, np.ndarray] = {}
        self.said: set[int] = set()
        self.lock = threading.Lock()

    def __call__(self, index) -> tuple[np.ndarray, np.bool_]:
        index = int(index)
        image = self.kept.get(index)
        if image is None:
            try:
                image = self.source.image(index)
            except ImageError as error:
                with self.lock:
                    if index not in self.said:
                        self.said.add(index)
                        logging.warning("%s: %s", self.complaint, error)
                return np.full((32, 32, 3), augment.FILL, np.uint8), np.False_
            if self.caches:
                self.kept[index] = image
        return image, np.True_


def _drawn_reader(source, cache_bytes: int):
    import tensorflow as tf

    kept = {}
    caches = len(source) * source.size**2 * 3 <= cache_bytes

    def example(index):
        index = int(index)
        found = kept.get(index)
        if found is None:
            found = source.example(index)
            if caches:
                kept[index] = found
        return found

    def read(index):
        image, boxes, labels = tf.numpy_function(
            example, [index], (tf.uint8, tf.float32, tf.int32), stateful=False
        )
        image.set_shape([source.size, source.size, 3])
        boxes.set_shape([None, 4])
        labels.set_shape([None])
        return image, boxes, labels

    return read
