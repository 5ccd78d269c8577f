"""Measurements made by a process of their own each: seconds of all its threads, and its memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

HEAD = "| CPU s | wall s | GiB | |"


def row(module: str, flags: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """The cells of a measurement, which `python -m MODULE FLAGS` prints, or why there are none."""
    command = [sys.executable, "-m", module, *flags]
    surroundings = os.environ | dict(environment or {})
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"| | | | failed: {why[:200]} |"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return f"| {found['cpu']:.1f} | {found['wall']:.1f} | {found['peak']:.2f} | {found['said']} |"


def measured(measure: Callable[[], str]) -> str:
    """Seconds, peak of memory in GiB and what `measure` says, as JSON for `row`."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    said = measure()
    found = {
        "wall": time.perf_counter() - wall,
        "cpu": cpu_seconds() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "said": said,
    }
    return json.dumps(found)


def cpu_seconds() -> float:
    """Of this process and those that it has started and waited for."""
    return sum(os.times()[:4])
