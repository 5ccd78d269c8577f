"""Which image is at which place of which batch: a function of the seed and the step."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from ssd_keras.data.balance import count_shown, draw_shown, repeats
from ssd_keras.data.source import Source

TILES_TOGETHER = 8  # tiles of an image that are trained on at a time


def order_of(source: Source, batch_size: int, seed: int, balanced: bool) -> Order:
    """The order of the images, each once or as often as balance asks for."""
    if source.groups is None and not balanced:
        return Order(len(source), batch_size, seed)
    often = repeats(source) if balanced else np.ones(len(source))
    # An image alone is a group of one.
    groups = np.arange(len(often)) if source.groups is None else source.groups
    return DrawnOrder(count_shown(often), batch_size, seed, groups, often)


@dataclasses.dataclass(frozen=True)
class Order:
    """Which image is at which place of which batch.

    Attributes:
        count: images that are shown before any is shown again.
        batch_size: over all shards.
        seed: of the run.
    """

    count: int
    batch_size: int
    seed: int

    def index(self, step, slot, extra: int = 0):
        """Index of the image; another `extra` gives further permutations."""
        count, batch_size = self.count, self.batch_size
        per_epoch = max(1, count // batch_size)
        rounds = -(-batch_size // count)  # more than one only where a batch repeats images
        place = (step % per_epoch) * batch_size + slot
        epoch = step // per_epoch * rounds + place // count
        return self._shuffle(place % count, epoch, extra)

    def _shuffle(self, place, epoch, extra: int):
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
class DrawnOrder(Order):
    """An order that shows some images more often, and the tiles of an image after each other.

    Attributes:
        groups: int `[N]`, ascending.
        often: how often each is shown, float `[N]`, see `balance.repeats`.
    """

    groups: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    often: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    # One by one: the orders of an epoch are kept by it.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def _shuffle(self, place, epoch, extra: int):
        def look_up(place, epoch):
            return self._epoch(int(epoch), extra)[int(place)]

        found = tf.numpy_function(look_up, [place, epoch], tf.int64, stateful=False)
        return tf.ensure_shape(found, [])

    def _epoch(self, epoch: int, extra: int) -> np.ndarray:
        size = max(1, min(TILES_TOGETHER, self.batch_size // 2))
        return _kept_order(self, size, int(self._seed32) + extra, epoch)


@functools.lru_cache(maxsize=8)
def _kept_order(order: DrawnOrder, size: int, seed: int, epoch: int) -> np.ndarray:
    if order.count == len(order.often):
        return grouped_order(order.groups, size, seed, epoch)
    # A stream of its own: the order of what is shown once stays as it is.
    offset = np.random.Generator(np.random.Philox(key=[(seed + 1) % (1 << 63), epoch])).random()
    shown = draw_shown(order.often, order.count, offset)
    return shown[grouped_order(order.groups[shown], size, seed, epoch)]


def grouped_order(groups: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """A random order in which `size` members of a group follow each other, int64 `[N]`.

    Each group is shuffled and cut into runs of `size`; the runs are shuffled.

    Args:
        groups: of each element, ascending.
        size: of a run.
        seed, epoch: the same give the same order.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed % (1 << 63), epoch]))
    # By sorting random numbers: what NumPy's own shuffle does may change with its version.
    within = np.lexsort((rng.random(len(groups)), groups))
    starts = np.flatnonzero(np.r_[True, np.diff(groups) > 0]) if len(groups) else np.zeros(0, int)
    place = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    run = np.cumsum(place % size == 0) - 1
    rank = rng.random(run[-1] + 1 if len(run) else 0)
    return within[np.lexsort((place, rank[run]))]
