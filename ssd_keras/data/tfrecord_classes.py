"""What the classes in TFRecord files are called: by names, by numbers, by what lies beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssd_keras import remote
from ssd_keras.data.names import normalize
from ssd_keras.data.source import NOTED, REFUSED, Problem
from ssd_keras.data.text import decode, read_text
from ssd_keras.data.text import lines as lines_of
from ssd_keras.data.tfrecord_examples import Entry
from ssd_keras.errors import UserError
from ssd_keras.labels import is_no_class, label_map_items
from ssd_keras.reading import reading


def classes_beside(files: Sequence[str], problems: list[Problem]) -> list[str]:
    """The names that `write` left beside the files; of several sets, those of all."""
    found: dict[str, list[str]] = {}
    for path in files:
        folder, name = os.path.split(path)
        lists = remote.matching(os.path.join(remote.escape(folder), "*.classes.txt"))
        stems = {os.path.basename(other).removesuffix(".classes.txt"): other for other in lists}
        fitting = [stem for stem in stems if name.startswith(stem)]
        if fitting and (other := stems[max(fitting, key=len)]) not in found:
            lines = lines_of(read_text(other, problems))
            found[other] = [line.strip() for line in lines if line.strip()]
    return list(dict.fromkeys(name for names in found.values() for name in names))


class LabelMap(NamedTuple):
    """Class names by their numbers, and the file that says so."""

    path: str = ""
    names: Mapping[int, str] = {}


def read_label_map(files: Sequence[str], needed: bool) -> LabelMap:
    """The label map that lies with the files, or one folder up if its name says what it is."""
    first = files[0] if remote.is_remote(files[0]) else os.path.abspath(files[0])
    folder = os.path.dirname(first)
    above = os.path.dirname(folder)
    stem = os.path.basename(files[0]).split(".")[0]
    for pattern in (
        f"{remote.escape(folder)}/*.pbtxt",
        f"{remote.escape(above)}/*label*map*.pbtxt",
    ):
        paths = remote.matching(pattern)
        maps = [LabelMap(path, found) for path in paths if (found := _map_of(path))]
        maps = [one for one in maps if os.path.basename(one.path).startswith(stem)] or maps
        if all(one.names == maps[0].names for one in maps[1:]):
            if maps:
                return maps[0]
        elif needed:
            listed = ", ".join(os.path.basename(one.path) for one in maps)
            raise UserError(
                f"'{os.path.dirname(maps[0].path)}' holds label maps that differ ({listed}): leave "
                "the one there that belongs to the records."
            )
    return LabelMap()


def _map_of(path: str) -> dict[int, str]:
    """Names by numbers from 0 of a label map; {} for another kind of text."""
    text = read_text(path, limit=4 << 20)
    if not re.search(r"^\s*item\s*:?\s*[{<]", text, re.MULTILINE):
        return {}
    with reading(path, "a label map"):
        found = {}
        for number, name in label_map_items(text):
            if not number and name and is_no_class(name):
                continue
            if not name:
                raise ValueError(f"number {number} has no name")
            if found.setdefault(number, name) != name:
                raise ValueError(f"number {number} stands there twice")
    return found


def decode_names(found: Sequence[Entry], spec: str, problems: list[Problem]) -> None:
    """Names of classes in another encoding than UTF-8, told by all of them together."""
    names = sorted({name for entry in found for name in entry.row.names})
    told = dict(zip(names, names, strict=True))
    if foreign := list(filter(_is_foreign, names)):
        joined = (re.sub(r"[\r\n]", " ", name) for name in foreign)
        data = [name.encode("utf-8", errors="surrogateescape") for name in joined]
        text = decode(b"\n".join(data), f"the class names of {spec}", problems)
        told |= zip(foreign, text.split("\n"), strict=True)
    for entry in found:
        entry.row.names = [normalize(told[name]) for name in entry.row.names]


def _is_foreign(name: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def name_numbers(
    found: Sequence[Entry],
    listed: Sequence[str],
    label_map: LabelMap,
    spec: str,
    problems: list[Problem],
) -> None:
    """Gives a name to the classes that have a number only, and notes where it is from.

    That of the label map; else what the same number is called elsewhere in the files; else the one
    at its place in `listed`, from 1 as the Object Detection API counts, or from 0 where a 0
    occurs; else the number itself.
    """
    numbers = {n for entry in found for n in entry.numbers if n is not None}
    names, source = label_map.names, f"are named by '{label_map.path}'"
    if not names:
        names, source = _named_elsewhere(found), "are called as elsewhere in the files"
    if not names:
        names, first = _at_places(listed, numbers)
        source = f"are taken as places in the list of classes, from {first}"
    if not names:
        unnamed = ", ".join(map(str, sorted(numbers)[:8]))
        source = f"have no names ({unnamed}); a label map (.pbtxt) beside the files gives them"
    problems.append(Problem("class_numbers", spec, f"class numbers {source}", NOTED))
    if names and (nameless := sorted(_of_nameless(found) - set(names))):
        message = (
            f"the class numbers {', '.join(map(str, nameless[:8]))} have no name, unlike others: "
            "they are classes of their own here; name them in a label map (.pbtxt) beside the files"
        )
        problems.append(Problem("class_numbers", spec, message, REFUSED))
    for row, _, _, own, _ in found:
        row.names = [
            name or ("" if number is None else names.get(number, str(number)))
            for name, number in zip(row.names, own, strict=True)
        ]


def _of_nameless(found: Sequence[Entry]) -> set[int]:
    """The numbers of the classes of objects without a name."""
    return {
        number
        for row, _, _, numbers, _ in found
        for name, number in zip(row.names, numbers, strict=True)
        if not name and number is not None
    }


def _at_places(listed: Sequence[str], numbers: set[int]) -> tuple[dict[int, str], int]:
    """Names of numbers that are places in a list, and the number of the first; {} if they are not.

    A list that holds the numbers themselves was made of files like these.
    """
    first = 0 if 0 in numbers else 1
    names = dict(enumerate(listed, first))
    are_places = numbers <= set(names) and not {*map(str, numbers)} & {*listed}
    return (names if are_places else {}), first


def _named_elsewhere(found: Sequence[Entry]) -> dict[int, str]:
    """Names of numbers that have the same name wherever they have one."""
    names: dict[int, set[str]] = {}
    for row, _, _, numbers, _ in found:
        for name, number in zip(row.names, numbers, strict=True):
            if name and number is not None:
                names.setdefault(number, set()).add(name)
    return {number: next(iter(group)) for number, group in names.items() if len(group) == 1}


def in_order(labels: Mapping[int, str], found: Sequence[Entry]) -> list[str]:
    """The classes of the label map by their numbers, then what else occurs: names, then numbers."""
    occurring = {name for row, *_ in found for name in row.names if name}
    listed = dict.fromkeys(labels[number] for number in sorted(labels))
    if not occurring & set(listed):
        listed = {}
    numbers = {name for name in occurring if name.isdecimal()}
    others = [*sorted(occurring - numbers), *sorted(numbers, key=int)]
    return list(dict.fromkeys((*listed, *others)))
