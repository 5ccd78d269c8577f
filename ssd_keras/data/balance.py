"""How often images are shown in training, so that rare classes are not drowned."""

from __future__ import annotations

import numpy as np

from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import Source

MOST = 8.0


def repeats(source: Source) -> np.ndarray:
    """How often each image is in an epoch's order on average, float64 `[N]`, at least once.

    A class that f of the images hold is shown `sqrt(F / f)` times as often, F being the median of
    the classes that there are; an image as often as its rarest class asks for, 8 times at most.
    Objects marked as crowd do not count.

    Source: repeat factor sampling, LVIS, arXiv 1908.03195, appendix B; its threshold is the median
    here, as data sets of users have few classes.
    """
    table = table_of(source.ground_truth())
    keep = table.is_object
    pairs = table.image_of[keep] * len(source.classes) + table.labels[keep]
    image, label = np.divmod(np.unique(pairs), len(source.classes))
    found = np.bincount(label, minlength=len(source.classes))
    there = found[found > 0]
    shown = np.ones(len(table))
    if not len(there):
        return shown
    factor = np.clip(np.sqrt(np.median(there) / np.maximum(found, 1)), 1.0, MOST)
    np.maximum.at(shown, image, factor[label])
    return shown


def count_shown(often: np.ndarray) -> int:
    """How many images are shown in an epoch's order, of those that `repeats` gives."""
    return int(np.ceil(often.sum() - 1e-6))


def draw_shown(often: np.ndarray, count: int, offset: float) -> np.ndarray:
    """Which images an epoch shows: each `often` times on average, int64 `[count]`, ascending.

    An image that is to be shown 1.3 times is shown once or twice, in three epochs of ten twice.

    Args:
        often: float `[N]`, not below 1.
        count: how many are shown, see `count_shown`.
        offset: 0 to 1, drawn anew for each epoch.

    Source: systematic sampling; LVIS rounds by chance as well, but to a number that varies.
    """
    ends = np.cumsum(often)
    places = (np.arange(count) + offset) * (ends[-1] / count)
    return np.minimum(np.searchsorted(ends, places, side="right"), len(often) - 1)
