"""Writing folders whole or not at all, never over what somebody else has put there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.files import UNCHANGED, disk_errors, measure, refuse_remote, sync


def replace_folder(folder: str | Path, write: Callable[[Path], object], manifest: str) -> Path:
    """Calls `write` with a new folder beside `folder` and puts it there in one step.

    A crash or a full disk while writing leaves the earlier folder as it was. A folder that is
    there is replaced only if this function wrote it and nothing in it has been changed since.

    Args:
        folder: where to write; a link to a folder is followed.
        write: fills the folder that it is given.
        manifest: the file in the folder that tells what this function wrote, with checksums.

    Returns:
        The folder.

    Raises:
        UserError: the folder cannot be written, or is not to be replaced.
    """
    refuse_remote(folder, "a folder that is written")
    folder = Path(folder)
    place = Path(os.path.realpath(folder))
    is_in_place = False
    with disk_errors(folder, UNCHANGED):
        temporary = _make_beside(place)
        try:
            write(temporary)
            _write_manifest(temporary, manifest)
            # Again, because writing takes its time.
            _check_replaceable(folder, manifest)
            _put(temporary, place)
            is_in_place = True
        finally:
            if is_in_place:
                # Where an earlier folder was, it is there now.
                _remove_written(temporary, manifest)
            else:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def bytes_in(folder: Path) -> int:
    """The size of all files below a folder together."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_folder(folder: str | Path, manifest: str):
    """Finds out before a long computation whether `replace_folder` could not write a folder.

    Raises:
        UserError: it is a file, the current folder or a disk, holds something that
            `replace_folder` has not written, which is named, or nothing can be written beside it.
    """
    refuse_remote(folder, "a folder that is written")
    folder = Path(folder)
    place = Path(os.path.realpath(folder))
    _check_replaceable(folder, manifest)
    if os.path.ismount(place) or Path.cwd().is_relative_to(place):
        raise UserError(f"'{folder}' cannot be replaced as a whole: name a folder in it.")
    with disk_errors(folder, " Give another place."):
        _make_beside(place).rmdir()


def _make_beside(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".partial-{place.name}-", dir=place.parent))
    # What mkdtemp makes only its owner can read.
    made.chmod(0o755)
    return made


def _write_manifest(folder: Path, manifest: str):
    written = {name: _digest(folder / name) for name in _names_in(folder)}
    (folder / manifest).parent.mkdir(parents=True, exist_ok=True)
    (folder / manifest).write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", "utf-8")
    for name in (*written, manifest):
        sync(folder / name)


def _check_replaceable(folder: Path, manifest: str):
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"'{folder}' is a file: give a folder.")
    names = _names_in(folder)
    if names and manifest not in names:
        raise UserError(f"'{folder}' holds other files: give an empty or new folder.")
    others = set(names) - set(_unchanged_files(folder, manifest)) - {manifest}
    if others:
        raise UserError(
            f"'{folder}' holds '{min(others)}', which was not written with the rest or was changed "
            "since: move it away, or give an empty or new folder."
        )


def _names_in(folder: Path) -> list[str]:
    """The names of all files below a folder, links to folders among them."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in files + links]
    return found


def _unchanged_files(folder: Path, manifest: str) -> list[str]:
    """The names of the files that are as they were written."""
    try:
        written = json.loads((folder / manifest).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(written, dict):
        return []
    return [name for name in _names_in(folder) if written.get(name, "") == _digest(folder / name)]


def _digest(path: Path) -> str | None:
    """Tells a file from a changed one; None of what is no file."""
    try:
        return None if path.is_symlink() else measure(path)[1]
    except OSError:
        return None


def _put(temporary: Path, place: Path):
    """Moves a folder to where none, an empty one or an earlier one is."""
    try:
        os.rename(temporary, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
            raise
        if not _exchange(temporary, place):
            _exchange_in_steps(temporary, place)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two folders in one step, so that there always is one; False where that is unknown."""
    names = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None)
        if hasattr(library, "renameat2"):  # Linux: relative to the current folder, RENAME_EXCHANGE
            return library.renameat2(-100, names[0], -100, names[1], 2) == 0
        return library.renamex_np(*names, 2) == 0  # macOS: RENAME_SWAP
    except (AttributeError, OSError, TypeError):
        return False


def _exchange_in_steps(temporary: Path, place: Path):
    """Swaps two folders; of a process that is killed meanwhile the earlier one is beside."""
    previous = temporary.with_name(temporary.name.replace(".partial-", ".previous-"))
    os.rename(place, previous)
    try:
        os.rename(temporary, place)
    except BaseException:
        os.rename(previous, place)
        raise
    os.rename(previous, temporary)


def _remove_written(folder: Path, manifest: str):
    """Removes an earlier folder, except for what has come into it at the last moment."""
    with contextlib.suppress(OSError):
        for name in _unchanged_files(folder, manifest):
            (folder / name).unlink()
        (folder / manifest).unlink()
        for parent, _, _ in os.walk(folder, topdown=False):
            os.rmdir(parent)
