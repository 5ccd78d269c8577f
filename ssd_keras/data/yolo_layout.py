"""Where the files of a YOLO data set lie: its data.yaml, images and text files."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence

from ssd_keras.data.split_folders import (
    PICTURES,
    choose,
    files_with_end,
    folders_called,
    forms_of,
    is_split,
    no_split,
    parts,
    sub_folders,
)
from ssd_keras.data.text import read_text
from ssd_keras.errors import UserError

# Files up to this size are read to see what they are.
_SMALL_TEXT = 1 << 20
_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


@dataclasses.dataclass(frozen=True)
class YoloLayout:
    """Where the files of a YOLO data set without data.yaml lie.

    Attributes:
        root: the folder of the whole data set.
        pictures: the folder with the images, or a file that lists them.
        names_in: folders that may name the classes, the likeliest first.
        parts: splits, folders or lists, that are all read because none was named.
    """

    root: str
    pictures: str
    names_in: tuple[str, ...]
    parts: tuple[str, ...] = ()


def data_yaml(place: str) -> str | None:
    """The data.yaml of a folder: a usual name, or the only .yaml file that says the same."""
    found = files_with_end(place, ".yaml", ".yml")
    first = next((name for name in _DATA_YAML if name in found), None)
    if first:
        return os.path.join(place, first)
    return _only(place, found, r"^(names|train|nc)\s*:")


def darknet_data(place: str) -> str | None:
    """The obj.data of a folder, as CVAT and Darknet have it."""
    return _only(place, files_with_end(place, ".data"), r"^\s*(names|train|valid)\s*=")


def _only(place: str, found: Sequence[str], line: str) -> str | None:
    """The only one of some files that has such a line."""
    paths = [os.path.join(place, name) for name in found[:20]]
    paths = [path for path in paths if _has_line(path, line)]
    return paths[0] if len(paths) == 1 else None


def _has_line(path: str, pattern: str) -> bool:
    try:
        return bool(re.search(pattern, read_text(path, limit=_SMALL_TEXT), re.MULTILINE))
    except UserError:
        return False


def find(spec: str, place: str, split: str | None) -> YoloLayout:
    """Finds the images of a folder of YOLO text files without data.yaml.

    Raises:
        UserError: no such split.
    """
    inner = folders_called(place, PICTURES)
    whole = inner[0] if inner else place
    lists = {name[:-4]: name for name in files_with_end(place, ".txt") if is_split(name[:-4])}
    if split is None:
        divided = tuple(dict.fromkeys((*parts(whole), *lists)))
        return YoloLayout(place, whole, _names_in(place, whole), divided)
    folders = {base: choose(split, sub_folders(base), f"in '{base}'") for base in (*inner, place)}
    for base, name in folders.items():
        if name:
            folder = os.path.join(base, name)
            pictures = next(iter(folders_called(folder, PICTURES)), folder)
            return YoloLayout(place, pictures, _names_in(place, pictures, folder))
    listed = choose(split, lists, f"in '{place}'")
    if listed:
        return YoloLayout(place, os.path.join(place, lists[listed]), _names_in(place, whole))
    known = [name for base in (place, *inner) for name in parts(base)]
    raise no_split(split, place, spec, [*known, *lists])


def _names_in(place: str, *pictures: str) -> tuple[str, ...]:
    """Folders that may hold classes.txt: the set's, and those of labels and images."""
    twins = [twin for folder in pictures if (twin := label_twin(folder))]
    near = [folder for folder in (*twins, *pictures) if os.path.isdir(folder)]
    divided = [os.path.join(folder, name) for folder in near for name in parts(folder)]
    inner = [
        folder for name in ("labels", "annotations") for folder in folders_called(place, (name,))
    ]
    return tuple(dict.fromkeys((place, *near, *divided, *inner)))


def label_twin(path: str) -> str | None:
    """The path with labels/ in the place of the last folder that is named like one of images."""
    pieces = path.split(os.sep)
    wanted = {form for name in PICTURES for form in forms_of(name)}
    for at in range(len(pieces) - 1, -1, -1):
        if pieces[at].lower() in wanted:
            return os.sep.join([*pieces[:at], "labels", *pieces[at + 1 :]])
    return None
