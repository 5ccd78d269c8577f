"""Image files found by names as annotations write them, on any machine by any tool."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from ssd_keras.data import file_lists, images
from ssd_keras.data.names import fold, parts_of
from ssd_keras.data.source import NOTED, Problem


@dataclasses.dataclass(frozen=True)
class Found:
    """The file that a name means.

    Attributes:
        path: the file, or None where there is none, or none that is certain.
        note: how the file was found where its name is another one, or why none is taken; "" for
            the file of that name, and for one that is simply missing.
        sure: the whole name is that of the file, in any case of letters.
    """

    path: str | None
    note: str = ""
    sure: bool = False


MISSING = Found(None)
# From so many names on, folders are listed first.
_MANY = 1000


class ImageIndex:
    """The image files of some folders, found by names as annotations write them.

    A name means, in this order: the file of exactly that name; the one whose path ends alike
    once both are written in one form; in any case of letters; with another extension of an image
    or without one. Where only the end of a path fits (it was written on another machine), the
    longest end counts, and the file is found by its name alone unless the folder that is named is
    there and does not hold it. Of files that fit equally well none is taken.

    A folder is walked once, when the first name is not exact.

    Args:
        folders: where the images may be, the likeliest first; the first that has such a file
            counts.
        problems: folders that cannot be looked into are added.
        bases: folders that names may begin in, which are not searched themselves.
        extensions: of the files, lower case; those of images.
    """

    def __init__(
        self,
        folders: Iterable[str | os.PathLike],
        problems: list[Problem] | None = None,
        *,
        bases: Iterable[str | os.PathLike] = (),
        extensions: tuple[str, ...] = images.EXTENSIONS,
    ):
        self.folders = list(dict.fromkeys(os.fspath(folder) or "." for folder in folders))
        self._bases = [*self.folders, *(os.fspath(base) or "." for base in bases)]
        self._extensions = extensions
        self._listed: dict[str, str] = {}
        self._trees = [_Tree(folder, extensions, problems) for folder in self.folders]

    def find(self, name: str) -> Found:
        """The file that `name` means."""
        exact = self._exact(name)
        return Found(exact, sure=True) if exact else self._near(name)

    def find_all(self, names: Iterable[str]) -> dict[str, Found]:
        """The file of each name; one that two names may mean is neither's, if none is sure."""
        names = list(dict.fromkeys(names))
        self._list_files(len(names))
        listed = self._listed
        found = {
            name: Found(listed[name], sure=True) if name in listed else self.find(name)
            for name in names
        }
        if all(one.sure for one in found.values()):
            return found
        claims = defaultdict(list)
        for name, one in found.items():
            if one.path:
                claims[one.path].append(name)
        for path, claimants in claims.items():
            unsure = [name for name in claimants if not found[name].sure]
            if len(claimants) > 1 and unsure:
                note = f"'{path}', the only file that is called alike, belongs to another entry"
                found.update((name, Found(None, note)) for name in unsure)
        return found

    def _list_files(self, count: int) -> None:
        """Lists the files of the first folder, if looking for so many one by one takes longer."""
        if count >= _MANY and self.folders:
            self._listed = _plain_files(self.folders[0], self._extensions)

    def files(self) -> list[str]:
        """All files of the folders, sorted folder by folder."""
        return list(dict.fromkeys(file.path for tree in self._trees for file in tree.files))

    def _exact(self, name: str) -> str | None:
        if (path := self._listed.get(name)) is not None:
            return path
        paths = (os.path.join(base, name) for base in self._bases if name)
        path = next((path for path in paths if os.path.isfile(path)), None)
        # A file of another kind somewhere else, such as a password file, is never what is meant.
        if path is None or not (_is_below(name) or path.lower().endswith(self._extensions)):
            return None
        return _shortest(path)

    def _near(self, name: str) -> Found:
        for parts in _readings(name):
            for tree in self._trees:
                found = tree.find(parts)
                if found != MISSING:
                    return found
        return MISSING


def _plain_files(folder: str, extensions: tuple[str, ...]) -> dict[str, str]:
    """The paths of the files of a folder that are no links, by their names."""
    start = _shortest(folder, os.path.isdir)
    start = "" if start == "." else os.path.join(start, "")
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: start + entry.name
                for entry in entries
                if entry.name.lower().endswith(extensions) and entry.is_file(follow_symlinks=False)
            }
    except OSError:  # said by whoever walks through it
        return {}


