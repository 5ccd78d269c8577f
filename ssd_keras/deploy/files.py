"""Writing exported files whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ssd_keras.errors import UserError


def write_file(path: str | Path, data: bytes) -> Path:
    """Writes `data` beside `path` and moves it there in one step, so that no half file is left.

    Raises:
        UserError: the place cannot be written; what was there before is unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _cannot_write(path, error) from error
    return path


def check_writable(path: str | Path):
    """Finds out before a long computation that a file could not be written at its end.

    Raises:
        UserError: the folder cannot be made or written, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"'{path}' is a folder: give the name of a file in it.")
    probe = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        blocker = next(parent for parent in path.parents if parent.is_file())
        return UserError(f"'{path}' cannot be written: '{blocker}' is a file, not a folder.")
    reason = error.strerror or " ".join(str(error).split())
    return UserError(f"'{path}' cannot be written: {reason}. Give another place.")
