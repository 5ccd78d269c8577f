"""YOLO text: a .txt for each image, with lines `class cx cy w h` in shares of the image."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from ssd_keras.data import (
    checks,
    data_yaml,
    file_lists,
    image_index,
    names,
    options,
    split_folders,
    text,
    yolo_label_files,
    yolo_labels,
    yolo_layout,
)
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.data.yolo_classes import check_first_number, class_lines, class_names
from ssd_keras.data.yolo_labels import Labelled
from ssd_keras.errors import UserError, missing_place

_LISTS = (".txt", ".list", ".lst")


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a YOLO data set.

    Args:
        spec: how the user named the data, for messages.
        place: data.yaml or obj.data, a folder that holds one, or a bare folder in one of the ways
            of `yolo_layout.find`; behind it may stand `,units=UNIT`.
        split: "train" by default where a file names the splits; in a bare folder a sub-folder, or
            a list of images.
        classes: class names in the order of their numbers; None takes them from the files.

    Raises:
        UserError: no such file or split, or not one usable image.
    """
    place, chosen = options.split(spec, place, options.UNITS)
    problems: list[Problem] = []
    data = _find(spec, place, split, problems)
    read = _read_labels(data, problems)
    keypoints, task = (data.yaml.keypoints, data.yaml.task) if data.yaml else (None, "")
    yolo_labels.decide_shapes(read, keypoints, task, problems)
    known = _known_names(data, read, classes, problems)
    rows = [_row(one, known, problems) for one in read]
    for row, name in zip(rows, names.image_ids([row.path for row in rows]), strict=True):
        row.image_id = name
        row.path = "" if row.missing else row.path
    if classes is None:
        classes = [known[key] for key in sorted(known)]
        if not data.is_named:
            classes += sorted({n for row in rows for n in row.names if n and n not in classes})
    return checks.assemble(spec, classes, rows, problems, chosen.get("units"))


# --------------------------------------------------------------------------- which images


@dataclasses.dataclass(frozen=True)
class _Found:
    """The images of a split, and what is said of their labels.

    Attributes:
        root: the folder of the data set.
        files: the image files.
        names: class names by number.
        is_named: whether a file names the classes.
        folders: the folders that were read whole; none where a file lists the images.
        yaml: the data.yaml, if there is one.
    """

    root: str
    files: list[str]
    names: dict[int, str]
    is_named: bool
    folders: tuple[str, ...] = ()
    yaml: data_yaml.DataYaml | None = None


def _find(spec: str, place: str, split: str | None, problems: list[Problem]) -> _Found:
    if not os.path.exists(place):
        raise missing_place("file or folder", place, spec)
    if not os.path.isdir(place):
        return _from_file(spec, place, split, problems)
    split_folders.check_folder(place, spec)
    root = split_folders.unwrap(place)
    stated = yolo_layout.data_yaml(root) or yolo_layout.darknet_data(root)
    if stated:
        return _from_file(spec, stated, split, problems)
    return _from_folder(spec, root, split, problems)


def _from_file(spec: str, path: str, split: str | None, problems: list[Problem]) -> _Found:
    base = os.path.dirname(os.path.abspath(path))
    is_darknet = path.lower().endswith(".data")
    data = _darknet(path, problems) if is_darknet else data_yaml.read(path, problems)
    key = split_folders.choose(split or "train", data.splits, f"in '{path}'")
    if key is None and not data.splits:
        raise UserError(f"'{path}' names no images: write a line 'train: FOLDER' (from '{spec}').")
    if key is None:
        raise split_folders.no_split(split or "train", path, spec, data.splits)
    root = _root(data, base, problems)
    bases = tuple(dict.fromkeys((root, base)))
    files, folders = [], []
    for written in data.splits[key]:
        found, note = data_yaml.folder_of(written, bases)
        if found is None:
            raise UserError(f"'{key}: {written}' in '{path}' does not exist (from '{spec}').")
        if not os.path.isdir(found) and not found.lower().endswith(_LISTS):
            raise UserError(f"'{key}: {written}' in '{path}' is neither a folder nor a .txt file.")
        if note and not is_darknet:
            problems.append(Problem("other_place", path, f"{key}: {note}", NOTED))
        files += _images(found, bases, problems)
        folders += [found] if os.path.isdir(found) else []
    return _Found(bases[0], files, data.names, bool(data.names), tuple(folders), data)


def _root(data: data_yaml.DataYaml, base: str, problems: list[Problem]) -> str:
    """The folder of the data set: that of data.yaml where its `path` is another machine's."""
    if not data.root:
        return base
    root, note = data_yaml.folder_of(data.root, (base,))
    if root is None and names.parts_of(data.root)[-1:] != (os.path.basename(base),):
        note = f"its path '{data.root}' does not exist here; the folder of the file is taken"
    if note:
        problems.append(Problem("other_place", data.path, note, NOTED))
    return root or base


def _darknet(path: str, problems: list[Problem]) -> data_yaml.DataYaml:
    """obj.data, as CVAT and Darknet have it: lines `key = value`."""
    lines = text.lines(text.read_text(path, problems, limit=data_yaml.MAX_BYTES))
    pairs = [line.partition("=") for line in lines if "=" in line]
    content = {key.strip().lower(): value.strip() for key, _, value in pairs}
    splits = {key: (value,) for key, value in content.items() if split_folders.is_split(key)}
    base = os.path.dirname(os.path.abspath(path))
    found: dict[int, str] = {}
    if content.get("names"):
        named, _ = data_yaml.folder_of(content["names"], (base,))
        if named is None:
            raise UserError(f"'names = {content['names']}' in '{path}' does not exist.")
        found = class_lines(named, problems)
    return data_yaml.DataYaml(path, found, splits)