class _Tree:
    """The files below one folder, by the ends of their paths."""

    def __init__(self, folder: str, extensions: tuple[str, ...], problems: list[Problem] | None):
        self._folder = folder
        self._extensions = extensions
        self._problems = problems

    def find(self, parts: Sequence[str]) -> Found:
        """The file whose path has the longest end in common with `parts`."""
        group = self._by_name.get(fold(parts[-1])) or self._stems.get(self._stem(parts[-1]))
        if group is None:
            return MISSING
        common, files = group.nearest(parts)
        if len(files) > 1:
            listed = ", ".join(sorted(file.path for file in files)[:3])
            return Found(None, f"{len(files)} files are called alike: {listed}")
        if common < len(parts) and tuple(map(fold, parts[-common - 1 : -1])) in self._folder_ends:
            return MISSING
        return _describe(parts, files[0], common)

    @functools.cached_property
    def files(self) -> list[_File]:
        paths = file_lists.files_of(self._folder, self._extensions, self._problems)
        paths = [os.path.normpath(path) for path in paths]
        return [_File(path, parts_of(os.path.abspath(path))) for path in paths]

    def _stem(self, name: str) -> str:
        stem, extension = os.path.splitext(name)
        known = extension.lower() in (*images.EXTENSIONS, *self._extensions)
        return fold(stem if known else name)

    @functools.cached_property
    def _by_name(self) -> dict[str, _Group]:
        return _group_by(self.files, fold)

    @functools.cached_property
    def _stems(self) -> dict[str, _Group]:
        return _group_by(self.files, self._stem)

    @functools.cached_property
    def _folder_ends(self) -> set[tuple[str, ...]]:
        """The ends of the paths of all folders that hold a file."""
        folders = {file.parts[:-1] for file in self.files}
        return {tuple(map(fold, folder[at:])) for folder in folders for at in range(len(folder))}


@dataclasses.dataclass(frozen=True)
class _File:
    path: str
    parts: tuple[str, ...]


class _Group:
    """Files of one name in several folders."""

    def __init__(self):
        self.files: list[_File] = []

    def nearest(self, parts: Sequence[str]) -> tuple[int, list[_File]]:
        """How many last parts of a path are common at most, and the files with so many."""
        for common in range(len(parts), 1, -1):
            files = self._ends.get(tuple(map(fold, parts[-common:-1])))
            if files:
                break
        else:
            common, files = 1, self.files
        same = [file for file in files if file.parts[-1] == parts[-1]]
        return common, same or files

    @functools.cached_property
    def _ends(self) -> dict[tuple[str, ...], list[_File]]:
        """Files by each end of the path of their folder."""
        ends = defaultdict(list)
        for file in self.files:
            folded = tuple(map(fold, file.parts[:-1]))
            for at in range(len(folded)):
                ends[folded[at:]].append(file)
        return ends


def _group_by(files: Iterable[_File], key) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for file in files:
        groups.setdefault(key(file.parts[-1]), _Group()).files.append(file)
    return groups


def _describe(parts: Sequence[str], file: _File, common: int) -> Found:
    """The file with what its path and the one that was written do not have in common."""
    hows = []
    whole = common == len(parts)
    if not whole:
        end = "/".join(parts[-common:])
        hows.append("by its name alone" if common == 1 else f"by the end of its path, '{end}'")
    written, is_called = parts[-1], file.parts[-1]
    same_name = fold(written) == fold(is_called)
    if not same_name and _extension(written) and _extension(is_called):
        hows.append(f"as {_extension(is_called)}")
    elif same_name and written != is_called:
        hows.append("in another case of letters")
    note = f"the image '{'/'.join(parts)}' was found {' and '.join(hows)}: {file.path}"
    sure = whole and (same_name or not _extension(written))
    return Found(file.path, note if hows else "", sure)


def notes(found: Iterable[Found], place: str, most: int = 5) -> list[Problem]:
    """Problems that say which images were found under other names, the first few one by one."""
    texts = [one.note for one in found if one.path and one.note]
    shown = [Problem("image_name", place, text, NOTED) for text in texts[:most]]
    if len(texts) > most:
        more = f"and {len(texts) - most} more images were found under other names"
        shown.append(Problem("image_name", place, more, NOTED))
    return shown


def why_missing(name: str, found: Found, where: str = "") -> str:
    """The message for an image that was not found; `where` is such as "in photos/images"."""
    reason = f": {found.note}" if found.note else ""
    return f"its image '{name[:200]}' does not exist{f' {where}' if where else ''}{reason}"


def _readings(name: str) -> list[tuple[str, ...]]:
    """The parts of a path as it is written, and as they are if it is a URL's."""
    readings = [parts_of(name), parts_of(_from_url(name))]
    return [parts for parts in dict.fromkeys(readings) if parts]


def _from_url(name: str) -> str:
    # Label Studio: /data/local-files/?d=images%2Fa.jpg
    inner = re.search(r"[?&]d=([^&]+)", name)
    if inner:
        return urllib.parse.unquote(inner.group(1))
    scheme, colon, rest = name.partition("://")
    if colon and scheme.lower() in ("http", "https"):
        rest = re.split(r"[?#]", rest)[0]
    return urllib.parse.unquote(rest if colon and scheme.isalnum() else name)


def _is_below(name: str) -> bool:
    """Whether a path stays in the folder that it begins in."""
    return not os.path.isabs(name) and not os.path.normpath(name).startswith(os.pardir)


def _shortest(path: str, is_there: Callable = os.path.isfile) -> str:
    """The path without `./` and `x/..`, unless a link makes that another file."""
    short = os.path.normpath(path)
    return short if is_there(short) and os.path.samefile(short, path) else path


def _extension(name: str) -> str:
    extension = os.path.splitext(name)[1]
    return extension if extension.lower() in images.EXTENSIONS else ""
