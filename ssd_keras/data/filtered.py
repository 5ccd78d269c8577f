"""Part of a source, chosen by the names of its images."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable

import numpy as np

from ssd_keras.data import images
from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.names import fold
from ssd_keras.data.source import Source
from ssd_keras.data.text import number
from ssd_keras.errors import UserError

# Two parts of a set by a pattern, and two by a share of it: each pair is the whole set.
PATTERNS, SHARES = ("only", "without"), ("share", "rest")
FILTERS = (*PATTERNS, *SHARES)
# Roboflow writes each augmented copy of a photograph as NAME.rf.HASH.jpg.
_COPY = re.compile(r"\.rf\.[0-9a-z]{16,}$", re.IGNORECASE)


class FilteredSource(Source):
    """The images of a source whose names a pattern is found in, or is not, or a share of them.

    Classes and their numbers are those of the whole source, so that two parts of one data set agree
    in them. Problems are those of the images that are kept, and those of no certain image; of the
    images that these have cost the part counts its share.

    Args:
        spec: how the user named the data.
        source: all images.
        kind: "only" keeps the images that match, "without" leaves them out; "share" keeps a share
            of the images, "rest" the others.
        value: regular expression, searched in the file name without its folder, or in the id of
            an image that has no file; of "share" and "rest" a number between 0 and 1, which the
            images are drawn by as `place_of` says.

    Raises:
        UserError: the value is no regular expression or no such number, or keeps nothing.
    """

    def __init__(self, spec: str, source: Source, kind: str, value: str):
        keeps = _by_share(spec, kind, value) if kind in SHARES else _by_pattern(spec, kind, value)
        truth = table_of(source.ground_truth())
        called = [
            os.path.basename(path) if path else name
            for name, path in zip(truth.image_ids, truth.paths, strict=True)
        ]
        self._kept = [index for index, name in enumerate(called) if keeps(name)]
        if not self._kept:
            raise UserError(
                f"'{spec}' keeps none of {len(truth)} images, which are called "
                f"{', '.join(called[:3])} ..."
            )
        kept = len(self._kept) / len(truth)
        problems = [
            p if p.image else dataclasses.replace(p, images_lost=round(kept * p.images_lost))
            for p in source.problems
            if not p.image or keeps(p.image)
        ]
        super().__init__(
            spec,
            source.classes,
            truth.take(self._kept),
            problems,
            standard_jpeg=source.standard_jpeg[self._kept],
            believed=source.believed[self._kept],
            category_ids=source.category_ids,
        )
        self._source = source

    def image(self, index: int) -> np.ndarray:
        return self._source.image(self._kept[index])

    def encoded(self, index: int) -> bytes:
        return self._source.encoded(self._kept[index])


def _by_pattern(spec: str, kind: str, pattern: str) -> Callable[[str], bool]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"'{pattern}' in '{spec}' is no regular expression: {error}.") from error
    return lambda name: (expression.search(name) is not None) == (kind == "only")


def _by_share(spec: str, kind: str, written: str) -> Callable[[str], bool]:
    share = number(written)
    if share is None or not 0 < share < 1:
        raise UserError(
            f"'{kind}' in '{spec}' is a number between 0 and 1, such as ?{kind}=0.8, not "
            f"'{written}'."
        )
    return lambda name: (place_of(name) < share) == (kind == "share")


def place_of(name: str) -> float:
    """Where an image stands between 0 and 1, by a hash of its name: nothing else moves it.

    The extension, the case of letters and what Roboflow puts behind the name of each copy of a
    photograph do not count, so that copies stay together.
    """
    stem, extension = os.path.splitext(name)
    stem = stem if extension.lower() in images.EXTENSIONS else name
    told_by = fold(_COPY.sub("", stem)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(told_by, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
