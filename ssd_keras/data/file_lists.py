"""The files in a folder and its sub-folders, without links and what systems put beside them."""

from __future__ import annotations

import os
from collections.abc import Callable

from ssd_keras.data import images
from ssd_keras.data.source import LEFT_OUT, NOTED, Problem
from ssd_keras.errors import UserError, one_line

# More than any data set has: a walk that meets them has left it.
MOST_FILES = 20_000_000
# What operating systems and tools put beside the files of a user.
_LITTER = ("__MACOSX", "@eaDir")


def image_files(folder: str | os.PathLike, problems: list[Problem] | None = None) -> list[str]:
    """The image files in a folder and its sub-folders, sorted folder by folder.

    Only plain files, and links to them: pipes and devices are never opened, and links to folders
    not followed, so that the walk ends and stays in the folder. Both are added to `problems`, as
    are folders that cannot be read. A photograph of a kind that is not read is among them, for who
    opens it to say so, unless an image of its name stands beside it.
    """
    found = files_of(folder, images.EXTENSIONS + images.OTHER_EXTENSIONS, problems)
    stems = {os.path.splitext(path)[0] for path in found if _is_read(path)}
    return [path for path in found if _is_read(path) or os.path.splitext(path)[0] not in stems]


def _is_read(path: str) -> bool:
    return path.lower().endswith(images.EXTENSIONS)


def files_of(
    folder: str | os.PathLike,
    extensions: tuple[str, ...],
    problems: list[Problem] | None = None,
    most: int | None = None,
) -> list[str]:
    """As `image_files`, for files with other extensions (lower case, with the dot).

    The walk ends after the folder that completes `most` files, if that is given.
    """
    problems = [] if problems is None else problems
    found, waiting = [], [os.fspath(folder)]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            names = [entry.path for entry in entries if _is_wanted(entry, extensions, problems)]
            inner = [entry.path for entry in entries if _is_folder(entry, problems)]
        except OSError as error:
            reason = f"cannot be looked into: {one_line(error)}"
            problems.append(Problem("unreadable_folder", place, reason, LEFT_OUT))
            continue
        found += names
        waiting += reversed(inner)
        if most is not None and len(found) >= most:
            break
        if len(found) > MOST_FILES:
            raise UserError(f"'{folder}' holds more than {MOST_FILES:,} files: name a part of it.")
    return found


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems put beside those of the user."""
    return name.startswith(".") or name in _LITTER


def _is_wanted(entry: os.DirEntry, extensions: tuple[str, ...], problems: list[Problem]) -> bool:
    if not entry.name.lower().endswith(extensions) or entry.name.startswith("._"):
        return False
    if leads_to(entry, os.path.isdir, entry.is_dir):
        return False
    if not leads_to(entry, os.path.isfile, entry.is_file):
        is_there = os.path.exists(entry.path)
        what = "is no file but a pipe or device" if is_there else "is a link to nothing"
        problems.append(Problem("no_file", entry.path, what, LEFT_OUT))
        return False
    return True


def _is_folder(entry: os.DirEntry, problems: list[Problem]) -> bool:
    if is_litter(entry.name) or not leads_to(entry, os.path.isdir, entry.is_dir):
        return False
    if entry.is_symlink():
        what = "is a link to a folder and is not followed: name that folder if its images belong"
        problems.append(Problem("linked_folder", entry.path, what, NOTED))
        return False
    return True


def leads_to(entry: os.DirEntry, of_path: Callable, of_entry: Callable) -> bool:
    """Whether an entry is, or links to, a kind of file.

    The methods of the entry ask no disk, but raise an error for a link that leads to itself.
    """
    return of_path(entry.path) if entry.is_symlink() else of_entry()
