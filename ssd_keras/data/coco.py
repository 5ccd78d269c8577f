"""COCO: one .json with images, annotations and categories, and a folder of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data import checks, coco_content, coco_layout, image_index, names, options, turned
from ssd_keras.data.coco_content import LARGEST_ID
from ssd_keras.data.coco_table import CocoTable, Pictures
from ssd_keras.data.rows import known_area
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.data.text import mark, number


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a COCO data set.

    Args:
        spec: how the user named the data, for messages.
        place: a folder in one of the ways of `coco_layout.find`, or `FILE.json`; behind either may
            stand `,images=DIR` and `,units=UNIT`.
        split: of a folder; a FILE.json has none.
        classes: class names; None takes the categories, sorted by their id.

    Raises:
        UserError: no such file, no JSON, or not one usable image.
    """
    place, chosen = options.split(spec, place, options.IMAGES | options.UNITS)
    layout = coco_layout.find(spec, place, split, chosen.get("images"))
    problems: list[Problem] = []
    with coco_content.no_collection():
        content = coco_content.read(layout.path, problems)
        categories = dict(_categories(content.categories, layout.path, problems))
        _leave_out_placeholder(categories, content, layout.path, classes or (), problems)
        pictures = _pictures(content.images, layout, problems)
        table = _table(content.annotations, layout.path, categories, pictures, problems)
        del content, pictures
    if classes is None:
        in_order = sorted(categories, key=lambda key: (isinstance(key, str), key))
        classes = list(dict.fromkeys(categories[key] for key in in_order))
    source = checks.assemble(spec, classes, table, problems, chosen.get("units"))
    source.category_ids = _numbers(categories, source.classes)
    return source


def _numbers(categories: dict, classes: Sequence[str]) -> dict[int, int] | None:
    """Category id to label, if all ids are numbers."""
    if not all(isinstance(key, int) for key in categories):
        return None
    label = {name: index for index, name in enumerate(classes)}
    return {key: label[name] for key, name in categories.items() if name in label}


def _key(value) -> int | str | None:
    """An id in the form in which 1, 1.0 and "1" are equal; None for none."""
    if type(value) is int and -LARGEST_ID < value < LARGEST_ID:
        return value
    as_number = number(value)
    if as_number is not None and math.isfinite(as_number) and abs(as_number) < LARGEST_ID:
        return int(as_number) if as_number == int(as_number) else str(value)
    return value if value is None else names.normalize(str(value)[:500])


def _categories(
    categories: Sequence, path: str, problems: list[Problem]
) -> Iterator[tuple[int | str, str]]:
    """Pairs of id and class name."""
    seen: dict[int | str, str] = {}
    ids: dict[str, int | str] = {}
    for index, category in enumerate(categories):
        place = f"{path}, categories[{index}]"
        fields = category if isinstance(category, dict) else {}
        key, name = _key(fields.get("id")), fields.get("name")
        if key is None or not isinstance(name, str | int | float):
            message = f"needs id and name, is {_brief(category)}"
            problems.append(Problem("broken_class", place, message, LEFT_OUT))
        elif key in seen:
            message = f"id {key} already is '{seen[key]}'"
            problems.append(Problem("duplicate_class", place, message, LEFT_OUT))
        else:
            name = names.normalize(str(name))
            if (same := ids.setdefault(name, key)) != key:
                message = f"the ids {same} and {key} have the same name '{name}': one class"
                problems.append(Problem("duplicate_class", place, message, NOTED))
            seen[key] = name
            yield key, name


def _leave_out_placeholder(
    categories: dict[int | str, str],
    content: coco_content.Content,
    path: str,
    classes: Sequence[str],
    problems: list[Problem],
) -> None:
    """Takes the category away that Roboflow writes first, with the name of the project.

    It has no object and is the supercategory of all others; as a class it would move the numbers of
    the others. Where the user asks for a class of that name it stays.
    """
    numbers = [key for key in categories if isinstance(key, int)]
    key = min(numbers, default=None)
    if key is None or len(categories) < 2 or categories[key] in classes:
        return
    name = categories[key]
    fields = [one for one in content.categories if isinstance(one, dict)]
    above = {_key(one.get("id")): one.get("supercategory") for one in fields}
    if any(above.get(other) != name for other in categories if other != key):
        return
    odd = content.annotations.odd
    used = {_key(one.get("category_id")) for one in odd.values() if isinstance(one, dict)}
    plain = np.ones(len(content.annotations), bool)
    plain[list(odd)] = False
    if key in used or (content.annotations.category[plain] == key).any():
        return
    del categories[key]
    message = (
        f"'{name}' (id {key}) is the supercategory of all other categories and has no object, as "
        "Roboflow writes the name of the project: it is no class"
    )
    problems.append(Problem("placeholder_class", path, message, NOTED))


