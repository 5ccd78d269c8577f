"""Which folders the exports of annotation tools have, and which of them hold one split.

Label Studio, CVAT, Roboflow, Kaggle, labelImg, the tutorials of TensorFlow, Oxford's pets,
Detectron, Ultralytics, Darknet and the data sets' own: they differ in names and depth only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence

from ssd_keras.data import images, names, record_file
from ssd_keras.data.source import Problem
from ssd_keras.data.text import read_bytes, read_text
from ssd_keras.errors import UserError, missing_place, one_line, unknown

# What tools call the parts of a data set; the names of a line mean the same.
_SPLITS = (
    ("train", "training"),
    ("val", "valid", "validation"),
    ("test", "testing"),
    ("trainval",),
)
_PICTURES = ("JPEGImages", "images", "image", "imgs", "img", "pictures", "photos", "frames")
_ANNOTATIONS = ("Annotations", "annotation", "annots", "anno", "xmls", "xml", "labels")
_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_COCO_FIRST = ("instances.json", "_annotations.coco.json")
# Files of COCO that hold no boxes of their own.
_NO_INSTANCES = ("captions_", "panoptic_", "stuff_", "image_info_")
# Those of people only, read where there are no others.
_PEOPLE = "person_keypoints_"
# What stands before the split in the names of COCO's files.
_KIND = re.compile(rf"^(instances|annotations|{_PEOPLE[:-1]})_")
# Files up to this size are read to see what they are.
_SMALL_JSON = _SMALL_TEXT = 1 << 20


def aliases(split: str) -> tuple[str, ...]:
    """A split's name, and then the others that mean the same."""
    for same in _SPLITS:
        if split.lower() in same:
            return tuple(dict.fromkeys((split, *same)))
    return (split,)


def is_split(name: str) -> bool:
    """Whether tools call a part of a data set so."""
    return any(name.lower() in same for same in _SPLITS)


def choose(split: str, known: Iterable[str], where: str) -> str | None:
    """Which of the known names the split means; None if it means none.

    Raises:
        UserError: it means several.
    """
    known = list(known)
    if split in known:
        return split
    meant = [name for name in known if name.lower() in aliases(split.lower())]
    if len(meant) > 1:
        raise UserError(f"'#{split}' may be {' or '.join(meant)} {where}: write one of them.")
    return meant[0] if meant else None


def no_split(split: str, place: str, spec: str, known: Iterable[str], needs: str = "") -> UserError:
    """The error for a split that is not there; says which are, or what there should be."""
    known = sorted(set(known))
    error = unknown("split", split, known, f"in '{place}' (from '{spec}')")
    if known:
        return error
    return UserError(f"{error} It has none{needs and f': no {needs}'}; leave out '#{split}'.")


def check_folder(place: str, spec: str) -> None:
    """Refuses a place that is no folder, or that cannot be looked into."""
    if not os.path.isdir(place):
        raise missing_place("folder", place.rstrip("/") or place, spec)
    _list_folder(place)


def _list_folder(folder: str) -> list[str]:
    """The names in a folder, sorted, without those that systems hide."""
    try:
        return sorted(name for name in os.listdir(folder) if not names.is_litter(name))
    except OSError as error:
        raise UserError(f"'{folder}' cannot be looked into: {one_line(error)}.") from error


def _folders(folder: str) -> list[str]:
    return [name for name in _list_folder(folder) if os.path.isdir(os.path.join(folder, name))]


def _with_end(folder: str, *ends: str) -> list[str]:
    """The names of plain files with such an end, in any case of letters."""
    listed = (name for name in _list_folder(folder) if name.lower().endswith(ends))
    return [name for name in listed if os.path.isfile(os.path.join(folder, name))]


def _folders_called(folder: str, wanted: Sequence[str]) -> list[str]:
    """The sub-folders with these names, in any case of letters, with or without an s."""
    rank = {form: at for at, name in enumerate(wanted) for form in _forms(name)}
    found = [name for name in _folders(folder) if name.lower() in rank]
    found.sort(key=lambda name: (rank[name.lower()], name not in wanted))
    return [os.path.join(folder, name) for name in found]