def _from_folder(spec: str, root: str, split: str | None, problems: list[Problem]) -> _Found:
    layout = yolo_layout.find(spec, root, split)
    if len(layout.parts) > 1:
        message = f"no split was named: {', '.join(layout.parts)} are read as one"
        problems.append(Problem("all_splits", root, message, NOTED))
    files = _images(layout.pictures, (root,), problems)
    named = class_names(layout.names_in, problems)
    folders = (layout.pictures,) if os.path.isdir(layout.pictures) else ()
    return _Found(root, files, named, bool(named), folders)


def _images(place: str, bases: tuple[str, ...], problems: list[Problem]) -> list[str]:
    """The images in a folder, or those that a file lists."""
    if os.path.isdir(place):
        return file_lists.image_files(place, problems)
    index = image_index.ImageIndex(
        (os.path.dirname(place), *bases), problems, bases=map(os.path.dirname, bases)
    )
    lines = enumerate(text.lines(text.read_text(place, problems)), 1)
    wanted = {number: line.strip() for number, line in lines if line.strip()}
    # CVAT's lists begin with the folder that the user unpacks into.
    found = index.find_all(_without_data(name, bases) for name in wanted.values())
    files = []
    for line_number, name in wanted.items():
        one = found[_without_data(name, bases)]
        if one.path:
            files.append(one.path)
            continue
        message = image_index.why_missing(name, one)
        at = f"{place}:{line_number}"
        problems.append(Problem("missing_image", at, message, LEFT_OUT, images_lost=1))
    problems += image_index.notes(found.values(), place)
    return files


def _without_data(name: str, bases: tuple[str, ...]) -> str:
    inner = name.removeprefix("data/")
    return inner if any(os.path.isfile(os.path.join(base, inner)) for base in bases) else name


# --------------------------------------------------------------------------- which classes


def _known_names(
    data: _Found, read: Sequence[Labelled], given: Sequence[str] | None, problems: list[Problem]
) -> dict[int, str]:
    """Class names by number: those of the files, of a list of names, or the numbers that occur.

    A list of numbers was made of files like these, such as the training data's: each is the name of
    itself, wherever it stands.
    """
    numbers = sorted({line.label for one in read for line in one.lines if line.label is not None})
    if not data.is_named and given and all(name.isdecimal() for name in given):
        return {n: str(n) for n in numbers} | {int(name): name for name in given}
    chosen = data.names if data.is_named else dict(enumerate(given or ()))
    check_first_number(data.root, numbers, chosen)
    if data.is_named:
        return data.names
    if not given and numbers:
        listed = ", ".join(map(str, numbers[:8]))
        message = f"no file names the classes: they are called by their numbers ({listed})"
        problems.append(Problem("class_numbers", data.root, message, NOTED))
    return {n: chosen.get(n, str(n)) for n in numbers} | chosen


# --------------------------------------------------------------------------- which labels


def _read_labels(data: _Found, problems: list[Problem]) -> list[Labelled]:
    """The lines of all label files: those of the images, and those whose image is not there."""
    labels = yolo_label_files.LabelFiles(data.root, data.files, data.folders)
    read = [_of_image(path, labels, problems) for path in labels.refuse_shared(problems)]
    read += [_without_image(path, problems) for path in labels.without_image()]
    problems += labels.notes()
    return [one for one in read if one is not None]


def _of_image(
    path: str, labels: yolo_label_files.LabelFiles, problems: list[Problem]
) -> Labelled | None:
    label_file, name = labels.path(path), os.path.basename(path)
    if label_file is None:
        expected = yolo_label_files.usual_places(path)[0]
        message = f"the label file '{expected}' does not exist: an image without objects"
        problems.append(Problem("missing_annotation", path, message, NOTED, image=name))
        return Labelled(path, expected, [])
    try:
        return yolo_labels.read(path, label_file, problems)
    except UserError as error:
        place, message = label_file, str(error)
        problem = Problem("broken_annotation", place, message, REFUSED, image=name, images_lost=1)
        problems.append(problem)
        return None


def _without_image(label_file: str, problems: list[Problem]) -> Labelled | None:
    try:
        found = yolo_labels.read(label_file, label_file, problems)
    except UserError:
        return None
    found.missing = "there is no image of its name"
    return found


def _row(image: Labelled, known: Mapping[int, str], problems: list[Problem]) -> checks.Row:
    row = checks.Row(
        "",
        image.path,
        declared_at=image.label_file,
        normalized=not image.in_pixels,
        tolerance=0.5 if image.in_pixels else checks.SHARE_TOLERANCE,
        missing=image.missing,
        point="corner" if image.in_pixels else "centre" * all(n.count == 4 for n in image.lines),
    )
    for line in image.lines:
        # Numbers that no file names stay numbers, and are reported as unknown.
        name = line.name if line.label is None else known.get(line.label, str(line.label))
        if line.fault:
            kind, message = line.fault
            problems.append(row.reject(kind, line.place, message, REFUSED, name=name))
        else:
            row.add(name, line.box, line.place)
    return row
