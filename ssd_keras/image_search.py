"""Which images a user means by a file, a folder or a glob, and what is left out of them."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ssd_keras.data.images import EXTENSIONS
from ssd_keras.display import first_names, printable
from ssd_keras.errors import UserError, missing_place, one_line
from ssd_keras.video import EXTENSIONS as VIDEOS


@dataclasses.dataclass(frozen=True)
class FoundImages:
    """Images in order of their names, and what was not taken.

    Attributes:
        paths: the images; only their names were looked at.
        left_out: name and reason of everything else that was there.
        root: the folder that has all of them.
    """

    paths: tuple[Path, ...]
    left_out: tuple[tuple[str, str], ...]
    root: Path

    def notice(self, most: int = 10) -> str:
        """What was left out as a sentence; "" if nothing was."""
        if not self.left_out:
            return ""
        named = [f"{printable(name)} ({reason})" for name, reason in self.left_out]
        return f"Left out: {first_names(named, most)}."

    def names(self) -> Iterator[Path]:
        """For each image, a path without extension for what is made of it, below another folder.

        Images of sub-folders keep their folders. a.jpg and a.png of one folder become a and a_png;
        names differ by more than the case of letters.
        """
        taken: set[str] = set()
        for path in self.paths:
            folder, stem, suffix = path.parent.relative_to(self.root), path.stem, path.suffix[1:]
            names = itertools.chain(
                [stem, f"{stem}_{suffix}"], (f"{stem}_{number}" for number in itertools.count(2))
            )
            name = next(n for n in names if str(folder / n).casefold() not in taken)
            taken.add(str(folder / name).casefold())
            yield folder / name


def find_images(
    place: str, *, recursive: bool = False, apart_from: str | os.PathLike | None = None
) -> FoundImages:
    """The image files that a path, folder or glob means.

    Args:
        place: a file of any name, a folder, of which files with the extensions of images are
            taken, or a glob.
        recursive: of a folder, take its sub-folders as well; links to folders are not followed.
        apart_from: a folder in it that is not looked into, such as that of the results.

    Raises:
        UserError: there is none.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return _in_folder(path, recursive, apart_from)
    if path.exists() or path.is_symlink():
        return FoundImages((path,), (), path.parent)
    if not glob.has_magic(place):
        raise missing_place("file or folder", place)
    found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
    images = [p for p in found if p.is_file()]
    if not images:
        raise UserError(f"Nothing fits '{place}'" + (", except folders." if found else "."))
    left_out = [(str(p), _what(p)) for p in found if not p.is_file()]
    root = Path(os.path.commonpath([p.parent for p in images]))
    return FoundImages(tuple(images), tuple(left_out), root)


def _in_folder(root: Path, recursive: bool, apart_from) -> FoundImages:
    apart = None if apart_from is None else Path(apart_from).resolve()
    images, left_out = [], []
    for path, reason in _entries(root, recursive, apart):
        if reason:
            left_out.append((str(path.relative_to(root)), reason))
        else:
            images.append(path)
    found = FoundImages(tuple(images), tuple(left_out), root)
    if not images:
        there = found.notice().removeprefix("Left out: ") or "it is empty."
        raise UserError(f"There are no images in the folder '{root}': {there}")
    return found


def _entries(folder: Path, recursive: bool, apart: Path | None) -> Iterable[tuple[Path, str]]:
    """What is in a folder: images without a reason, all else with the reason to leave it out."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return [(folder, f"cannot be read: {one_line(error)}")]
    found: list[tuple[Path, str]] = []
    for path in entries:
        if path.is_dir():
            if path.resolve() == apart:
                continue
            if recursive and not path.is_symlink():
                found += _entries(path, recursive, apart)
            else:
                found.append((path, _folder_reason(path)))
        elif not path.is_file():
            found.append((path, _what(path)))
        else:
            found.append((path, _other_kind(path)))
    return found


def _folder_reason(path: Path) -> str:
    return "a link to a folder" if path.is_symlink() else "a folder: --recursive looks into it"


def _other_kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in EXTENSIONS:
        return ""
    return "a video: give it by itself" if suffix in VIDEOS else "no image file"


_SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


def _what(path: Path) -> str:
    try:
        return _SPECIAL.get(stat.S_IFMT(path.stat().st_mode), "a device")
    except OSError as error:
        return f"cannot be read: {one_line(error)}"