def _forms(name: str) -> tuple[str, str]:
    name = name.lower()
    return name, (name.removesuffix("s") if name.endswith("s") else name + "s")


def unwrap(place: str) -> str:
    """The folder itself, or the one that holds everything, where archives were unpacked."""
    place = place.rstrip(os.sep) or os.sep
    for _ in range(4):
        inner = _folders(place)
        others = [name for name in _list_folder(place) if name not in inner]
        remarks = all(re.match(r"readme|licen[cs]e", name.lower()) for name in others)
        known = {form for name in (*_PICTURES, *_ANNOTATIONS) for form in _forms(name)}
        if len(inner) != 1 or not remarks or inner[0].lower() in known or is_split(inner[0]):
            break
        place = os.path.join(place, inner[0])
    return place


def parts(place: str) -> list[str]:
    """The sub-folders that are named like splits."""
    return [name for name in _folders(place) if is_split(name)]


def part(place: str, split: str) -> str | None:
    """The sub-folder of a split."""
    name = choose(split, _folders(place), f"in '{place}'")
    return os.path.join(place, name) if name else None


def _holds(folder: str, extensions: tuple[str, ...]) -> bool:
    return bool(names.files_of(folder, extensions, most=1))


# --------------------------------------------------------------------------- PASCAL VOC


@dataclasses.dataclass(frozen=True)
class Voc:
    """Where the files of a VOC data set lie.

    Attributes:
        root: the folder of the whole data set.
        annotations: the folder with the .xml files.
        pictures: folders with the images, the likeliest first.
        list_file: names the images of the split; None if the folders do.
        parts: splits whose folders are all read because none was named.
    """

    root: str
    annotations: str
    pictures: tuple[str, ...]
    list_file: str | None = None
    parts: tuple[str, ...] = ()


def voc(spec: str, place: str, split: str | None, pictures: str | None = None) -> Voc:
    """Finds the files of a VOC data set; `pictures` is the folder that the user named.

    Raises:
        UserError: no such folder, no .xml file in it, or no such split.
    """
    check_folder(place, spec)
    found = _voc(spec, _devkit(unwrap(place)), split)
    return found if pictures is None else dataclasses.replace(found, pictures=(pictures,))


def _voc(spec: str, root: str, split: str | None) -> Voc:
    if split is None:
        return _voc_folders(spec, root)
    folder = next(iter(_within(root, split)), None)
    lists = _split_lists(root)
    named = choose(split, lists, f"in '{root}'")
    if named is not None:
        return dataclasses.replace(_voc_folders(spec, root), list_file=lists[named], parts=())
    if folder is None:
        known = [*lists, *(name for base in _bases(root) for name in parts(base))]
        raise no_split(split, root, spec, known, f"ImageSets/Main/{split}.txt and no folder of it")
    return _voc_part(spec, root, split, folder)


def _devkit(place: str) -> str:
    """VOCdevkit and VOC2012 in it, where the user named a folder above."""
    for _ in range(2):
        inner = [name for name in _folders(place) if name.startswith("VOC")]
        if _folders_called(place, _ANNOTATIONS[:1]) or not inner:
            break
        if len(inner) > 1:
            example = os.path.join(place, inner[0])
            raise UserError(f"'{place}' holds {len(inner)} VOC folders; name one, e.g. {example}.")
        place = os.path.join(place, inner[0])
    return place


def _bases(root: str) -> list[str]:
    """Folders that may be divided into splits."""
    return [root, *_folders_called(root, _ANNOTATIONS), *_folders_called(root, _PICTURES)]


def _within(root: str, split: str) -> list[str]:
    """The folders of a split that hold annotations."""
    found = (part(base, split) for base in _bases(root))
    return [folder for folder in found if folder and _holds(folder, (".xml",))]


