"""Several sources as one."""

from __future__ import annotations

import bisect
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.data import names
from ssd_keras.data.source import NOTED, GroundTruth, Problem, Source


class CombinedSource(Source):
    """The images of several sources, one source after the other.

    Classes are those of the first source, then what the others add. Ids that two images share get
    a prime ('), so that results tell them apart; images that are in two sources are noted.
    """

    def __init__(self, spec: str, sources: Sequence[Source]):
        together = tuple(dict.fromkeys(name for source in sources for name in source.classes))
        label = {name: index for index, name in enumerate(together)}
        truth = [one for source in sources for one in _relabel(source, label)]
        ids = names.apart(one.image_id for one in truth)
        problems = [problem for source in sources for problem in source.problems]
        names.note_alike(together, spec, problems)
        super().__init__(
            spec,
            together,
            [dataclasses.replace(one, image_id=name) for one, name in zip(truth, ids, strict=True)],
            problems + _twice(spec, truth),
            standard_jpeg=np.concatenate([source.standard_jpeg for source in sources]),
            category_ids=_shared_ids(sources, together),
        )
        self._sources = list(sources)
        self._starts = np.cumsum([0, *(len(source) for source in sources)]).tolist()

    def image(self, index: int) -> np.ndarray:
        part, inner = self._find(index)
        return self._sources[part].image(inner)

    def encoded(self, index: int) -> bytes:
        part, inner = self._find(index)
        return self._sources[part].encoded(inner)

    def _find(self, index: int) -> tuple[int, int]:
        part = bisect.bisect_right(self._starts, index) - 1
        return part, index - self._starts[part]


def _relabel(source: Source, label: Mapping[str, int]) -> list[GroundTruth]:
    number = np.array([label[name] for name in source.classes], np.int32)
    return [
        dataclasses.replace(truth, labels=number[truth.labels]) for truth in source.ground_truth()
    ]


def _twice(spec: str, truth: Sequence[GroundTruth]) -> list[Problem]:
    """A note of the image files that are in two of the sources."""
    counts = Counter(os.path.realpath(one.path) for one in truth if one.path)
    twice = [path for path, count in counts.items() if count > 1]
    if not twice:
        return []
    message = f"{len(twice)} image files are in it more than once, such as '{twice[0]}'"
    return [Problem("image_in_two_sets", spec, message, NOTED)]


def _shared_ids(sources: Sequence[Source], classes: Sequence[str]) -> dict[int, int] | None:
    """The numbers of the classes if every source has some and no two of them disagree."""
    merged = {}
    for source in sources:
        for number, label in (source.category_ids or {}).items():
            ours = classes.index(source.classes[label])
            if merged.setdefault(number, ours) != ours:
                return None
    return merged if all(source.category_ids for source in sources) else None
