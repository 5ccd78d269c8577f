"""Measuring time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def milliseconds(run: Callable[[], object], repeats: int = 50, warmup: int = 5) -> float:
    """Median time of a call."""
    times = []
    for index in range(warmup + repeats):
        start = time.perf_counter()
        run()
        if index >= warmup:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
