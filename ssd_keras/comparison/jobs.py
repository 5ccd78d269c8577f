"""Work in processes of its own, each on its share of the CPUs."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from pathlib import Path

from ssd_keras import data
from ssd_keras.errors import UserError

FAULT = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """What a process does.

    Attributes:
        title: what it is called.
        work: a function of a module, called with `argument`.
        argument: what can be sent to a process.
        log: the file that its output goes to; empty: to that of this process.
    """

    title: str
    work: Callable
    argument: object
    log: str = ""

    def failure(self, code: int) -> UserError:
        """What is said of a process that ended with an exit code."""
        said = f"what '{self.log}' ends with" if self.log else "what it printed"
        return UserError(
            f"{self.title}: failed with exit code {code}, see {said}. The finished runs are kept; "
            "the same command goes on."
        )


@dataclasses.dataclass(frozen=True)
class _Running:
    task: Task
    process: multiprocessing.Process
    cpus: set[int]
    started: float


def run_tasks(tasks: Sequence[Task], jobs: int = 1, say: Callable[[str], object] = lambda _: None):
    """Does each task in a new process, `jobs` at a time.

    Args:
        tasks: in the order in which they begin.
        jobs: how many at a time; each has its share of the CPUs.
        say: is told what begins and what is done.

    Raises:
        UserError: one failed; the others are ended.
    """
    waiting, running, free = list(tasks), {}, cpu_shares(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                begun = _begin(waiting.pop(0), free.pop(0), say)
                running[begun.process.sentinel] = begun
            for sentinel in connection.wait(list(running)):
                ended = running.pop(sentinel)
                free.append(ended.cpus)
                _finish(ended, say)
    finally:
        for left in running.values():
            left.process.terminate()  # A run writes its checkpoint then.
            left.process.join()


def _begin(task: Task, cpus: set[int], say) -> _Running:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_work, args=(task, data.max_megapixels()))
    with on_cpus(cpus):
        process.start()
    say(f"{task.title} ..." + (f" (see {task.log})" if task.log else ""))
    return _Running(task, process, cpus, time.monotonic())


def _finish(ended: _Running, say):
    ended.process.join()
    if ended.process.exitcode:
        raise ended.task.failure(ended.process.exitcode)
    say(f"{ended.task.title}: done in {time.monotonic() - ended.started:.0f} s")


# === Inside the process ===


def _work(task: Task, max_megapixels: float):
    data.set_max_megapixels(max_megapixels)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.ExitStack() as stack:
        if task.log:
            Path(task.log).parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(task.log, "a", encoding="utf-8", buffering=1))
            stack.enter_context(contextlib.redirect_stdout(file))
            stack.enter_context(contextlib.redirect_stderr(file))
        try:
            task.work(task.argument)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(FAULT)


def _end_with_parent():
    """Asks this process to end when the one that started it is gone.

    Else a comparison that was killed and started again would meet its own run still training.
    """
    connection.wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


# === CPUs ===


def cpu_shares(jobs: int) -> list[set[int]]:
    """The CPUs of each of several jobs, so that none waits for another in the middle of a step.

    Two runs with two threads each on two CPUs get a quarter less done than with one each. Empty
    sets, which stand for no limit, where there are fewer CPUs than jobs or no way to share them.
    """
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if jobs > len(cpus):
        return [set() for _ in range(jobs)]
    return [set(cpus[job::jobs]) for job in range(jobs)]


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """Processes started inside run on these CPUs; on all if there is none."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
