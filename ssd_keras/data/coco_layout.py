"""Where the files of a COCO data set lie, and which of its .json files is meant."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Sequence

from ssd_keras.data.split_folders import (
    ANNOTATIONS,
    PICTURES,
    advice,
    aliases,
    check_folder,
    choose,
    files_with_end,
    folders_called,
    forms_of,
    is_split,
    list_folder,
    name_one,
    no_split,
    part,
    parts,
    sub_folders,
    unwrap,
)
from ssd_keras.data.text import read_bytes
from ssd_keras.errors import UserError, missing_place

_COCO_FIRST = ("instances.json", "_annotations.coco.json")
# Files of COCO that hold no boxes of their own.
_NO_INSTANCES = ("captions_", "panoptic_", "stuff_", "image_info_")
# Those of people only, read where there are no others.
_PEOPLE = "person_keypoints_"
# What stands before the split in the names of COCO's files.
_KIND = re.compile(rf"^(instances|annotations|{_PEOPLE[:-1]})_")
# Files up to this size are read to see what they are.
_SMALL_JSON = 1 << 20


@dataclasses.dataclass(frozen=True)
class CocoLayout:
    """Where the files of a COCO data set lie.

    Attributes:
        path: the .json file.
        pictures: folders with the images, the likeliest first.
        bases: folders that the file names may begin in.
        root: where an image may lie besides, if its whole name fits.
    """

    path: str
    pictures: tuple[str, ...]
    bases: tuple[str, ...] = ()
    root: str | None = None


def find(spec: str, place: str, split: str | None, pictures: str | None) -> CocoLayout:
    """Finds the files of a COCO data set; `pictures` is the folder that the user named.

    Raises:
        UserError: no such file or folder, more than one that it may be, or no such split.
    """
    if pictures is not None and not os.path.isdir(pictures):
        raise missing_place("folder", pictures, spec)
    if place.lower().endswith(".json") and not os.path.isdir(place):
        found = _of_file(spec, place, split)
    else:
        check_folder(place, spec)
        root = unwrap(place)
        found = _of_split(spec, root, split) if split else _whole(spec, root)
    return (
        found if pictures is None else dataclasses.replace(found, pictures=(pictures,), root=None)
    )


def _of_file(spec: str, path: str, split: str | None) -> CocoLayout:
    if split:
        raise UserError(
            f"'{path}' is one file without splits: name the file of that split (from '{spec}'). "
            f"{advice(spec, split)}"
        )
    if not os.path.exists(path):
        raise missing_place("file", path, spec)
    return _beside(path)


def _beside(path: str) -> CocoLayout:
    """The images of a .json file that was named, or that is the only one."""
    folder = os.path.dirname(path) or "."
    is_inner = os.path.basename(os.path.abspath(folder)).lower() in forms_of("annotations")
    root = (os.path.dirname(folder) or os.pardir) if is_inner else folder
    split = _KIND.sub("", os.path.basename(path).removesuffix(".json"))
    return CocoLayout(path, _pictures_of(root, split), (folder, root), root)


def _pictures_of(root: str, split: str) -> tuple[str, ...]:
    """The folders of a split's images, or of all images."""
    inner = folders_called(root, PICTURES)
    found = [part(base, split) for base in (root, *inner)]
    return tuple(folder for folder in found if folder) or tuple(inner) or (root,)


def _whole(spec: str, root: str) -> CocoLayout:
    for folder in (root, *folders_called(root, ANNOTATIONS)):
        found = coco_files(folder)
        first = next((name for name in _COCO_FIRST if name in found), None)
        if first or len(found) == 1:
            return _beside(os.path.join(folder, first or found[0]))
        if found:
            raise _which_file(spec, folder, found)
    divided = [name for name in parts(root) if coco_files(os.path.join(root, name))]
    if len(divided) == 1:
        return _whole(spec, os.path.join(root, divided[0]))
    if divided:
        raise name_one(spec, root, divided)
    raise UserError(_no_coco(root, spec))


def _which_file(spec: str, folder: str, found: Sequence[str]) -> UserError:
    splits = [name[10:-5] for name in found if name.startswith("instances_")]
    if len(splits) == len(found):
        return name_one(spec, folder, splits)
    return UserError(
        f"'{folder}' holds no instances.json but {', '.join(found[:6])} (from '{spec}'). "
        "Name it: coco:FILE.json,images=DIR."
    )


def _no_coco(root: str, spec: str) -> str:
    if kind := other_tool(root):
        return f"'{root}' holds {kind} (from '{spec}')."
    what = "no .json file that is COCO" if files_with_end(root, ".json") else "no .json file"
    return (
        f"'{root}' holds no instances.json but {what} (from '{spec}'). "
        "Name it: coco:FILE.json,images=DIR."
    )