def _voc_part(spec: str, root: str, split: str, folder: str) -> Voc:
    if os.path.dirname(folder) == root:
        return dataclasses.replace(_voc_folders(spec, folder), root=folder)
    beside = [part(base, split) for base in _folders_called(root, _PICTURES)]
    pictures = [base for base in (*beside, folder) if base and _holds(base, images.EXTENSIONS)]
    pictures = pictures or _folders_called(root, _PICTURES) or [root]
    return Voc(root, folder, tuple(dict.fromkeys(pictures)))


def _voc_folders(spec: str, root: str) -> Voc:
    annotations = next(
        (f for f in _folders_called(root, _ANNOTATIONS) if _holds(f, (".xml",))), root
    )
    problems: list[Problem] = []
    if not names.files_of(annotations, (".xml",), problems, most=1):
        why = f" {problems[0]}." if problems else ""
        raise UserError(f"'{annotations}' holds no .xml annotation (from '{spec}').{why}")
    pictures = _folders_called(root, _PICTURES) or [root]
    if annotations != root and _holds(annotations, images.EXTENSIONS):
        pictures = [*pictures, annotations]
    divided = [name for base in _bases(root) for name in parts(base)]
    return Voc(root, annotations, tuple(pictures), parts=tuple(dict.fromkeys(divided)))


def _split_lists(root: str) -> dict[str, str]:
    """The files that list the images of a split, by the split's name."""
    sets = os.path.join(root, "ImageSets")
    places = [os.path.join(sets, "Main"), sets, root, *_folders_called(root, _ANNOTATIONS)]
    lists: dict[str, str] = {}
    for place in filter(os.path.isdir, places):
        for name in _with_end(place, ".txt"):
            stem = name[:-4]
            if place.startswith(sets) or is_split(stem):
                lists.setdefault(stem, os.path.join(place, name))
    return lists


# --------------------------------------------------------------------------- COCO


@dataclasses.dataclass(frozen=True)
class Coco:
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


def coco(spec: str, place: str, split: str | None, pictures: str | None) -> Coco:
    """Finds the files of a COCO data set; `pictures` is the folder that the user named.

    Raises:
        UserError: no such file or folder, more than one that it may be, or no such split.
    """
    if pictures is not None and not os.path.isdir(pictures):
        raise missing_place("folder", pictures, spec)
    if place.lower().endswith(".json") and not os.path.isdir(place):
        found = _coco_file(spec, place, split)
    else:
        check_folder(place, spec)
        root = unwrap(place)
        found = _coco_split(spec, root, split) if split else _coco_whole(spec, root)
    return (
        found if pictures is None else dataclasses.replace(found, pictures=(pictures,), root=None)
    )


def _coco_file(spec: str, path: str, split: str | None) -> Coco:
    if split:
        raise UserError(
            f"'{path}' is one file without splits: leave out '#{split}', or name the file of that "
            f"split (from '{spec}')."
        )
    if not os.path.exists(path):
        raise missing_place("file", path, spec)
    return _beside(path)


def _beside(path: str) -> Coco:
    """The images of a .json file that was named, or that is the only one."""
    folder = os.path.dirname(path) or "."
    is_inner = os.path.basename(os.path.abspath(folder)).lower() in _forms("annotations")
    root = (os.path.dirname(folder) or os.pardir) if is_inner else folder
    split = _KIND.sub("", os.path.basename(path).removesuffix(".json"))
    return Coco(path, _pictures_of(root, split), (folder, root), root)


def _pictures_of(root: str, split: str) -> tuple[str, ...]:
    """The folders of a split's images, or of all images."""
    inner = _folders_called(root, _PICTURES)
    found = [part(base, split) for base in (root, *inner)]
    return tuple(folder for folder in found if folder) or tuple(inner) or (root,)


def _coco_whole(spec: str, root: str) -> Coco:
    for folder in (root, *_folders_called(root, _ANNOTATIONS)):
        found = _coco_names(folder)
        first = next((name for name in _COCO_FIRST if name in found), None)
        if first or len(found) == 1:
            return _beside(os.path.join(folder, first or found[0]))
        if found:
            raise _which_file(spec, folder, found)
    divided = [name for name in parts(root) if _coco_names(os.path.join(root, name))]
    if len(divided) == 1:
        return _coco_whole(spec, os.path.join(root, divided[0]))
    if divided:
        raise _name_one(spec, root, divided)
    raise UserError(_no_coco(root, spec))