def _brief(value) -> str:
    """A value of JSON in a message; its text may be long, or its parts many."""
    if isinstance(value, dict):
        return f"an object with {', '.join(list(value)[:6])[:80] or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 8 else repr(value)[:80]
    return repr(value)[:80]


def _pictures(
    entries: Sequence, layout: coco_layout.CocoLayout, problems: list[Problem]
) -> Pictures:
    """The images, by their ids; with the reason where one is missing."""
    pictures = Pictures(layout.path)
    wanted: list[str] = []
    for index, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        key, name = _key(fields.get("id")), fields.get("file_name")
        if key is None or not isinstance(name, str | int | float):
            message, place = "needs id and file_name", f"{layout.path}, images[{index}]"
            problems.append(Problem("broken_image_entry", place, message, REFUSED, images_lost=1))
            continue
        if key in pictures.place_of:
            message, place = f"the id {key} was already used", f"{layout.path}, images[{index}]"
            problem = Problem("duplicate_image", place, message, LEFT_OUT, images_lost=1)
            problems.append(problem)
            continue
        size = number(fields.get("height")), number(fields.get("width"))
        called = fields["id"] if isinstance(fields["id"], str) else str(key)
        pictures.place_of[key] = len(wanted)
        pictures.ids.append(called)
        pictures.declared.append(size)
        pictures.at.append(index)
        wanted.append(str(name))
    _find_images(pictures, wanted, layout, problems)
    return pictures


def _find_images(
    pictures: Pictures,
    wanted: Sequence[str],
    layout: coco_layout.CocoLayout,
    problems: list[Problem],
) -> None:
    index = image_index.ImageIndex(layout.pictures, problems, bases=layout.bases)
    found = index.find_all(wanted)
    problems += image_index.notes(found.values(), layout.path)
    anywhere = image_index.ImageIndex([layout.root]) if layout.root else None
    for place, name in enumerate(wanted):
        one = found[name]
        if not one.path and one == image_index.MISSING and anywhere is not None:
            other = anywhere.find(name)
            one = other if other.sure else one
        pictures.paths.append(one.path or "")
        if not one.path:
            where = f"in {layout.pictures[0]}"
            pictures.missing[place] = image_index.why_missing(name, one, where)
    _join_entries(pictures, problems)


def _join_entries(pictures: Pictures, problems: list[Problem]) -> None:
    """Takes entries of one file and size for one image, so that none of their objects is lost."""
    first: dict[tuple, int] = {}
    twice = set()
    for key, place in pictures.place_of.items():
        path, missing = pictures.paths[place], pictures.missing.get(place)
        same = first.setdefault((path, pictures.declared[place], missing), place)
        if same != place:
            pictures.place_of[key] = same
            twice.add(place)
            message = f"'{path}' stands in {pictures.stated_at(same)}, too: they are one image"
            problems.append(
                Problem(
                    "duplicate_image",
                    pictures.stated_at(place),
                    message,
                    NOTED,
                    image=pictures.image(place),
                )
            )
    pictures.leave_out(twice)