def _of_split(spec: str, root: str, split: str) -> CocoLayout:
    files: dict[str, str] = {}
    for folder in (*folders_called(root, ANNOTATIONS), root):
        for name in coco_files(folder):
            stem = _KIND.sub("", name[:-5])
            files.setdefault(stem, os.path.join(folder, name))
    folders = [name for name in sub_folders(root) if _is_folder(os.path.join(root, name))]
    known = [*files, *folders]
    named = choose(split, known, f"in '{root}'") or _of_a_year(split, known, root)
    if named in files:
        return CocoLayout(
            files[named],
            _pictures_of(root, named),
            (os.path.dirname(files[named]), root),
        )
    if named in folders:
        return _whole(spec, os.path.join(root, named))
    usual = [name for name in known if is_split(re.sub(r"\d+$", "", name))]
    needs = f"instances_{split}.json and no folder of it"
    error = no_split(split, root, spec, usual or known, needs)
    raise UserError(f"{error} {advice(spec, split)}") if known and not usual else error


def _is_folder(folder: str) -> bool:
    """Whether a folder is a data set of its own, as those of Roboflow are."""
    inner = folders_called(folder, ANNOTATIONS)
    is_one = os.path.basename(folder).lower() in {f for n in ANNOTATIONS for f in forms_of(n)}
    return not is_one and any(coco_files(place) for place in (folder, *inner))


def _of_a_year(split: str, known: Iterable[str], root: str) -> str | None:
    """train2017 for train, if there is one year only."""
    meant = [name for name in known if re.sub(r"_?(19|20)\d\d$", "", name) in aliases(split)]
    if len(meant) > 1:
        raise UserError(f"'#{split}' may be {' or '.join(meant)} in '{root}': write one of them.")
    return meant[0] if meant else None


def coco_files(folder: str) -> list[str]:
    """The names of the .json files in a folder that are COCO with boxes."""
    found = [name for name in list_folder(folder) if name.lower().endswith(".json")]
    found = [name for name in found if not name.startswith(_NO_INSTANCES)]
    if len(found) > 50:  # one for each image is another format
        return []
    found = [name for name in found if not name.startswith(_PEOPLE)] or found
    return [name for name in found if name in _COCO_FIRST or is_coco(os.path.join(folder, name))]


def is_coco(path: str) -> bool:
    """Whether a .json file is COCO, judged by its beginning where it is large.

    One that cannot be read, a pipe for instance, counts as COCO: its reader says why.
    """
    if not os.path.isfile(path):
        return not os.path.isdir(path)
    content = _small_json(path)
    if content is not None:
        return isinstance(content, dict) and {"images", "annotations"} <= set(content)
    try:
        with open(path, "rb") as file:
            head = file.read(_SMALL_JSON)
    except OSError:
        return False
    is_damaged = os.path.getsize(path) <= _SMALL_JSON  # and its reader says how
    return is_damaged or b'"images"' in head or b'"annotations"' in head


def _small_json(path: str):
    """The content of a small JSON file; None if it is large, damaged or none."""
    try:
        if os.path.getsize(path) > _SMALL_JSON:
            return None
        return json.loads(read_bytes(path, limit=_SMALL_JSON))
    except (UserError, ValueError, RecursionError, OSError):
        return None


def json_kind(path: str) -> str:
    """Which other tool's file a .json is, and what to do with it; "" where that is not known."""
    content = _small_json(path)
    name = os.path.basename(path)
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return ""
    for has, what in _OTHER_JSON.items():
        if set(has) <= set(first):
            return what.format(name=name)
    return ""


def other_tool(place: str) -> str:
    """Which tool's files a folder holds that are not read, and what to do; "" if none."""
    found = (os.path.join(place, name) for name in files_with_end(place, ".json")[:20])
    return next(filter(None, map(json_kind, found)), "")


_AS_COCO = "export the annotations as COCO or Pascal VOC, or convert them"


_OTHER_JSON = {
    ("shapes", "imagePath"): (
        f"labelme files, one .json an image ('{{name}}'): {_AS_COCO} by 'labelme2coco'"
    ),
    ("_via_img_metadata",): f"a VIA project ('{{name}}'): {_AS_COCO}",
    ("image", "annotations"): f"CreateML annotations ('{{name}}'): {_AS_COCO}",
    ("data", "annotations"): f"Label Studio's own JSON ('{{name}}'): {_AS_COCO}",
    ("objects", "size"): f"Supervisely annotations ('{{name}}'): {_AS_COCO}",
    ("annotations", "info", "project"): f"another tool's JSON ('{{name}}'): {_AS_COCO}",
}
