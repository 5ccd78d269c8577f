"""Programs as a user starts them, from a process that has imported TensorFlow already.

Importing TensorFlow takes longer than most of what the tests let a program do. So each program is
forked from one process that has done nothing else, with its own arguments, output and signals.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests import without_xla

ROOT = Path(__file__).resolve().parents[1]
# Environment variables: leave out XLA, or graphs, in the programs that are started.
WITHOUT_XLA, EAGERLY = "TESTS_WITHOUT_XLA", "TESTS_EAGERLY"

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "tensorflow",
        "ssd_keras.training",
        "ssd_keras.evaluation",
        "ssd_keras.deploy",
        "tests.without_xla",
    ]
)


class Ended(NamedTuple):
    """What a program printed, what it complained of, and its exit code."""

    printed: str
    complaint: str
    code: int


class Program:
    """A program that runs."""

    def __init__(self, name: str, *flags, **environment):
        folder = Path(tempfile.mkdtemp(prefix="program-"))
        self._printed, self._complaint = folder / "stdout", folder / "stderr"
        self._process = _FORKING.Process(
            target=_be_program,
            args=(
                name,
                [str(flag) for flag in flags],
                os.environ | environment,
                self._printed,
                self._complaint,
            ),
        )
        self._process.start()

    def printed(self) -> str:
        """What it has printed until now."""
        return self._printed.read_text(encoding="utf-8") if self._printed.exists() else ""

    def runs(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, beginning: str):
        """Waits until it has printed a line that begins so."""
        while not f"\n{self.printed()}".count(f"\n{beginning}"):
            if not self.runs():
                raise AssertionError(f"It ended without '{beginning}'. {self.end()}")
            time.sleep(0.02)

    def send_signal(self, number: int):
        """Sends a signal, unless it has ended."""
        if self.runs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, timeout: float = 300) -> Ended:
        """Waits for it, at most so many seconds."""
        self._process.join(timeout)
        if self.runs():
            self._process.kill()
            raise TimeoutError(f"The program ran longer than {timeout} s. {self.printed()}")
        complaint = self._complaint.read_text(encoding="utf-8")
        return Ended(self.printed(), complaint, self._process.exitcode)


def start(name: str, *flags, **environment) -> Program:
    """Starts `python -m NAME FLAGS...` without waiting for it, so that several run at a time."""
    return Program(name, *flags, **environment)


def run(name: str, *flags, **environment) -> Ended:
    """`python -m NAME FLAGS...`."""
    return start(name, *flags, **environment).end()


def _be_program(name: str, flags: list[str], environment: dict, printed: Path, complaint: Path):
    os.chdir(ROOT)
    # A shell that starts the tests in the background has its children ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    if WITHOUT_XLA in environment:
        without_xla.leave_out_xla()
    if EAGERLY in environment:
        without_xla.run_eagerly()
    for number, path in ((1, printed), (2, complaint)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.argv = [name, *flags]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
