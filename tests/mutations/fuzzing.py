"""Damaged copies of a good file, and a reader that is given each."""

from __future__ import annotations

import collections
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.mutations.archives import kinds_of
from tests.mutations.binary import BYTES
from tests.mutations.guard import Fault, outcome


def mutations(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of a file, each with the name of its damage; by `seed` the same.

    Damages of bytes for every file; of lines, numbers and encoding for texts, of values for JSON,
    and of members and headers for zip archives.
    """
    chance = random.Random(seed)
    kinds = [*BYTES, *kinds_of(data)]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        yield f"{index} {kind.__name__.lstrip('_')}", kind(data, chance)


def fuzz(
    path: Path,
    read: Callable[[Path], object],
    count: int = 60,
    seed: int = 0,
    **limits,
) -> collections.Counter:
    """Reads `count` damaged copies of a good file, each in the good one's place.

    Args:
        path: the good file; it is good again afterwards.
        read: the reader, which must read the good file.
        limits: see `outcome`.

    Returns:
        How many came out as "valid" and as "UserError".

    Raises:
        Fault: names every damage that a reader answered with anything else.
    """
    good = path.read_bytes()
    read(path)
    found, faults = collections.Counter(), []
    try:
        for name, damaged in mutations(good, count, seed):
            path.write_bytes(damaged)
            try:
                found[outcome(path, read, **limits)] += 1
            except Fault as fault:
                faults.append(f"{name}: {fault}")
    finally:
        path.write_bytes(good)
    if faults:
        listed = "\n".join(faults[:20])
        raise Fault(f"{len(faults)} of {count} damages of {path.name} (seed {seed}):\n{listed}")
    return found
