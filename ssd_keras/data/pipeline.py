"""From a source to batches: parallel, and the same to the bit whatever the parallelism.

Order and augmentation of training are a pure function of the seed and the step, so a run resumes
anywhere without replaying what came before, and no shuffle buffer is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from ssd_keras.data import augmentation as augment
from ssd_keras.data import images, jpeg, streamed_batches
from ssd_keras.data.balance import repeats
from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import Source
from ssd_keras.data.streamed import StreamedSource
from ssd_keras.data.tiled import grouped_order
from ssd_keras.errors import UserError, unknown
from ssd_keras.resizing import HALF_PIXEL, resize_tensor

CACHE_BYTES = 1 << 30
TILES_TOGETHER = 8  # tiles of an image that are trained on at a time
GROUP = 4  # images that are read again carefully if one of them is damaged


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
        max_boxes: M; more objects in one image are cut off, which is said once.
        first_step: the step to begin with, counted from the start of training.
        steps: how many batches to give; None goes on for ever.
        dtype: "uint8" or "float32" for the images; values are 0..255 either way.
        shard: (index, count) of this worker; each gets `batch_size / count` of every batch.
        cache_bytes: keep decoded images in memory if all of them fit into this.
        parallelism: images prepared at a time; None lets TensorFlow choose.
        resize: one of `resizing.WAYS`: that of the detector.
        scale_jitter: images are shown up to this share larger or smaller, on top of the rest.
        weak_from: the step from which images are changed as by "light" only; None for never.
        balanced: whether images of rare classes are shown more often, see `balance.repeats`.

    Returns:
        tf.data.Dataset of `(images [B, H, W, 3], {"boxes": float32 [B, M, 4], "labels": int32
        [B, M]})`, padded with -1; of a source with ignored regions also "ignored", float32
        `[B, K, 4]`, padded in the same way.
    """
    _check_training(source, augmentation, image_size, batch_size, shard)
    changes = (augmentation, image_size, dtype, resize, scale_jitter, weak_from)
    if isinstance(source, StreamedSource):
        if balanced or augmentation == "mosaic":
            raise source.refusal()
        chain = _Chain(None, _Order(len(source), batch_size, seed), *changes)
        prepare_record = functools.partial(_prepare_record, chain, max_boxes)
        return streamed_batches.batches(
            source, prepare_record, batch_size, seed, first_step, steps, shard, parallelism
        )
    _say_cut_off(source, max_boxes)
    part, parts = shard
    share = batch_size // parts
    read, fast = _training_reader(source, cache_bytes)
    regions = _most_ignored(source) * (4 if augmentation == "mosaic" else 1)
    order = _order(source, batch_size, seed, balanced)
    chain = _Chain(read, order, *changes)

    def prepare(position, careful):
        step, slot = position // share, position % share + part * share
        image, boxes, labels = chain.picture(step, slot, careful)
        if not regions:
            boxes, labels = _pad(boxes, labels, max_boxes)
            return image, {"boxes": boxes, "labels": labels}
        is_object = labels != augment.IGNORED
        ignored, _ = _pad(*_those(boxes, labels, ~is_object), regions)
        boxes, labels = _pad(*_those(boxes, labels, is_object), max_boxes)
        return image, {"boxes": boxes, "labels": labels, "ignored": ignored}

    return _batches(prepare, first_step, steps, share, fast, parallelism)


def _prepare_record(chain: _Chain, max_boxes: int, step, slot, read):
    """A training image of a record, which `read` gives, and its ground truth."""
    chain = dataclasses.replace(chain, read=read)
    image, boxes, labels = chain.picture(step, slot, careful=None)
    boxes, labels = _pad(boxes, labels, max_boxes)
    return image, {"boxes": boxes, "labels": labels}


def _check_training(source, augmentation, image_size, batch_size, shard) -> None:
    if augmentation not in augment.NAMES:
        raise unknown("augmentation", augmentation, augment.NAMES)
    if augmentation == "mosaic" and (image_size[0] % 2 or image_size[1] % 2):
        raise UserError(f"A mosaic needs even sides, not {image_size[0]}x{image_size[1]}.")
    if not len(source):
        raise UserError(f"'{source.spec}' has no image to train on.")
    if batch_size % shard[1]:
        raise UserError(f"A batch of {batch_size} cannot be shared evenly by {shard[1]} workers.")


