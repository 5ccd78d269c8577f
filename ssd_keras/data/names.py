"""How names are compared: of image files, as any tool on any machine writes them, and of classes.

The same name is the same in Unicode's composed and decomposed form (macOS writes the latter), with
slashes either way, as URL, and behind a path of another machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import unicodedata
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from ssd_keras.data import images
from ssd_keras.data.source import LEFT_OUT, NOTED, Problem
from ssd_keras.errors import UserError, one_line
from ssd_keras.labels import match_key

# More than any data set has: a walk that meets them has left it.
MOST_FILES = 20_000_000
# What operating systems and tools put beside the files of a user.
_LITTER = ("__MACOSX", "@eaDir")


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
        self._trees = [_Tree(folder, extensions, problems) for folder in self.folders]

    def find(self, name: str) -> Found:
        """The file that `name` means."""
        exact = self._exact(name)
        return Found(exact, sure=True) if exact else self._near(name)

    def find_all(self, names: Iterable[str]) -> dict[str, Found]:
        """The file of each name; one that two names may mean is neither's, if none is sure."""
        found = {name: self.find(name) for name in dict.fromkeys(names)}
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

    def files(self) -> list[str]:
        """All files of the folders, sorted folder by folder."""
        return list(dict.fromkeys(file.path for tree in self._trees for file in tree.files))

    def _exact(self, name: str) -> str | None:
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
        paths = files_of(self._folder, self._extensions, self._problems)
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


def image_files(folder: str | os.PathLike, problems: list[Problem] | None = None) -> list[str]:
    """The image files in a folder and its sub-folders, sorted folder by folder.

    Only plain files, and links to them: pipes and devices are never opened, and links to folders
    not followed, so that the walk ends and stays in the folder. Both are added to `problems`, as
    are folders that cannot be read.
    """
    return files_of(folder, images.EXTENSIONS, problems)


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
    if _leads_to(entry, os.path.isdir, entry.is_dir):
        return False
    if not _leads_to(entry, os.path.isfile, entry.is_file):
        is_there = os.path.exists(entry.path)
        what = "is no file but a pipe or device" if is_there else "is a link to nothing"
        problems.append(Problem("no_file", entry.path, what, LEFT_OUT))
        return False
    return True


def _is_folder(entry: os.DirEntry, problems: list[Problem]) -> bool:
    if is_litter(entry.name) or not _leads_to(entry, os.path.isdir, entry.is_dir):
        return False
    if entry.is_symlink():
        what = "is a link to a folder and is not followed: name that folder if its images belong"
        problems.append(Problem("linked_folder", entry.path, what, NOTED))
        return False
    return True


def _leads_to(entry: os.DirEntry, of_path: Callable, of_entry: Callable) -> bool:
    """Whether an entry is, or links to, a kind of file.

    The methods of the entry ask no disk, but raise an error for a link that leads to itself.
    """
    return of_path(entry.path) if entry.is_symlink() else of_entry()


# What Python makes of the bytes of a file name that are no UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


@functools.lru_cache(maxsize=4096)
def normalize(name: str) -> str:
    """A name in Unicode's composed form, without blanks around it.

    Of file names that Linux took from a Korean archive as they are, the Korean ones.
    """
    if _UNDECODED.search(name):
        with contextlib.suppress(UnicodeError):
            name = os.fsencode(name).decode("cp949")
    return unicodedata.normalize("NFC", name.strip())


@functools.lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A name in a form in which those that differ in case or Unicode form are equal."""
    return unicodedata.normalize("NFC", normalize(name).casefold())


def _readings(name: str) -> list[tuple[str, ...]]:
    """The parts of a path as it is written, and as they are if it is a URL's."""
    readings = [parts_of(name), parts_of(_from_url(name))]
    return [parts for parts in dict.fromkeys(readings) if parts]


def parts_of(path: str) -> tuple[str, ...]:
    """Folders and file name of a path of any system, without drive and `./`."""
    path = re.sub(r"^[A-Za-z]:(?=[\\/])", "", normalize(path))
    parts: list[str] = []
    for part in re.split(r"[\\/]+", path):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


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


def _shortest(path: str) -> str:
    """The path without `./` and `x/..`, unless a link makes that another file."""
    short = os.path.normpath(path)
    return short if os.path.isfile(short) and os.path.samefile(short, path) else path


def _extension(name: str) -> str:
    extension = os.path.splitext(name)[1]
    return extension if extension.lower() in images.EXTENSIONS else ""


def image_ids(paths: Sequence[str]) -> list[str]:
    """A name for each file, all different: without folder and extension where that will do.

    Else with the folders that the files do not share, and if need be with the extension. "1" and
    "001" count as the same, as in results files, which write such names as numbers.
    """
    if not paths:
        return []
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    whole = [os.path.relpath(path, folder).replace(os.sep, "/") for path in paths]
    in_folder = [os.path.splitext(name)[0] for name in whole]
    forms = [[os.path.basename(name) for name in in_folder], in_folder, whole]
    chosen = [0] * len(paths)
    while True:
        ids = [forms[form][index] for index, form in enumerate(chosen)]
        counts = Counter(map(_as_number, ids))
        shared = [i for i, name in enumerate(ids) if counts[_as_number(name)] > 1]
        shared = [i for i in shared if chosen[i] + 1 < len(forms)]
        if not shared:
            return ids
        for index in shared:
            chosen[index] += 1


def apart(ids: Iterable[str]) -> list[str]:
    """The ids, with as many primes (') behind those that were there before as makes them differ."""
    taken: set[str] = set()
    repeats: Counter[str] = Counter()
    different = []
    for name in ids:
        new = name + "'" * repeats[name]
        while _as_number(new) in taken:
            repeats[name] += 1
            new = name + "'" * repeats[name]
        taken.add(_as_number(new))
        different.append(new)
    return different


def _as_number(name: str) -> str:
    return name.lstrip("0") or "0" if name.isdecimal() else name


def note_alike(classes: Sequence[str], spec: str, problems: list[Problem]) -> None:
    """Notes classes that differ in nothing but case, blanks or the like; they stay two."""
    alike = defaultdict(list)
    for name in classes:
        alike[match_key(name)].append(name)
    for names in alike.values():
        if len(names) > 1:
            listed = " and ".join(f"'{name}'" for name in names)
            message = f"the classes {listed} are taken as {len(names)} classes: are they one?"
            problems.append(Problem("classes_alike", spec, message, NOTED))
