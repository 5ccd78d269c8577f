"""Reading regular files only, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ssd_keras.errors import UserError, one_line

UNCHANGED = " What was there before is unchanged."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


# One letter would be a disk of Windows; of two slashes `pathlib` leaves one.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(place: str | os.PathLike) -> str:
    """What stands before the `://` of a place on another machine; "" of one on this machine."""
    found = _SCHEME.match(os.fspath(place))
    return found[1].lower() if found else ""


def is_remote(place: str | os.PathLike) -> bool:
    """Whether a place is not one of this machine, such as `gs://bucket/run`."""
    return bool(scheme_of(place))


def refuse_remote(place: str | os.PathLike, what: str) -> None:
    """Refuses a place on another machine, of which a folder would be made that is called `gs:`.

    Args:
        place: what the user named.
        what: what cannot lie there, such as "a run folder".

    Raises:
        UserError: it is remote.
    """
    if is_remote(place):
        raise UserError(
            f"'{place}' is not on this machine, and {what} cannot lie there: only records "
            "(tfrecord:) and run folders may. Take a local folder, or mount the place as one."
        )


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading as bytes; never waits for anything.

    A pipe that nobody writes to, or a link to a device without end, would hang whoever reads it.

    Raises:
        OSError: there is no such file, it cannot be read, or it is a folder, pipe, device or
            socket; `strerror` says which.
    """
    path = os.fspath(path)
    try:
        # Before opening, because that alone does something to some devices.
        _check_regular(os.stat(path).st_mode, path)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except ValueError as error:  # a name with a zero byte or a lone surrogate
        raise OSError(errno.EINVAL, f"no file can have this name: {error}", path) from error
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def measure(path: str | os.PathLike) -> tuple[int, str]:
    """Bytes and sha256 of a regular file, read block by block.

    Raises:
        OSError: as of `open_regular`.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _check_regular(mode: int, path: str) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)


@contextlib.contextmanager
def replacing(*paths: str | Path) -> Iterator[list[Path]]:
    """Gives a temporary path beside each path, and moves all there once the block is done.

    A crash, a full disk or an interruption within the block leaves the earlier files as they were,
    and nothing beside them. Folders are made.

    Raises:
        UserError: a file cannot be written (no space, no permission); an OSError of the block is
            taken for that.
    """
    paths = [Path(path) for path in paths]
    refuse_remote(paths[0], "a file that is written")
    temporaries = [_temporary(path) for path in paths]
    try:
        with disk_errors(paths[0], UNCHANGED):
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield temporaries
            for temporary in temporaries:
                sync(temporary)
            for temporary, path in zip(temporaries, paths, strict=True):
                os.replace(temporary, path)
    finally:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink()


def replace(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Calls `write` with a temporary path beside `path`; see `replacing`.

    Returns:
        The path.
    """
    with replacing(path) as (temporary,):
        write(temporary)
    return Path(path)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a binary file; see `replace`."""
    return replace(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file; see `replace`."""
    return replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def sync(path: Path):
    """Waits until a file is on the disk, where a renaming can be before its content."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def check_writable(path: str | Path):
    """Finds out before a long computation that a file could not be written at its end.

    Raises:
        UserError: the folder cannot be made or written, or `path` is a folder.
    """
    refuse_remote(path, "a file that is written")
    path = Path(path)
    if path.is_dir():
        raise UserError(f"'{path}' is a folder: give the name of a file in it.")
    probe = _temporary(path)
    with disk_errors(path, " Give another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


@contextlib.contextmanager
def disk_errors(path: str | Path, advice: str) -> Iterator[None]:
    """Turns what a full or read-only disk does to whoever writes to it into one sentence.

    Args:
        path: what is written.
        advice: ends the sentence, with a blank in front.

    Raises:
        UserError: for an `OSError`, and for errors of libraries, such as TensorFlow's, that stem
            from the disk.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise _cannot_write(Path(path), cause, advice) from error


def _disk_error(error: Exception) -> OSError | None:
    if isinstance(error, OSError):
        return error
    for code in (*_FULL, errno.EROFS):
        if os.strerror(code) in str(error):
            return OSError(code, os.strerror(code))
    return None


def _temporary(path: Path) -> Path:
    # The suffix stays last: Keras tells formats apart by it.
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def _cannot_write(path: Path, error: OSError, advice: str) -> UserError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        blocker = next((parent for parent in path.parents if parent.is_file()), path)
        return UserError(f"'{path}' cannot be written: '{blocker}' is a file, not a folder.")
    return UserError(
        f"'{path}' cannot be written: {one_line(error)}.{_about_disk(path, error)}{advice}"
    )


def _about_disk(path: Path, error: OSError) -> str:
    if error.errno not in (*_FULL, errno.EROFS):
        return ""
    folder = path.parent.resolve()
    while not folder.exists():
        folder = folder.parent
    disk = folder
    while not os.path.ismount(disk):
        disk = disk.parent
    if error.errno == errno.EROFS:
        return f" The disk at '{disk}' can only be read."
    free = shutil.disk_usage(folder).free
    return (
        f" The disk at '{disk}' has {free / 1e6:.1f} MB left: make room, then the same command "
        "goes on."
    )
