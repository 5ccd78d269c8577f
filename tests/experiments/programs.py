"""Programs as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """What a program printed, what it complained of, and its exit code."""

    printed: str
    complaint: str
    code: int


def start(name: str, *flags) -> subprocess.Popen:
    """Starts `experiments.NAME` without waiting for it, so that several run at a time."""
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process: subprocess.Popen, timeout: float = 300) -> Ended:
    """Waits for a program, at most so many seconds."""
    return Ended(*process.communicate(timeout=timeout), process.returncode)
