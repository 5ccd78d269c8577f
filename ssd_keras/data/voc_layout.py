"""Where the files of a PASCAL VOC data set lie, in the ways of the tools that write it."""

from __future__ import annotations

import dataclasses
import os

from ssd_keras.data import file_lists, images
from ssd_keras.data.source import Problem
from ssd_keras.data.split_folders import (
    ANNOTATIONS,
    PICTURES,
    check_folder,
    choose,
    files_with_end,
    folders_called,
    holds,
    is_split,
    no_split,
    part,
    parts,
    sub_folders,
    unwrap,
)
from ssd_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class VocLayout:
    """Where the files of a VOC data set lie.

    Attributes:
        root: the folder of the whole data set.
        annotations: the folder with the .xml files.
        pictures: folders with the images, the likeliest first.
        list_file: names the images of the split; None if the folders do.
        parts: splits, folders or lists, that are all read because none was named.
    """

    root: str
    annotations: str
    pictures: tuple[str, ...]
    list_file: str | None = None
    parts: tuple[str, ...] = ()


def find(spec: str, place: str, split: str | None, pictures: str | None = None) -> VocLayout:
    """Finds the files of a VOC data set; `pictures` is the folder that the user named.

    Raises:
        UserError: no such folder, no .xml file in it, or no such split.
    """
    check_folder(place, spec)
    found = _find(spec, _devkit(unwrap(place)), split)
    return found if pictures is None else dataclasses.replace(found, pictures=(pictures,))


def _find(spec: str, root: str, split: str | None) -> VocLayout:
    if split is None:
        return _folders_of(spec, root)
    folder = next(iter(_within(root, split)), None)
    lists = _split_lists(root)
    named = choose(split, lists, f"in '{root}'")
    if named is not None:
        return dataclasses.replace(_folders_of(spec, root), list_file=lists[named], parts=())
    if folder is None:
        known = [*lists, *(name for base in _bases(root) for name in parts(base))]
        raise no_split(split, root, spec, known, f"ImageSets/Main/{split}.txt and no folder of it")
    return _part(spec, root, split, folder)


def _devkit(place: str) -> str:
    """VOCdevkit and VOC2012 in it, where the user named a folder above."""
    for _ in range(2):
        inner = [name for name in sub_folders(place) if name.startswith("VOC")]
        if folders_called(place, ANNOTATIONS[:1]) or not inner:
            break
        if len(inner) > 1:
            example = os.path.join(place, inner[0])
            raise UserError(f"'{place}' holds {len(inner)} VOC folders; name one, e.g. {example}.")
        place = os.path.join(place, inner[0])
    return place


def _bases(root: str) -> list[str]:
    """Folders that may be divided into splits."""
    return [root, *folders_called(root, ANNOTATIONS), *folders_called(root, PICTURES)]


def _within(root: str, split: str) -> list[str]:
    """The folders of a split that hold annotations."""
    found = (part(base, split) for base in _bases(root))
    return [folder for folder in found if folder and holds(folder, (".xml",))]


def _part(spec: str, root: str, split: str, folder: str) -> VocLayout:
    if os.path.dirname(folder) == root:
        return dataclasses.replace(_folders_of(spec, folder), root=folder)
    beside = [part(base, split) for base in folders_called(root, PICTURES)]
    pictures = [base for base in (*beside, folder) if base and holds(base, images.EXTENSIONS)]
    pictures = pictures or folders_called(root, PICTURES) or [root]
    return VocLayout(root, folder, tuple(dict.fromkeys(pictures)))


def _folders_of(spec: str, root: str) -> VocLayout:
    annotations = next((f for f in folders_called(root, ANNOTATIONS) if holds(f, (".xml",))), root)
    problems: list[Problem] = []
    if not file_lists.files_of(annotations, (".xml",), problems, most=1):
        why = f" {problems[0]}." if problems else ""
        raise UserError(f"'{annotations}' holds no .xml annotation (from '{spec}').{why}")
    pictures = folders_called(root, PICTURES) or [root]
    if annotations != root and holds(annotations, images.EXTENSIONS):
        pictures = [*pictures, annotations]
    divided = [name for base in _bases(root) for name in parts(base)]
    divided += filter(is_split, _split_lists(root))
    return VocLayout(root, annotations, tuple(pictures), parts=tuple(dict.fromkeys(divided)))


def _split_lists(root: str) -> dict[str, str]:
    """The files that list the images of a split, by the split's name."""
    sets = os.path.join(root, "ImageSets")
    places = [os.path.join(sets, "Main"), sets, root, *folders_called(root, ANNOTATIONS)]
    lists: dict[str, str] = {}
    for place in filter(os.path.isdir, places):
        for name in files_with_end(place, ".txt"):
            stem = name[:-4]
            if place.startswith(sets) or is_split(stem):
                lists.setdefault(stem, os.path.join(place, name))
    return lists
