"""How often images are shown in training, so that rare classes are not drowned."""

from __future__ import annotations

import numpy as np

from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import Source

MOST = 8


def repeats(source: Source) -> np.ndarray:
    """How often each image is in an epoch's order, int `[N]`, at least once.

    A class that f of the images hold is shown `sqrt(F / f)` times as often, F being the median of
    the classes that there are; an image as often as its rarest class asks for, 8 times at most, in
    whole numbers. Objects marked as crowd do not count.

    Source: repeat factor sampling, LVIS, arXiv 1908.03195, appendix B; its threshold is the median
    here, as data sets of users have few classes.
    """
    table = table_of(source.ground_truth())
    keep = table.is_object
    pairs = table.image_of[keep] * len(source.classes) + table.labels[keep]
    image, label = np.divmod(np.unique(pairs), len(source.classes))
    found = np.bincount(label, minlength=len(source.classes))
    there = found[found > 0]
    shown = np.ones(len(table), int)
    if not len(there):
        return shown
    factor = np.sqrt(np.median(there) / np.maximum(found, 1))
    whole = np.clip(np.floor(factor + 0.5), 1, MOST).astype(int)
    np.maximum.at(shown, image, whole[label])
    return shown
