"""Some of the images that a `fit` is given, whatever they come in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

DEFAULT_BATCH_SIZE = 32  # of `keras.Model.fit`


def watch(
    x, count: int, batch_size: int | None = None, validation_split: float = 0.0
) -> tuple[object, Callable[[], Iterator[np.ndarray]]]:
    """What to give to `fit` in the place of `x`, and what tells of its images.

    Nothing is taken from a generator that `fit` would miss: its first batches are kept as they
    pass. Arrays, `tf.data`, `PyDataset` and other data that can be gone through again are.

    Args:
        x, batch_size, validation_split: as in `fit`.
        count: batches to tell of.

    Returns:
        The data for `fit`, and a function that gives at most `count` batches of images
        `[B, H, W, 3]`, all of one size B.
    """
    if hasattr(x, "__next__"):
        kept: list = []
        return _keep_first(x, kept, count), lambda: _images(kept)
    if isinstance(x, keras.utils.PyDataset):
        known = x.num_batches
        numbers = range(count if known is None else min(known, count))
        return x, lambda: _images(x[number] for number in numbers)
    if not hasattr(x, "shape") and hasattr(x, "__iter__") and not isinstance(x, (dict, list)):
        return x, lambda: _images(_first(x, count))
    array = keras.tree.flatten(x)[0]
    end = int(len(array) * (1 - validation_split))
    return x, lambda: _spread(array, end, count, batch_size or DEFAULT_BATCH_SIZE)


def _keep_first(generator: Iterator, kept: list, count: int) -> Iterator:
    for batch in generator:
        if len(kept) < count:
            kept.append(batch)
        yield batch


def _first(batches: Iterable, count: int) -> Iterable:
    # Of a tf.data.Dataset no more is prepared than is taken.
    return batches.take(count) if hasattr(batches, "take") else itertools.islice(batches, count)


def _images(batches: Iterable) -> Iterator[np.ndarray]:
    """The images of batches, less what does not fill a batch, whose statistics would be poor."""
    size = 0
    for batch in batches:
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        images = _array(keras.tree.flatten(images)[0])
        size = size or len(images)
        if len(images) == size:
            yield images


def _array(images) -> np.ndarray:
    if type(images).__name__ == "PerReplica":
        return np.concatenate([np.asarray(part) for part in images.values])
    return np.asarray(images)


def _spread(array, end: int, count: int, size: int) -> Iterator[np.ndarray]:
    """Batches of images that are evenly spread, since neighbours are often alike."""
    size = min(size, end)
    taken = min(end // size, count) * size
    places = np.arange(taken) * end // taken
    for start in range(0, taken, size):
        yield np.stack([np.asarray(array[i]) for i in places[start : start + size].tolist()])
