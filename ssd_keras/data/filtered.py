"""Part of a source, chosen by the names of its images."""

from __future__ import annotations

import os
import re

import numpy as np

from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import Source
from ssd_keras.errors import UserError

FILTERS = ("only", "without")


class FilteredSource(Source):
    """The images of a source whose names a pattern is found in, or is not.

    Classes and their numbers are those of the whole source, so that two parts of one data set agree
    in them. Problems are those of the images that are kept, and those of no certain image.

    Args:
        spec: how the user named the data.
        source: all images.
        kind: "only" keeps the images that match, "without" leaves them out.
        pattern: regular expression, searched in the file name without its folder, or in the id of
            an image that has no file.

    Raises:
        UserError: the pattern is no regular expression, or keeps nothing.
    """

    def __init__(self, spec: str, source: Source, kind: str, pattern: str):
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise UserError(
                f"'{pattern}' in '{spec}' is no regular expression: {error}."
            ) from error
        truth = table_of(source.ground_truth())
        called = [
            os.path.basename(path) if path else name
            for name, path in zip(truth.image_ids, truth.paths, strict=True)
        ]

        def keeps(name: str) -> bool:
            return (expression.search(name) is not None) == (kind == "only")

        self._kept = [index for index, name in enumerate(called) if keeps(name)]
        if not self._kept:
            raise UserError(
                f"'{spec}' keeps none of {len(truth)} images, which are called "
                f"{', '.join(called[:3])} ..."
            )
        problems = [p for p in source.problems if not p.image or keeps(p.image)]
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
