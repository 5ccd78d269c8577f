"""COCO: one .json with images, annotations and categories, and a folder of images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from ssd_keras.data import checks
from ssd_keras.data.source import LEFT_OUT, REFUSED, Problem, Source
from ssd_keras.errors import UserError, did_you_mean


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a COCO data set.

    Args:
        spec: how the user named the data, for messages.
        place: `DIR` with instances.json (or the one .json in it) and images/; or
            `FILE.json,images=DIR`. With a split, `DIR/SPLIT` or `annotations/instances_SPLIT.json`
            and `SPLIT/` as COCO is shipped.
        split: see above; a FILE.json has none.
        classes: class names; None takes the categories, sorted by their id.

    Raises:
        UserError: no such file, no JSON, or not one usable image.
    """
    path, folder = _files(spec, place, split)
    content = _json(path)
    problems: list[Problem] = []

    def problem(kind, place, message, action=LEFT_OUT):
        problems.append(Problem(kind, f"{path}, {place}", message, action))

    names = {}
    for index, category in enumerate(content["categories"]):
        try:
            key, name = _key(category["id"]), str(category["name"]).strip()
        except (KeyError, TypeError):
            problem("broken_class", f"categories[{index}]", f"needs id and name, is {category}")
            continue
        if key in names:
            problem(
                "duplicate_class", f"categories[{index}]", f"id {key} already is '{names[key]}'"
            )
            continue
        names[key] = name
    if classes is None:
        in_order = sorted(names, key=lambda key: (isinstance(key, str), key))
        classes = list(dict.fromkeys(names[key] for key in in_order))
    rows = _rows(content, folder, problem, path)
    seen = set()
    for index, annotation in enumerate(content["annotations"]):
        at = f"annotations[{index}]"
        if not isinstance(annotation, dict):
            problem("broken_box", at, "is no object with image_id, category_id and bbox")
            continue
        key = _key(annotation.get("id"))
        if key is not None and key in seen:
            problem("duplicate_id", at, f"the id {key} was already used")
            continue
        seen.add(key)
        image = _key(annotation.get("image_id"))
        row = rows.get(image)
        if row is None:
            problem("unknown_image", at, f"its image_id {image} is not among the images")
            continue
        category = _key(annotation.get("category_id"))
        if category not in names:
            problem("unknown_class", at, f"its category_id {category} is not among the categories")
            continue
        box = annotation.get("bbox")
        try:
            x, y, width, height = (float(value) for value in box)
        except (TypeError, ValueError):
            problem("broken_box", at, f"its bbox is {box}, not four numbers")
            continue
        crowd = bool(annotation.get("iscrowd", 0))
        area = _number(annotation.get("area"))
        corners = (y, x, y + height, x + width)
        row.add(names[category], corners, f"{path}, {at}", crowd=crowd, area=area)
    present = [row for row in rows.values() if row.path]
    source = checks.assemble(spec, classes, present, problems)
    if all(isinstance(key, int) for key in names):
        label = {name: i for i, name in enumerate(source.classes)}
        source.category_ids = {key: label[name] for key, name in names.items() if name in label}
    return source


def _rows(content, folder, problem, path) -> dict:
    """Rows by image id; without path where the image is missing, which is reported once."""
    rows = {}
    for index, image in enumerate(content["images"]):
        at = f"images[{index}]"
        try:
            key, name = _key(image["id"]), str(image["file_name"])
        except (KeyError, TypeError):
            problem("broken_image_entry", at, "needs id and file_name", REFUSED)
            continue
        if key in rows:
            problem("duplicate_image", at, f"the id {key} was already used")
            continue
        picture = os.path.join(folder, name)
        if not os.path.isfile(picture):
            problem("missing_image", at, f"its image '{name}' does not exist in {folder}")
            rows[key] = checks.Row(str(key), "")
            continue
        size = tuple(_number(image.get(side)) for side in ("height", "width"))
        rows[key] = checks.Row(str(key), picture, declared_size=size, declared_at=f"{path}, {at}")
    return rows


def _key(value):
    """An id as it is, or as text where it is nothing that can be looked up."""
    return value if value is None or isinstance(value, int | str) else str(value)


def _number(value) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _files(spec: str, place: str, split: str | None) -> tuple[str, str]:
    place, _, option = place.partition(",")
    folder = None
    if option:
        key, _, folder = option.partition("=")
        if key != "images" or not folder:
            raise UserError(f"Expected 'images=DIR' after the comma in '{spec}', not '{option}'.")
    if place.endswith(".json"):
        if split:
            raise UserError(
                f"'{place}' is one file without splits: leave out '#{split}', or name the file of "
                f"that split (from '{spec}')."
            )
        path = place
        folder = folder or _image_folder(os.path.dirname(place) or ".")
    else:
        path, folder = _in_folder(spec, place, split, folder)
    if not os.path.isfile(path):
        parent = os.path.dirname(path) or "."
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"There is no file '{path}' (from '{spec}')."
            + did_you_mean(os.path.basename(path), near)
        )
    if not os.path.isdir(folder):
        raise UserError(f"There is no folder '{folder}' for the images (from '{spec}').")
    return path, folder


def _image_folder(folder: str) -> str:
    inner = os.path.join(folder, "images")
    return inner if os.path.isdir(inner) else folder


def _in_folder(spec, place, split, folder) -> tuple[str, str]:
    if not os.path.isdir(place):
        parent = os.path.dirname(os.path.abspath(place))
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"There is no folder '{place}' (from '{spec}')."
            + did_you_mean(os.path.basename(place.rstrip("/")), near)
        )
    if split:
        official = os.path.join(place, "annotations", f"instances_{split}.json")
        if os.path.isfile(official):
            return official, folder or os.path.join(place, split)
        if os.path.isdir(os.path.join(place, split)):
            place = os.path.join(place, split)
        else:
            known = sorted(n for n in os.listdir(place) if os.path.isdir(os.path.join(place, n)))
            raise UserError(
                f"There is no split '{split}' in '{place}' (from '{spec}')."
                + did_you_mean(split, known)
            )
    path = os.path.join(place, "instances.json")
    if not os.path.isfile(path):
        found = sorted(name for name in os.listdir(place) if name.endswith(".json"))
        if len(found) != 1:
            what = f"{len(found)} .json files" if found else "no .json file"
            raise UserError(
                f"'{place}' holds no instances.json but {what} (from '{spec}'). "
                "Name it: coco:FILE.json,images=DIR."
            )
        path = os.path.join(place, found[0])
    return path, folder or _image_folder(place)


def _json(path: str) -> dict:
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable JSON: {error}.") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        raise UserError(f"'{path}' needs the lists images, annotations and categories.")
    return content
