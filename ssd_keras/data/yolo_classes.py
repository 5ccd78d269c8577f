"""Which classes the numbers of a YOLO data set mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from ssd_keras.data import data_yaml, names, text
from ssd_keras.data.source import Problem
from ssd_keras.errors import UserError

_CLASS_FILES = ("classes.txt", "obj.names", "labels.txt", "names.txt", "_darknet.labels")


def class_names(folders: Sequence[str], problems: list[Problem]) -> dict[int, str]:
    """The classes that a file in one of the folders names; those of all such files must agree."""
    first, found = "", {}
    for folder in folders:
        path = next((p for n in _CLASS_FILES if os.path.isfile(p := os.path.join(folder, n))), None)
        path = path or _other_names(folder)
        named = class_lines(path, problems) if path else _label_studio(folder)
        path = path or os.path.join(folder, "notes.json")
        if named and found and named != found:
            raise UserError(
                f"'{first}' and '{path}' name different classes: name one split, or delete one."
            )
        if named and not found:
            first, found = path, named
    return found


def _other_names(folder: str) -> str | None:
    """The only file NAME.names of a folder."""
    found = [name for name in os.listdir(folder) if name.lower().endswith(".names")]
    return os.path.join(folder, found[0]) if len(found) == 1 else None


def class_lines(path: str, problems: list[Problem]) -> dict[int, str]:
    lines = text.lines(text.read_text(path, problems, limit=data_yaml.MAX_BYTES).rstrip())
    found = [names.normalize(line) for line in lines]
    if "" in found:
        # Leaving the line out would give its number, and all that follow, to other classes.
        raise UserError(f"'{path}' has no class in line {found.index('') + 1}: delete the line.")
    return dict(enumerate(found))


def _label_studio(folder: str) -> dict[int, str]:
    """The classes of notes.json, which Label Studio writes beside labels/."""
    path = os.path.join(folder, "notes.json")
    if not os.path.isfile(path):
        return {}
    try:
        content = json.loads(text.read_text(path, limit=data_yaml.MAX_BYTES))
        return {int(one["id"]): names.normalize(one["name"]) for one in content["categories"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def check_first_number(root: str, numbers: Sequence[int], names: Mapping[int, str]) -> None:
    """Refuses numbers that begin at 1 and end behind those of the names, which begin at 0."""
    if names and numbers and min(names) == 0 < numbers[0] and numbers[-1] == max(names) + 1:
        raise UserError(
            f"The label files of '{root}' have the class numbers {numbers[0]} to {numbers[-1]}, "
            f"the names are those of 0 to {max(names)}, so that every class would have the name of "
            f"another: count from 0, or name class {numbers[-1]}."
        )
