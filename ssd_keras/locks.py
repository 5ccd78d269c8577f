"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from ssd_keras.errors import UserError, one_line

try:
    import fcntl
except ImportError:  # Windows has no locks that a killed process loses as surely.
    fcntl = None

NAME = ".lock"
# Seconds between two looks at a folder that another process holds.
PATIENCE = 0.2
_LOOKS = 10
_held: set[int] = set()


class Busy(UserError):
    """Another process holds a folder; `holder` says which."""

    def __init__(self, folder: Path, holder: str, advice: str):
        super().__init__(f"'{folder}' is in use by {holder}: {advice}")
        self.holder = holder


@contextlib.contextmanager
def lock(folder: Path, advice: str) -> Iterator[None]:
    """Holds a folder while it is open; a process that is killed loses it at once.

    The lock is the kernel's, on a file of the folder that stays behind and means nothing by itself.
    On a disk of the network whether other machines see it is up to that disk; where there can be no
    lock a warning says so. On Windows nothing is locked.

    Args:
        folder: the folder; it is made if need be.
        advice: what to do if another process holds it.

    Raises:
        UserError: another process holds the folder, or it cannot be made.
    """
    _make(folder)
    with _open(_acquire(folder, advice)):
        yield


@contextlib.contextmanager
def waiting(folder: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Holds a folder as `lock` does, once other processes have let it go.

    Args:
        folder: the folder; it is made if need be.
        tell: called once with who holds the folder, if somebody does.

    Raises:
        UserError: the folder cannot be made.
    """
    _make(folder)
    told = False
    while True:
        try:
            descriptor = _acquire(folder, "")
            break
        except Busy as busy:
            if not told:
                tell(busy.holder)
            told = True
            time.sleep(PATIENCE)
    with _open(descriptor):
        yield


def _make(folder: Path):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' cannot be made: {one_line(error)}.") from error


@contextlib.contextmanager
def _open(descriptor: int | None) -> Iterator[None]:
    try:
        yield
    finally:
        if descriptor is not None:
            _held.discard(descriptor)
            os.close(descriptor)


def check_free(folder: Path, advice: str):
    """Refuses a folder that another process holds; leaves nothing behind in others."""
    if (folder / NAME).is_file():
        with lock(folder, advice):
            pass


def _acquire(folder: Path, advice: str) -> int | None:
    if fcntl is None:
        return None
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o666)
    except OSError:
        # Who may not write this file may not write the others: the first of them will say why.
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise Busy(folder, holder, advice) from None
    except OSError as error:
        os.close(descriptor)
        warnings.warn(
            f"'{folder}' cannot be locked ({one_line(error)}): see to it that no other process "
            "uses it.",
            stacklevel=4,
        )
        return None
    _held.add(descriptor)
    with contextlib.suppress(OSError):  # a full disk
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on '{socket.gethostname()}'".encode(), 0)
    return descriptor


def _holder(descriptor: int) -> str:
    """Who holds a folder, which it writes in the moment after it has locked it."""
    for _ in range(_LOOKS):
        with contextlib.suppress(OSError):
            text = os.pread(descriptor, 200, 0).decode(errors="replace")
            if text.startswith("process ") and text.isprintable():
                return text
        time.sleep(PATIENCE / _LOOKS)
    return "another process"


def _let_go():
    """A copy of this process that goes on after it must not keep its folders."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
