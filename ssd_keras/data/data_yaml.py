"""data.yaml: the classes of a YOLO data set and where the images of each split are."""

from __future__ import annotations

import dataclasses
import os
import re

import yaml

from ssd_keras.data import names, split_folders, text
from ssd_keras.data.source import NOTED, Problem
from ssd_keras.data.yolo_labels import MOST_CLASSES
from ssd_keras.errors import UserError, one_line

# The 365 names of Objects365 take 10 kB. PyYAML reads a megabyte in some seconds.
MAX_BYTES = 1 << 20
_NOTHING = ("", "null", "~")
TASKS = ("detect", "segment", "pose", "obb")


@dataclasses.dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        path: the file.
        names: class names by their numbers; empty if it names none.
        splits: the places of the images by the name of the split, as they are written.
        root: its `path`, the folder of the data set; "" for that of the file.
        keypoints: (number of keypoints, values of each), or None where the labels have none.
        task: one of `TASKS` where it says so, which tells polygons from keypoints; else "".
    """

    path: str
    names: dict[int, str]
    splits: dict[str, tuple[str, ...]]
    root: str = ""
    keypoints: tuple[int, int] | None = None
    task: str = ""


def read(path: str, problems: list[Problem]) -> DataYaml:
    """Reads a data.yaml; runs and opens nothing of what it names.

    Raises:
        UserError: it is no YAML, or its names or splits are none.
    """
    content = parse(text.read_text(path, problems, limit=MAX_BYTES), path, problems)
    if not isinstance(content, dict):
        raise UserError(f"'{path}' needs lines 'names: ...' and 'train: ...'.")
    if content.get("download", "") not in _NOTHING:
        message = "its 'download' is not run: the data must be there already"
        problems.append(Problem("not_run", path, message, NOTED))
    splits = {key: _places(key, value, path) for key, value in content.items() if _is_split(key)}
    return DataYaml(
        path,
        _names(content, path, problems),
        {key: places for key, places in splits.items() if places},
        _root(content, path),
        _keypoints(content, path),
        _task(content, path),
    )


def _is_split(key: str) -> bool:
    return split_folders.is_split(key) or key in ("minival", "trainval", "test-dev")


class _Loader(yaml.BaseLoader):
    """Every scalar is text as it is written: a class may be called `no` or `1.0`.

    A key that stands twice is refused, because one of its values would be lost.
    """

    def construct_object(self, node, deep=False):
        if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag:
            raise yaml.constructor.ConstructorError(
                problem=f"the tag '{node.tag[:40]}' means nothing here",
                problem_mark=node.start_mark,
            )
        return super().construct_object(node, deep)

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key '{str(key.value)[:40]}' stands twice",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def parse(written: str, path: str = "data.yaml", problems: list[Problem] | None = None):
    """YAML whose scalars are all text.

    Lines that are indented by tabs alone, which YAML does not allow, are read as if these were
    blanks, which is noted.

    Raises:
        UserError: it is no YAML; says in which line.
    """
    blanks = re.sub(r"^\t+", lambda tabs: "  " * len(tabs[0]), written, flags=re.MULTILINE)
    only_tabs = blanks != written and not re.search(r"^ ", written, re.MULTILINE)
    if only_tabs and problems is not None:
        message = "is indented by tabs, which YAML does not allow; they are read as blanks"
        problems.append(Problem("tabs", path, message, NOTED))
    try:
        return yaml.load(blanks if only_tabs else written, _Loader)
    except yaml.YAMLError as error:
        raise UserError(_no_yaml(error, written, path)) from error
    except (RecursionError, ValueError, TypeError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else one_line(error)
        raise UserError(f"'{path}' is no readable YAML: {reason}.") from error


def _no_yaml(error: yaml.YAMLError, written: str, path: str) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return f"'{path}' is no readable YAML: {one_line(error)}."
    line = text.lines(written)[mark.line : mark.line + 1]
    advice = ""
    if line and "\\" in line[0]:
        advice = " Write paths with / or without quotes."
    elif "\\t" in (problem or ""):
        advice = " Indent with blanks."
    return f"'{path}' is no readable YAML: line {mark.line + 1}: {problem}.{advice}"


def _text(value) -> str:
    return value if isinstance(value, str) and value not in _NOTHING else ""


def _root(content: dict, path: str) -> str:
    written = content.get("path", "")
    if not isinstance(written, str):
        raise UserError(f"'path' in '{path}' must be a folder, not {_brief(written)}.")
    return _text(written)


def _places(key: str, value, path: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise UserError(f"'{key}' in '{path}' must be a folder, a file or a list of these.")
    return tuple(one for one in values if one not in _NOTHING)


def _names(content: dict, path: str, problems: list[Problem]) -> dict[int, str]:
    written, count = content.get("names", ""), _count(content, path)
    if written in _NOTHING:
        return {number: str(number) for number in range(count or 0)}
    if not written:
        raise UserError(f"'names' in '{path}' is empty: write the classes, 'names: [cat, dog]'.")
    if isinstance(written, list):
        pairs = list(enumerate(written))
    elif isinstance(written, dict):
        pairs = [(_class_number(key, path), name) for key, name in written.items()]
    else:
        raise UserError(
            f"'names' in '{path}' is the text '{one_line(written)[:40]}', not a list: write "
            "'names: [cat, dog]' or a line '0: cat' each, with a blank behind the colon."
        )
    found: dict[int, str] = {}
    for number, name in pairs:
        if not isinstance(name, str):
            raise UserError(f"Name {number} in '{path}' must be a text: put it into quotes.")
        if number in found:
            raise UserError(f"'{path}' names class {number} twice.")
        found[number] = names.normalize(name)
    if count is not None and count != len(found):
        message = f"nc is {count}, but there are {len(found)} names; the names count"
        problems.append(Problem("other_count", path, message, NOTED))
    return found


def _class_number(key, path: str) -> int:
    value = text.number(key)
    if value is None or not 0 <= value < MOST_CLASSES or value != int(value):
        raise UserError(
            f"'names' in '{path}' has the key '{one_line(key)[:40]}', not a class number."
        )
    return int(value)


def _count(content: dict, path: str) -> int | None:
    written = content.get("nc", "")
    if written in _NOTHING:
        return None
    value = text.number(written)
    if value is None or not 0 <= value <= MOST_CLASSES or value != int(value):
        raise UserError(f"'nc' in '{path}' must be a number of classes, not '{_brief(written)}'.")
    return int(value)


def _brief(value) -> str:
    return one_line(value)[:40] if isinstance(value, str) else "a list"


def _keypoints(content: dict, path: str) -> tuple[int, int] | None:
    written = content.get("kpt_shape", "")
    if written in _NOTHING or written == []:
        return None
    values = [text.number(one) for one in written] if isinstance(written, list) else []
    if len(values) != 2 or values[1] not in (2, 3) or values[0] not in range(1, 1000):
        raise UserError(f"'kpt_shape' in '{path}' must be [number of keypoints, 2 or 3].")
    return int(values[0]), int(values[1])


def _task(content: dict, path: str) -> str:
    task = _text(content.get("task", ""))
    if task and task not in TASKS:
        raise UserError(
            f"'task' in '{path}' must be one of {', '.join(TASKS)}, not '{_brief(task)}'."
        )
    return task


def folder_of(place: str, bases: tuple[str, ...]) -> tuple[str | None, str]:
    """The file or folder that a path of a data.yaml means, and a note if it may be another one.

    Paths of another machine end like those of this one; a folder named like a split is never
    left away, since the rest may be that of another split. Roboflow writes `../train/images` for
    `train/images`: what lies beside the folder counts only where nothing of that name is in it,
    since it may be another data set's.

    Args:
        place: the path as it is written.
        bases: the folders it may begin in, the likeliest first.
    """
    place = os.path.expanduser(place)
    parts = names.parts_of(place)
    leads_out = os.path.normpath(place).split(os.sep)[0] == os.pardir
    for base in bases:
        path, inner = os.path.join(base, place), os.path.join(base, *parts)
        if leads_out and parts and os.path.exists(inner):
            both = os.path.exists(path) and not os.path.samefile(path, inner)
            return inner, f"'{place}' is there, too; '{inner}' is read" if both else ""
        if os.path.exists(path):
            return path, f"'{place}' leads out of '{base}': '{path}' is read" if leads_out else ""
    for at in range(len(parts)):
        if any(split_folders.is_split(part) for part in parts[:at]):
            break
        for base in bases:
            path = os.path.join(base, *parts[at:])
            if os.path.exists(path):
                note = f"'{place}' does not exist here; '{path}' is read" if at else ""
                return path, note
    return None, ""