def _order(source: Source, batch_size: int, seed: int, balanced: bool) -> _Order:
    """The order of the images, each once or as often as balance asks for."""
    shown = np.repeat(np.arange(len(source)), repeats(source)) if balanced else None
    if source.groups is not None:
        groups = source.groups if shown is None else source.groups[shown]
        shown = () if shown is None else tuple(shown.tolist())
        return _GroupedOrder(len(groups), batch_size, seed, shown, groups)
    if shown is None:
        return _Order(len(source), batch_size, seed)
    return _Order(len(shown), batch_size, seed, tuple(shown.tolist()))


@dataclasses.dataclass(frozen=True)
class _Order:
    """Which image is at which place of which batch.

    Attributes:
        count: images that are shown before any is shown again.
        batch_size: over all shards.
        seed: of the run.
        shown: the index of each of them; empty where it is each image once.
    """

    count: int
    batch_size: int
    seed: int
    shown: tuple[int, ...] = ()

    def index(self, step, slot, extra: int = 0):
        """Index of the image; another `extra` gives further permutations."""
        count, batch_size = self.count, self.batch_size
        per_epoch = max(1, count // batch_size)
        rounds = -(-batch_size // count)  # more than one only where a batch repeats images
        place = (step % per_epoch) * batch_size + slot
        epoch = step // per_epoch * rounds + place // count
        place = self._shuffled(place % count, epoch, extra)
        return tf.gather(tf.constant(self.shown, place.dtype), place) if self.shown else place

    def _shuffled(self, place, epoch, extra: int):
        order = tf.stack([self._seed32 + extra, tf.cast(epoch, tf.int32)])
        return tf.random.experimental.index_shuffle(place, order, self.count - 1)

    def key(self, step, slot, extra: int = 0):
        """The seed of the random changes at a place, int `[2]`."""
        seed = tf.constant([self._seed32, 20117 + extra])
        return tf.random.experimental.stateless_fold_in(seed, step * self.batch_size + slot)

    @property
    def _seed32(self) -> np.int32:
        return np.int32(self.seed % (1 << 31))


@dataclasses.dataclass(frozen=True, eq=False)
class _GroupedOrder(_Order):
    """An order in which several members of a group, the tiles of an image, follow each other.

    Attributes:
        groups: int `[count]`, ascending.
    """

    groups: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))

    # One by one: the orders of an epoch are kept by it.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def _shuffled(self, place, epoch, extra: int):
        def look_up(place, epoch):
            return self._epoch(int(epoch), extra)[int(place)]

        found = tf.numpy_function(look_up, [place, epoch], tf.int64, stateful=False)
        return tf.ensure_shape(found, [])

    def _epoch(self, epoch: int, extra: int) -> np.ndarray:
        size = max(1, min(TILES_TOGETHER, self.batch_size // 2))
        return _grouped_order(self, size, int(self._seed32) + extra, epoch)


@functools.lru_cache(maxsize=8)
def _grouped_order(order: _GroupedOrder, size: int, seed: int, epoch: int) -> np.ndarray:
    return grouped_order(order.groups, size, seed, epoch)


@dataclasses.dataclass(frozen=True)
class _Chain:
    """From a place in the order to a training image.

    Attributes:
        read: from an index to image, boxes and labels; None until it is known.
        order: which image it is.
        augmentation: one of `augmentation.NAMES`.
        image_size: (height, width).
        dtype: of the image.
        resize: one of `resizing.WAYS`.
        scale_jitter: share by which images are shown larger or smaller at most.
        weak_from: the step from which the augmentation is "light" alone; None for never.
    """

    read: Callable | None
    order: _Order
    augmentation: str
    image_size: tuple[int, int]
    dtype: str
    resize: str
    scale_jitter: float = 0.0
    weak_from: int | None = None

    def picture(self, step, slot, careful):
        """Image, boxes and labels, changed at random."""
        if self.weak_from is None or self._is_weak:
            return self._strong(step, slot, careful)
        weak = dataclasses.replace(self, augmentation="light", scale_jitter=0.0)
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
        # A mosaic's other quarters come from further permutations of the images.
        quarter = (self.image_size[0] // 2, self.image_size[1] // 2)
        parts = [self._augment(step, slot, careful, quarter, 7919 * i) for i in range(4)]
        return augment.mosaic(parts)

    def _augment(self, step, slot, careful, size, extra: int = 0):
        image, boxes, labels = self.read(self.order.index(step, slot, extra), careful)
        height, width, _ = tf.unstack(tf.shape(image))
        objects = tf.boolean_mask(boxes, labels != augment.IGNORED)
        draw = augment.draw_for(self.augmentation)(
            self.order.key(step, slot, extra), objects, height, width
        )
        if self.scale_jitter:
            draw |= augment.draw_scale(
                self.order.key(step, slot, extra + 1), draw["window"], self.scale_jitter
            )
        return augment.apply(image, boxes, labels, draw, size, self.dtype, self.resize)


def _batches(prepare, first: int, count: int | None, size: int, fast: bool, parallelism):
    """Batches `first` to `first + count` of what `prepare` gives for each place in them.

    Args:
        prepare: a TensorFlow function of a place, counted through all batches, and whether to
            read carefully.
        first, count: the batches; None for no end.
        size: of a batch.
        fast: whether to try first without care.
        parallelism: elements prepared at a time; None lets TensorFlow choose.
    """
    place = tf.TensorSpec([], tf.int64)
    prepare = tf.function(prepare, [place, tf.TensorSpec([], tf.bool)], autograph=False)
    group = math.gcd(size, GROUP) if fast else 1

    def element(number):
        return prepare(number, tf.constant(True))

    def several(number):
        # There is no "try" in a graph, but a data set may lose an element without a fault. What
        # this costs is shared by the elements of a group.
        places = tf.data.Dataset.range(number * group, (number + 1) * group)
        tried = places.map(lambda place: prepare(place, tf.constant(False))).ignore_errors()
        whole = tried.batch(group, drop_remainder=True)
        careful = places.map(element).batch(group, drop_remainder=True)
        return whole.concatenate(careful).take(1).with_options(_as_written()).get_single_element()

    last = tf.int64.max if count is None else (first + count) * size
    numbers = tf.data.Dataset.range(first * size // group, last // group)
    parts = numbers.map(
        several if fast else element,
        num_parallel_calls=parallelism or tf.data.AUTOTUNE,
        deterministic=True,
    )
    batches = parts.batch(size // group, drop_remainder=True)
    if fast:
        batches = batches.map(lambda *parts: tf.nest.map_structure(_merge_groups, _one(parts)))
    return batches.prefetch(2)


def _one(parts: tuple):
    return parts[0] if len(parts) == 1 else parts


def _merge_groups(groups):
    """`[groups, group, ...]` as `[groups * group, ...]`."""
    count, size, *rest = groups.shape
    return tf.reshape(groups, [count * size, *rest])


def _as_written():
    """Options of a data set that is too small to be worth optimising, which takes longer."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """How many training batches an epoch has: at least one, with repetition in a small source."""
    return max(1, len(source) // batch_size)


def batch_indices(
    source: Source, step: int, *, batch_size: int = 32, seed: int = 0, balanced: bool = False
) -> list[int]:
    """Indices of the images of a training batch, of a mosaic's those of the first quarters."""
    order = _order(source, batch_size, seed, balanced)
    slots = [tf.constant(slot, tf.int64) for slot in range(batch_size)]
    return [int(order.index(step, slot)) for slot in slots]


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
    read, fast = _image_reader(source, 0)
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

    return _batches(prepare, 0, -(-count // batch_size), batch_size, fast, parallelism)


def _those(boxes, labels, which):
    return tf.boolean_mask(boxes, which), tf.boolean_mask(labels, which)


def _most_ignored(source: Source) -> int:
    """Ignored regions of the image that has most of them."""
    table = table_of(source.ground_truth())
    return int(np.bincount(table.image_of[table.ignored], minlength=1).max())


def _pad(boxes, labels, max_boxes):
    boxes, labels = boxes[:max_boxes], labels[:max_boxes]
    missing = max_boxes - tf.shape(labels)[0]
    boxes = tf.pad(boxes, [[0, missing], [0, 0]], constant_values=-1.0)
    labels = tf.pad(labels, [[0, missing]], constant_values=-1)
    return tf.ensure_shape(boxes, [max_boxes, 4]), tf.ensure_shape(labels, [max_boxes])


def _say_cut_off(source: Source, max_boxes: int) -> None:
    table = table_of(source.ground_truth())
    counts = np.bincount(table.image_of[~table.ignored], minlength=len(table))
    over = counts[counts > max_boxes] - max_boxes
    if len(over):
        logging.warning(
            "%s: %d objects in %d images are beyond the limit of %d objects an image.",
            source.spec, over.sum(), len(over), max_boxes,
        )  # fmt: skip


def _training_reader(source: Source, cache_bytes: int):
    """As `_image_reader`, and the boxes and labels instead of whether it could be read.

    Crowds are left out; what is ignored has the label `augmentation.IGNORED`. An image that turns
    out unreadable teaches nothing: it is an even grey without objects.
    """
    truth = table_of(source.ground_truth())
    keep = ~truth.crowd
    starts = tf.constant(np.concatenate([[0], np.cumsum(keep)])[truth.starts])
    labels = np.where(truth.ignored, np.int32(augment.IGNORED), truth.labels)
    all_boxes, all_labels = tf.constant(truth.boxes[keep]), tf.constant(labels[keep])
    image_of, fast = _image_reader(source, cache_bytes)

    def read(index, careful):
        image, readable = image_of(index, careful)
        begin, end = starts[index], starts[index + 1]
        end = tf.where(readable, end, begin)
        return image, all_boxes[begin:end], all_labels[begin:end]

    return read, fast


def _image_reader(source: Source, cache_bytes: int):
    """A TensorFlow function from an index to an image uint8 and whether it could be read.

    Returns:
        the function of the index and whether to read carefully: without care, a damaged file is a
        fault of the step; and whether reading without care is faster at all.
    """
    reader = _Careful(source, cache_bytes)
    are_quick = source.standard_jpeg | _may_be_jpeg(source)
    quick_ones = tf.constant(are_quick)
    encoded, as_stated = _encoded_reader(source), _stated_jpeg(source)

    def slow(index):
        image, readable = tf.numpy_function(reader, [index], (tf.uint8, tf.bool), stateful=False)
        image.set_shape([None, None, 3])
        readable.set_shape([])
        return image, readable

    def quick(index):
        # The accurate method gives the pixels that Pillow gives.
        data = as_stated(index, encoded(index))
        image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return image, tf.constant(True)

    if reader.caches or not are_quick.any():
        return lambda index, careful: slow(index), False

    def read(index, careful):
        return tf.cond(quick_ones[index] & ~careful, lambda: quick(index), lambda: slow(index))

    return read, True


def _may_be_jpeg(source: Source) -> np.ndarray:
    """bool `[N]`, images that were not opened yet and are called JPEGs."""
    paths = table_of(source.ground_truth()).paths
    called = [bool(path) and path.lower().endswith((".jpg", ".jpeg")) for path in paths]
    return source.believed & np.array(called, bool)


def _stated_jpeg(source: Source):
    """A TensorFlow function from an index and the bytes of its file to those bytes.

    Of an image whose size is believed, only if it is a JPEG of that size which every decoder reads
    alike; else it gives nothing, which is a fault of the decoder's.
    """
    if not source.believed.any():
        return lambda index, data: data
    sizes = table_of(source.ground_truth()).sizes
    is_believed = tf.constant(source.believed)

    def check(index, data):
        found = jpeg.plain_size(io.BytesIO(data), lambda: images.is_upright(data))
        return data if found == tuple(sizes[index].tolist()) else b""

    def checked(index, data):
        found = tf.numpy_function(check, [index, data], tf.string, stateful=False)
        return tf.ensure_shape(found, [])

    return lambda index, data: tf.cond(
        is_believed[index], lambda: checked(index, data), lambda: data
    )


def _encoded_reader(source: Source):
    """A TensorFlow function from an index to the bytes of the image file."""
    paths = [os.fsencode(path or "") for path in table_of(source.ground_truth()).paths]
    places = tf.constant(paths)

    def read_packed(index):
        data = tf.numpy_function(
            lambda i: source.encoded(int(i)), [index], tf.string, stateful=False
        )
        return tf.ensure_shape(data, [])

    def file(index):
        return tf.io.read_file(places[index])

    if all(paths):
        return file
    if not any(paths):
        return read_packed
    return lambda index: tf.cond(
        places[index] == "", lambda: read_packed(index), lambda: file(index)
    )


class _Careful:
    """Reads images in Python, keeps them if all fit, and survives those it cannot read."""

    def __init__(self, source: Source, cache_bytes: int):
        self.source = source
        sizes = table_of(source.ground_truth()).sizes
        self.caches = 3 * int(sizes.prod(1).sum()) <= cache_bytes
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
