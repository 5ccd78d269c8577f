"""How names are compared: of image files, as any tool on any machine writes them, and of classes.

The same name is the same in Unicode's composed and decomposed form (macOS writes the latter), with
slashes either way, as URL, and behind a path of another machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ssd_keras.data.source import NOTED, Problem
from ssd_keras.labels import match_key

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
        counts = Counter(map(as_number, ids))
        shared = [i for i, name in enumerate(ids) if counts[as_number(name)] > 1]
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
        while as_number(new) in taken:
            repeats[name] += 1
            new = name + "'" * repeats[name]
        taken.add(as_number(new))
        different.append(new)
    return different


def as_number(name: str) -> str:
    """A name, or the number that it writes without leading zeros: "007" and "7" are one image."""
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