def _table(
    annotations: coco_content.Annotations,
    path: str,
    categories: dict,
    pictures: Pictures,
    problems: list[Problem],
) -> CocoTable:
    """The objects beside their images."""
    names = list(dict.fromkeys(categories.values()))
    name_of = {key: names.index(name) for key, name in categories.items()}
    image = _looked_up(annotations.image, pictures.place_of)
    name = _looked_up(annotations.category, name_of)
    boxes, crowd, area = annotations.boxes, annotations.crowd.copy(), annotations.area.copy()
    turn = annotations.turn.copy()
    corners = np.column_stack([boxes[:, 1], boxes[:, 0], boxes[:, 1] + boxes[:, 3],
                               boxes[:, 0] + boxes[:, 2]])  # fmt: skip
    odd = (image < 0) | (name < 0)
    odd[list(annotations.odd)] = True
    for index in np.flatnonzero(odd).tolist():
        place = f"{path}, annotations[{index}]"
        found = _object(annotations.at(index), place, categories, pictures)
        image[index] = -1
        if isinstance(found, Problem):
            problems.append(found)
            continue
        image[index], name[index] = found.place, name_of[found.category]
        corners[index], crowd[index], area[index] = found.corners, found.crowd, found.area
        turn[index] = found.turn or 0
        if found.turn is None:
            written = coco_content.rotation_of(annotations.at(index))
            called = categories[found.category], written, pictures.image(found.place)
            problems.append(turned.note_unclear(place, *called))
    is_turned = np.flatnonzero((image >= 0) & (turn != 0))
    corners[is_turned] = turned.upright(corners[is_turned], turn[is_turned])
    for index in is_turned.tolist():
        place, of = f"{path}, annotations[{index}]", pictures.image(image[index])
        problems.append(turned.note(place, names[name[index]], turn[index], of))
    _note_repeated_ids(annotations, path, problems)
    return CocoTable(pictures, names, image, name, corners, crowd, area)


def _looked_up(keys: np.ndarray, table: Mapping) -> np.ndarray:
    """What a table has for each of the keys, -1 where it has nothing."""
    different, inverse = np.unique(keys, return_inverse=True)
    found = np.array([table.get(key, -1) for key in different.tolist()], np.int64)
    return found[inverse] if len(keys) else np.zeros(0, np.int64)


def _note_repeated_ids(
    annotations: coco_content.Annotations, path: str, problems: list[Problem]
) -> None:
    numbers = annotations.number
    if not annotations.odd and (np.diff(np.sort(numbers)) > 0).all():
        return
    seen, repeated = set(), []
    for index, key in enumerate(numbers.tolist()):
        if index in annotations.odd:
            one = annotations.odd[index]
            if not isinstance(one, dict):
                continue
            key = _key(one.get("id"))
        if key is None or key == coco_content.NO_ID:
            continue
        if key in seen:
            repeated.append(index)
        seen.add(key)
    if repeated:
        message = (
            f"the ids of {len(repeated)} annotations were already used; they mean nothing to a "
            "detector, and all are kept"
        )
        place = f"{path}, annotations[{repeated[0]}]"
        problems.append(Problem("duplicate_id", place, message, NOTED))


class _Object(NamedTuple):
    """An annotation that is good: which image and category it is of, and its columns."""

    place: int
    category: int | str
    corners: tuple[float, float, float, float]
    crowd: bool
    area: float
    turn: float | None


def _object(annotation, place: str, categories: dict, pictures: Pictures) -> _Object | Problem:
    """An object, or why it is none; of a known image it is counted as lost then."""
    if not isinstance(annotation, dict):
        message = "is no object with image_id, category_id and bbox"
        return Problem("broken_box", place, message, LEFT_OUT, ("",))
    image, category = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
    name = categories.get(category, "")
    at = pictures.place_of.get(image)
    if at is None:
        message = f"its image_id {_brief(annotation.get('image_id'))} is not among the images"
        return Problem("unknown_image", place, message, LEFT_OUT, (name,))
    if category not in categories:
        message = (
            f"its category_id {_brief(annotation.get('category_id'))} is not among the categories"
        )
        return pictures.reject(at, "unknown_class", place, message)
    box = annotation.get("bbox")
    numbers = [number(value) for value in box] if isinstance(box, list) else []
    if len(numbers) != 4 or None in numbers:
        message = f"its bbox is {_brief(box)}, not four numbers"
        return pictures.reject(at, "broken_box", place, message, name=name)
    x, y, width, height = numbers
    crowd = mark(annotation.get("iscrowd"))
    if crowd is None:
        message = f"its iscrowd is {_brief(annotation['iscrowd'])}: write 1 or 0"
        return pictures.reject(at, "broken_mark", place, message, REFUSED, name=name)
    area = known_area(number(annotation.get("area")))
    turn = turned.degrees_of(coco_content.rotation_of(annotation))
    return _Object(at, category, (y, x, y + height, x + width), crowd, area, turn)
