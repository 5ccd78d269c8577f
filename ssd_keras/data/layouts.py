"""Which formats a folder may be of, judged by what it holds.

Label Studio, CVAT, Roboflow, Kaggle, labelImg, the tutorials of TensorFlow, Oxford's pets,
Detectron, Ultralytics, Darknet and the data sets' own: they differ in names and depth only. Where
the files of a format lie is found by `voc_layout`, `coco_layout` and `yolo_layout`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ssd_keras.data import coco_layout, images, record_file, yolo_layout
from ssd_keras.data.split_folders import (
    ANNOTATIONS,
    PICTURES,
    choose,
    files_with_end,
    folders_called,
    holds,
    list_folder,
    name_one,
    no_split,
    part,
    parts,
    sub_folders,
    unwrap,
)
from ssd_keras.errors import UserError


def recognise(place: str, split: str | None = None) -> list[str]:
    """The formats that a folder's files may be, the likeliest first; see `specs.recognise`."""
    found = _formats(place)
    inner = unwrap(place)
    if not found and inner != place:
        found = recognise(inner, split)
    divided = [place]
    if not found:
        named = [part(place, split)] if split else [os.path.join(place, n) for n in parts(place)]
        divided += filter(None, named)
        found = list(dict.fromkeys(name for folder in divided for name in _formats(folder)))
    if not found and split:
        known = [name for name in parts(place) if _formats(os.path.join(place, name))]
        if known:
            raise no_split(split, place, f"{place}#{split}", known)
    if not found and (other := coco_layout.other_tool(place)):
        raise UserError(f"'{place}' holds {other}.")
    return found or (["yolo"] if any(map(_has_pictures, divided)) else [])


def _formats(place: str) -> list[str]:
    return [name for name, test in _SIGNS.items() if test(place)]


def _has_tfds(place: str) -> bool:
    return {"features.json", "dataset_info.json"} <= set(list_folder(place))


def _has_voc(place: str) -> bool:
    folders = (*folders_called(place, ANNOTATIONS), *folders_called(place, PICTURES))
    devkit = any(name.startswith("VOC") for name in sub_folders(place))
    return bool(
        devkit
        or files_with_end(place, ".xml")
        or any(holds(folder, (".xml",)) for folder in folders)
    )


def _has_yolo(place: str) -> bool:
    if yolo_layout.data_yaml(place) or yolo_layout.darknet_data(place):
        return True
    labels = [folder for folder in folders_called(place, ("labels",)) if holds(folder, (".txt",))]
    return bool(labels)


def _has_coco(place: str) -> bool:
    return any(
        coco_layout.coco_files(folder) for folder in (place, *folders_called(place, ANNOTATIONS))
    )


def _has_records(place: str) -> bool:
    return any(record_file.is_record(name) for name in list_folder(place))


def _has_csv(place: str) -> bool:
    return bool(files_with_end(place, ".csv", ".tsv"))


_SIGNS: dict[str, Callable[[str], bool]] = {
    "tfds": _has_tfds,
    "voc": _has_voc,
    "yolo": _has_yolo,
    "coco": _has_coco,
    "tfrecord": _has_records,
    "csv": _has_csv,
}


def _has_pictures(place: str) -> bool:
    return bool(
        folders_called(place, ("labels", *PICTURES)) or files_with_end(place, *images.EXTENSIONS)
    )


def of_split(spec: str, place: str, split: str | None, sign: str) -> tuple[str, str | None]:
    """The sub-folder of a split that is a data set of its own, as Roboflow has them.

    For formats whose readers take a folder of files; the place and split as they are otherwise.

    Raises:
        UserError: there are several such folders, and no split was named.
    """
    if not os.path.isdir(place) or _SIGNS[sign](place):
        return place, split
    place = unwrap(place)
    divided = [name for name in parts(place) if _SIGNS[sign](os.path.join(place, name))]
    if split is None and len(divided) > 1:
        raise name_one(spec, place, divided)
    named = choose(split, divided, f"in '{place}'") if split else next(iter(divided), None)
    return (os.path.join(place, named), None) if named else (place, split)
