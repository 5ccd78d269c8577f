"""Several sources as one."""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.data import names
from ssd_keras.data.ground_truth import TruthTable, concatenate, table_of
from ssd_keras.data.source import NOTED, Problem, Source
from ssd_keras.labels import find_repeated


class CombinedSource(Source):
    """The images of several sources, one source after the other.

    Classes are those of the first source, then what the others add. Ids that two images share get
    a prime ('), so that results tell them apart; images that are in two sources are noted.
    """

    def __init__(self, spec: str, sources: Sequence[Source]):
        together = tuple(dict.fromkeys(name for source in sources for name in source.classes))
        label = {name: index for index, name in enumerate(together)}
        truth = concatenate([_relabel(source, label) for source in sources])
        truth.image_ids = names.apart(truth.image_ids)
        problems = [problem for source in sources for problem in source.problems]
        names.note_alike(together, spec, problems)
        super().__init__(
            spec,
            together,
            truth,
            problems + _twice(spec, truth.paths),
            standard_jpeg=np.concatenate([source.standard_jpeg for source in sources]),
            believed=np.concatenate([source.believed for source in sources]),
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


def _relabel(source: Source, label: Mapping[str, int]) -> TruthTable:
    number = np.array([label[name] for name in source.classes], np.int32)
    table = table_of(source.ground_truth())
    return concatenate([table], labels=number[table.labels])


def _twice(spec: str, paths: Sequence[str | None]) -> list[Problem]:
    """A note of the image files that are in two of the sources."""
    twice = find_repeated(os.path.realpath(path) for path in paths if path)
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
