"""Several sources as one."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from ssd_keras.data.source import Source


class CombinedSource(Source):
    """The images of several sources, one source after the other.

    Classes are those of the first source, then what the others add.
    """

    def __init__(self, spec: str, sources: Sequence[Source], classes: Sequence[str] | None = None):
        names = tuple(classes or dict.fromkeys(n for s in sources for n in s.classes))
        examples = []
        for source in sources:
            number = np.array([names.index(name) for name in source.classes], np.int32)
            examples += [
                dataclasses.replace(truth, labels=number[truth.labels])
                for truth in source.ground_truth()
            ]
        super().__init__(
            spec,
            names,
            examples,
            [problem for source in sources for problem in source.problems],
            plain=np.concatenate([source.plain for source in sources]),
            category_ids=_shared_ids(sources, names),
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


def _shared_ids(sources: Sequence[Source], names: Sequence[str]) -> dict[int, int] | None:
    """The numbers of the classes if every source has some and no two of them disagree."""
    merged = {}
    for source in sources:
        for number, label in (source.category_ids or {}).items():
            ours = names.index(source.classes[label])
            if merged.setdefault(number, ours) != ours:
                return None
    return merged if all(source.category_ids for source in sources) else None