def _name_one(spec: str, folder: str, splits: Sequence[str]) -> UserError:
    return UserError(
        f"'{folder}' holds the splits {', '.join(splits)}: name one, as in '{spec}#{splits[0]}'."
    )


def _which_file(spec: str, folder: str, found: Sequence[str]) -> UserError:
    splits = [name[10:-5] for name in found if name.startswith("instances_")]
    if len(splits) == len(found):
        return _name_one(spec, folder, splits)
    return UserError(
        f"'{folder}' holds no instances.json but {', '.join(found[:6])} (from '{spec}'). "
        "Name it: coco:FILE.json,images=DIR."
    )


def _no_coco(root: str, spec: str) -> str:
    if kind := _other_tool(root):
        return f"'{root}' holds {kind} (from '{spec}')."
    what = "no .json file that is COCO" if _with_end(root, ".json") else "no .json file"
    return (
        f"'{root}' holds no instances.json but {what} (from '{spec}'). "
        "Name it: coco:FILE.json,images=DIR."
    )


def _coco_split(spec: str, root: str, split: str) -> Coco:
    files: dict[str, str] = {}
    for folder in (*_folders_called(root, _ANNOTATIONS), root):
        for name in _coco_names(folder):
            stem = _KIND.sub("", name[:-5])
            files.setdefault(stem, os.path.join(folder, name))
    folders = [name for name in _folders(root) if _is_coco_folder(os.path.join(root, name))]
    known = [*files, *folders]
    named = choose(split, known, f"in '{root}'") or _of_a_year(split, known, root)
    if named in files:
        return Coco(
            files[named],
            _pictures_of(root, named),
            (os.path.dirname(files[named]), root),
        )
    if named in folders:
        return _coco_whole(spec, os.path.join(root, named))
    usual = [name for name in known if is_split(re.sub(r"\d+$", "", name))]
    raise no_split(split, root, spec, usual or known)


def _is_coco_folder(folder: str) -> bool:
    """Whether a folder is a data set of its own, as those of Roboflow are."""
    inner = _folders_called(folder, _ANNOTATIONS)
    is_one = os.path.basename(folder).lower() in {f for n in _ANNOTATIONS for f in _forms(n)}
    return not is_one and any(_coco_names(place) for place in (folder, *inner))


def _of_a_year(split: str, known: Iterable[str], root: str) -> str | None:
    """train2017 for train, if there is one year only."""
    meant = [name for name in known if re.sub(r"_?(19|20)\d\d$", "", name) in aliases(split)]
    if len(meant) > 1:
        raise UserError(f"'#{split}' may be {' or '.join(meant)} in '{root}': write one of them.")
    return meant[0] if meant else None


def _coco_names(folder: str) -> list[str]:
    """The names of the .json files in a folder that are COCO with boxes."""
    found = [name for name in _list_folder(folder) if name.lower().endswith(".json")]
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


# --------------------------------------------------------------------------- YOLO


@dataclasses.dataclass(frozen=True)
class Yolo:
    """Where the files of a YOLO data set without data.yaml lie.

    Attributes:
        root: the folder of the whole data set.
        pictures: the folder with the images, or a file that lists them.
        names_in: folders that may name the classes, the likeliest first.
        parts: splits whose folders are all read because none was named.
    """

    root: str
    pictures: str
    names_in: tuple[str, ...]
    parts: tuple[str, ...] = ()


def data_yaml(place: str) -> str | None:
    """The data.yaml of a folder: a usual name, or the only .yaml file that says the same."""
    found = _with_end(place, ".yaml", ".yml")
    first = next((name for name in _DATA_YAML if name in found), None)
    if first:
        return os.path.join(place, first)
    return _only(place, found, r"^(names|train|nc)\s*:")


def darknet_data(place: str) -> str | None:
    """The obj.data of a folder, as CVAT and Darknet have it."""
    return _only(place, _with_end(place, ".data"), r"^\s*(names|train|valid)\s*=")


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


