"""Classes by name: what a trained detector knows of some classes, for one with other classes."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd_keras.labels import match_key

ALIASES = Path(__file__).with_name("class_aliases.csv")


def same_classes(new: Sequence[str], trained: Sequence[str]) -> dict[int, int]:
    """Which class of a trained detector each of the new ones is.

    Names are the same in any case of letters and with blanks, hyphens or underscores between
    words; then come words that are written as one, and the names that COCO, VOC and Open Images
    have for one class, by the table. Plurals are other names. No class is taken twice.

    Returns:
        Index in `new` -> index in `trained`, of those that are in both.
    """
    pairs: dict[int, int] = {}
    for form in (str, match_key, _usual):
        places = {form(name): index for index, name in reversed(list(enumerate(trained)))}
        for index, name in enumerate(new):
            place = places.get(form(name))
            if index not in pairs and place is not None and place not in pairs.values():
                pairs[index] = place
    return pairs


def _usual(name: str) -> str:
    """COCO's name of a class that has several, without blanks: "TrafficLight", "motor bike"."""
    key = _without_blanks(match_key(name))
    return _aliases().get(key, key)


def _without_blanks(name: str) -> str:
    return name.replace(" ", "")


@functools.cache
def _aliases() -> dict[str, str]:
    with ALIASES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        _without_blanks(alias): _without_blanks(row["name"])
        for row in rows
        for alias in row["aliases"].split(";")
    }


def keep_columns(
    fresh: Sequence[np.ndarray],
    trained: Sequence[np.ndarray],
    pairs: dict[int, int],
    counts: tuple[int, int],
    background: tuple[int, int],
    *,
    against_background: bool = True,
) -> list[np.ndarray] | None:
    """The weights of a layer that predicts classes, with the columns of the classes it knows.

    Args:
        fresh: kernel and bias of the new layer; the last axis is box in cell, then background and
            classes.
        trained: those of the trained layer.
        pairs: see `same_classes`.
        counts: classes of the new and of the trained detector.
        background: columns of background before the classes, 0 or 1, of the new and of the trained
            detector; where both have it, it is kept.
        against_background: whether the trained detector's classes compete with its background
            (softmax) instead of answering yes or no (sigmoid). Without background the difference
            to it is what they answer then; a background that is new begins at 0, against which a
            softmax of one class is what the sigmoid was.

    Returns:
        The arrays of `fresh` with columns of `trained`, or None if these are of another shape.
    """
    columns = [own + count for own, count in zip(background, counts, strict=True)]
    first = background[0]
    taken = {place: place for place in range(first)}
    taken |= {first + new: first + old for new, old in pairs.items()}
    kept = []
    for ours, theirs in zip(fresh, trained, strict=False):
        per_cell = ours.shape[-1] // columns[0]
        if theirs.shape != (*ours.shape[:-1], per_cell * columns[1]):
            return None
        result = ours.reshape(*ours.shape[:-1], per_cell, columns[0]).copy()
        known = theirs.reshape(*ours.shape[:-1], per_cell, columns[1])
        known = _with_background(known, *background, against_background)
        result[..., list(taken)] = known[..., list(taken.values())]
        kept.append(result.reshape(ours.shape))
    return kept if len(fresh) == len(trained) else None


def _with_background(known: np.ndarray, wanted: int, there: int, against: bool) -> np.ndarray:
    """Columns `[..., background + classes]` with or without that of the background."""
    if wanted == there:
        return known
    if wanted:
        return np.concatenate([np.zeros_like(known[..., :1]), known], axis=-1)
    return known[..., 1:] - known[..., :1] if against else known[..., 1:]
