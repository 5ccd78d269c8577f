"""From a source to batches: parallel, and the same to the bit whatever the parallelism.

Order and augmentation of training are a pure function of the seed and the step, so a run resumes
anywhere without replaying what came before, and no shuffle buffer is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ssd_keras.data import augmentation as augment
from ssd_keras.data import draws, streamed_batches
from ssd_keras.data.batching import batches_of, traced_once
from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.image_tensors import image_reader
from ssd_keras.data.inspection import count_objects, describe_cut_off
from ssd_keras.data.order import Order, order_of
from ssd_keras.data.source import Source
from ssd_keras.data.streamed import StreamedSource
from ssd_keras.errors import UserError, unknown
from ssd_keras.resizing import HALF_PIXEL
from ssd_keras.tensor_resizing import resize_tensor

CACHE_BYTES = 1 << 30
# A mosaic's other quarters come from further permutations of the images.
_QUARTERS = tuple(7919 * quarter for quarter in range(4))


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
    resize: str = HALF_PIXEL,
    scale_jitter: float = 0.0,
    mirror: bool = True,
    weak_from: int | None = None,
    balanced: bool = False,
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
        max_boxes: objects of one image that are used; more are cut off, which is said once. M is
            max_boxes, of a mosaic as much more as its four images can hold.
        first_step: the step to begin with, counted from the start of training.
        steps: how many batches to give; None goes on for ever.
        dtype: "uint8" or "float32" for the images; values are 0..255 either way.
        shard: (index, count) of this worker; each gets `batch_size / count` of every batch.
        cache_bytes: keep decoded images in memory if all of them fit into this.
        parallelism: images prepared at a time; None lets TensorFlow choose.
        resize: one of `resizing.WAYS`: that of the detector.
        scale_jitter: images are shown up to this share larger or smaller, on top of the rest.
        mirror: whether images are mirrored at random; not where left and right are classes.
        weak_from: the step from which images are changed as by "light" only; None for never.
        balanced: whether images of rare classes are shown more often, see `balance.repeats`.

    Returns:
        tf.data.Dataset of `(images [B, H, W, 3], {"boxes": float32 [B, M, 4], "labels": int32
        [B, M]})`, padded with -1; of a source with ignored regions also "ignored", float32
        `[B, K, 4]`, padded in the same way.
    """
    _check_training(source, augmentation, image_size, batch_size, shard)
    changes = (augmentation, tuple(image_size), dtype, resize, max_boxes)
    changes += (scale_jitter, mirror, weak_from)
    if isinstance(source, StreamedSource):
        if balanced or augmentation == "mosaic":
            raise source.refusal()
        chain = _Chain(None, Order(len(source), batch_size, seed), *changes)
        prepare_record = functools.partial(_prepare_record, chain)
        return streamed_batches.batches(
            source, prepare_record, batch_size, seed, first_step, steps, shard, parallelism
        )
    cut_off = describe_cut_off(source, max_boxes)
    if cut_off:
        warnings.warn(f"{source.spec}: {cut_off}.", stacklevel=2)
    prepare, fast = _training_elements(
        source, batch_size, seed, balanced, tuple(shard), cache_bytes, changes
    )
    return batches_of(prepare, first_step, steps, batch_size // shard[1], fast, parallelism)


@traced_once
def _training_elements(source: Source, batch_size, seed, balanced, shard, cache_bytes, changes):
    """From a place in the batches of a shard to an image and its objects; and whether it is fast.

    `changes` are those of `_Chain`; the rest is explained in `training_batches`.
    """
    part, parts = shard
    share = batch_size // parts
    read, fast = _training_reader(source, cache_bytes)
    chain = _Chain(read, order_of(source, batch_size, seed, balanced), *changes)
    regions = _count_most_ignored(source) * (4 if chain.augmentation == "mosaic" else 1)
    rows = _count_rows(source, chain.augmentation, chain.max_boxes)

    def prepare(position, careful):
        step, slot = position // share, position % share + part * share
        image, boxes, labels = chain.picture(step, slot, careful)
        if not regions:
            boxes, labels = _pad(boxes, labels, rows)
            return image, {"boxes": boxes, "labels": labels}
        is_object = labels != augment.IGNORED
        ignored, _ = _pad(*_those(boxes, labels, ~is_object), regions)
        boxes, labels = _pad(*_those(boxes, labels, is_object), rows)
        return image, {"boxes": boxes, "labels": labels, "ignored": ignored}

    return prepare, fast


def _prepare_record(chain: _Chain, step, slot, read):
    """A training image of a record, which `read` gives, and its ground truth."""
    chain = dataclasses.replace(chain, read=read)
    image, boxes, labels = chain.picture(step, slot, careful=None)
    boxes, labels = _pad(boxes, labels, chain.max_boxes)
    return image, {"boxes": boxes, "labels": labels}


def _check_training(source, augmentation, image_size, batch_size, shard) -> None:
    if augmentation not in draws.NAMES:
        raise unknown("augmentation", augmentation, draws.NAMES)
    if augmentation == "mosaic" and (image_size[0] % 2 or image_size[1] % 2):
        raise UserError(f"A mosaic needs even sides, not {image_size[0]}x{image_size[1]}.")
    if not len(source):
        raise UserError(f"'{source.spec}' has no image to train on.")
    if batch_size % shard[1]:
        raise UserError(f"A batch of {batch_size} cannot be shared evenly by {shard[1]} workers.")


@dataclasses.dataclass(frozen=True)
class _Chain:
    """From a place in the order to a training image.

    Attributes:
        read: from an index to image, boxes and labels; None until it is known.
        order: which image it is.
        augmentation: one of `draws.NAMES`.
        image_size: (height, width).
        dtype: of the image.
        resize: one of `resizing.WAYS`.
        max_boxes: objects of one image that are used.
        scale_jitter: share by which images are shown larger or smaller at most.
        mirror: whether images are mirrored at random.
        weak_from: the step from which the augmentation is "light" alone; None for never.
    """

    read: Callable | None
    order: Order
    augmentation: str
    image_size: tuple[int, int]
    dtype: str
    resize: str
    max_boxes: int
    scale_jitter: float = 0.0
    mirror: bool = True
    weak_from: int | None = None

    def picture(self, step, slot, careful):
        """Image, boxes and labels, changed at random."""
        if self.weak_from is None or self._is_weak:
            return self._strong(step, slot, careful)
        kind = "none" if self.augmentation == "none" else "light"
        weak = dataclasses.replace(self, augmentation=kind, scale_jitter=0.0)
        image, boxes, labels = tf.cond(
            step >= self.weak_from,
            lambda: weak._strong(step, slot, careful),
            lambda: self._strong(step, slot, careful),
        )
        return tf.ensure_shape(image, [*self.image_size, 3]), boxes, labels

    @property
    def _is_weak(self) -> bool:
        return self.augmentation in ("light", "none") and not self.scale_jitter

    def _strong(self, step, slot, careful):
        if self.augmentation != "mosaic":
            return self._augment(step, slot, careful, self.image_size)
        quarter = (self.image_size[0] // 2, self.image_size[1] // 2)
        parts = [self._augment(step, slot, careful, quarter, extra) for extra in _QUARTERS]
        # Each cut by itself, or the last quarters would have objects that no box is known of.
        return augment.mosaic(
            [(image, *_first_objects(*truth, self.max_boxes)) for image, *truth in parts]
        )

    def _augment(self, step, slot, careful, size, extra: int = 0):
        image, boxes, labels = self.read(self.order.index(step, slot, extra), careful)
        height, width, _ = tf.unstack(tf.shape(image))
        objects = tf.boolean_mask(boxes, labels != augment.IGNORED)
        draw = draws.draw_for(self.augmentation)(
            self.order.key(step, slot, extra), objects, height, width
        )
        if not self.mirror:
            draw["flip"] = tf.constant(False)
        if self.scale_jitter:
            draw |= draws.draw_scale(
                self.order.key(step, slot, extra + 1), draw["window"], self.scale_jitter
            )
        return augment.apply(image, boxes, labels, draw, size, self.dtype, self.resize)


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """How many training batches an epoch has: at least one, with repetition in a small source."""
    return max(1, len(source) // batch_size)


def batch_indices(
    source: Source,
    step: int,
    *,
    batch_size: int = 32,
    seed: int = 0,
    balanced: bool = False,
    mosaic: bool = False,
) -> list[int]:
    """Indices of the images of a training batch; of mosaics four each, one after the other."""
    order = order_of(source, batch_size, seed, balanced)
    slots = [tf.constant(slot, tf.int64) for slot in range(batch_size)]
    extras = _QUARTERS if mosaic else (0,)
    return [int(order.index(step, slot, extra)) for slot in slots for extra in extras]


def evaluation_batches(
    source: Source,
    *,
    image_size: tuple[int, int] = (300, 300),
    batch_size: int = 32,
    dtype: str = "uint8",
    parallelism: int | None = None,
    resize: str = HALF_PIXEL,
):
    """All images once, in the order of `source.ground_truth()`, plainly resized (bilinear, in
    the way of `resizing.WAYS` that `resize` names).

    Returns:
        tf.data.Dataset of `{"images": [B, H, W, 3], "index": int64 [B], "readable": bool [B]}`. An
        image that cannot be read is black, and so are those of index -1 that the last batch is
        filled up with to B, so that every batch has the same shape.
    """
    prepare, fast = _evaluation_elements(source, tuple(image_size), dtype, resize)
    return batches_of(prepare, 0, -(-len(source) // batch_size), batch_size, fast, parallelism)


@traced_once
def _evaluation_elements(source: Source, image_size: tuple[int, int], dtype: str, resize: str):
    read, fast = image_reader(source, 0)
    count = len(source)

    def nothing():
        return tf.zeros([*image_size, 3]), tf.constant(False)

    def picture(index, careful):
        image, readable = read(index, careful)

        def resize_image():
            return resize_tensor(image, image_size, resize), readable

        return tf.cond(readable, resize_image, nothing)

    def prepare(index, careful):
        image, readable = tf.cond(index < count, lambda: picture(index, careful), nothing)
        if dtype == "uint8":
            image = tf.cast(tf.round(image), tf.uint8)
        image.set_shape([*image_size, 3])
        index = tf.where(index < count, index, -1)
        return {"images": image, "index": index, "readable": readable}

    return prepare, fast


def _those(boxes, labels, which):
    return tf.boolean_mask(boxes, which), tf.boolean_mask(labels, which)


def _first_objects(boxes, labels, most: int):
    """The first `most` objects, and whatever is ignored."""
    is_object = labels != augment.IGNORED
    number = tf.cumsum(tf.cast(is_object, tf.int32))
    return _those(boxes, labels, ~is_object | (number <= most))


def _count_rows(source: Source, augmentation: str, max_boxes: int) -> int:
    """Rows for the objects of one training image: `max_boxes`, or what a mosaic can hold."""
    if augmentation != "mosaic":
        return max_boxes
    # An image may stand in more than one quarter.
    return max(max_boxes, 4 * min(max_boxes, int(count_objects(source).max())))


def _count_most_ignored(source: Source) -> int:
    """Ignored regions of the image that has most of them."""
    table = table_of(source.ground_truth())
    return int(np.bincount(table.image_of[table.ignored], minlength=1).max())


def _pad(boxes, labels, max_boxes):
    boxes, labels = boxes[:max_boxes], labels[:max_boxes]
    missing = max_boxes - tf.shape(labels)[0]
    boxes = tf.pad(boxes, [[0, missing], [0, 0]], constant_values=-1.0)
    labels = tf.pad(labels, [[0, missing]], constant_values=-1)
    return tf.ensure_shape(boxes, [max_boxes, 4]), tf.ensure_shape(labels, [max_boxes])


def _training_reader(source: Source, cache_bytes: int):
    """As `image_reader`, and the boxes and labels instead of whether it could be read.

    Crowds are left out; what is ignored has the label `augmentation.IGNORED`. An image that turns
    out unreadable teaches nothing: it is an even grey without objects.
    """
    truth = table_of(source.ground_truth())
    keep = ~truth.crowd
    starts = tf.constant(np.concatenate([[0], np.cumsum(keep)])[truth.starts])
    labels = np.where(truth.ignored, np.int32(augment.IGNORED), truth.labels)
    all_boxes, all_labels = tf.constant(truth.boxes[keep]), tf.constant(labels[keep])
    image_of, fast = image_reader(source, cache_bytes)

    def read(index, careful):
        image, readable = image_of(index, careful)
        begin, end = starts[index], starts[index + 1]
        end = tf.where(readable, end, begin)
        return image, all_boxes[begin:end], all_labels[begin:end]

    return read, fast