def yolo(spec: str, place: str, split: str | None) -> Yolo:
    """Finds the images of a folder of YOLO text files without data.yaml.

    Raises:
        UserError: no such split.
    """
    inner = _folders_called(place, _PICTURES)
    whole = inner[0] if inner else place
    if split is None:
        return Yolo(place, whole, _names_in(place, whole), tuple(parts(whole)))
    lists = {name[:-4]: name for name in _with_end(place, ".txt") if is_split(name[:-4])}
    folders = {base: choose(split, _folders(base), f"in '{base}'") for base in (*inner, place)}
    for base, name in folders.items():
        if name:
            folder = os.path.join(base, name)
            pictures = next(iter(_folders_called(folder, _PICTURES)), folder)
            return Yolo(place, pictures, _names_in(place, pictures, folder))
    listed = choose(split, lists, f"in '{place}'")
    if listed:
        return Yolo(place, os.path.join(place, lists[listed]), _names_in(place, whole))
    known = [name for base in (place, *inner) for name in parts(base)]
    raise no_split(split, place, spec, [*known, *lists])


def _names_in(place: str, *pictures: str) -> tuple[str, ...]:
    """Folders that may hold classes.txt: the set's, and those of labels and images."""
    twins = [twin for folder in pictures if (twin := label_twin(folder))]
    near = [folder for folder in (*twins, *pictures) if os.path.isdir(folder)]
    divided = [os.path.join(folder, name) for folder in near for name in parts(folder)]
    inner = [
        folder for name in ("labels", "annotations") for folder in _folders_called(place, (name,))
    ]
    return tuple(dict.fromkeys((place, *near, *divided, *inner)))


def label_twin(path: str) -> str | None:
    """The path with labels/ in the place of the last folder that is named like one of images."""
    pieces = path.split(os.sep)
    wanted = {form for name in _PICTURES for form in _forms(name)}
    for at in range(len(pieces) - 1, -1, -1):
        if pieces[at].lower() in wanted:
            return os.sep.join([*pieces[:at], "labels", *pieces[at + 1 :]])
    return None


# --------------------------------------------------------------------------- any format


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
    if not found and (other := _other_tool(place)):
        raise UserError(f"'{place}' holds {other}.")
    return found or (["yolo"] if any(map(_has_pictures, divided)) else [])


def _other_tool(place: str) -> str:
    """Which tool's files a folder holds that are not read, and what to do; "" if none."""
    found = (os.path.join(place, name) for name in _with_end(place, ".json")[:20])
    return next(filter(None, map(json_kind, found)), "")


def _formats(place: str) -> list[str]:
    return [name for name, test in _SIGNS.items() if test(place)]


def _has_tfds(place: str) -> bool:
    return {"features.json", "dataset_info.json"} <= set(_list_folder(place))


def _has_voc(place: str) -> bool:
    folders = (*_folders_called(place, _ANNOTATIONS), *_folders_called(place, _PICTURES))
    devkit = any(name.startswith("VOC") for name in _folders(place))
    return bool(
        devkit or _with_end(place, ".xml") or any(_holds(folder, (".xml",)) for folder in folders)
    )


def _has_yolo(place: str) -> bool:
    if data_yaml(place) or darknet_data(place):
        return True
    labels = [folder for folder in _folders_called(place, ("labels",)) if _holds(folder, (".txt",))]
    return bool(labels)


def _has_coco(place: str) -> bool:
    return any(_coco_names(folder) for folder in (place, *_folders_called(place, _ANNOTATIONS)))


def _has_records(place: str) -> bool:
    return any(record_file.is_record(name) for name in _list_folder(place))


def _has_csv(place: str) -> bool:
    return bool(_with_end(place, ".csv", ".tsv"))


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
        _folders_called(place, ("labels", *_PICTURES)) or _with_end(place, *images.EXTENSIONS)
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
        raise _name_one(spec, place, divided)
    named = choose(split, divided, f"in '{place}'") if split else next(iter(divided), None)
    return (os.path.join(place, named), None) if named else (place, split)
