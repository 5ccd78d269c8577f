"""COCO: one .json with images, annotations and categories, and a folder of images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from ssd_keras.data import checks, coco_layout, image_index, names, options, text
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.data.text import mark, number
from ssd_keras.errors import UserError, one_line

# Twice the annotations of the largest public data sets.
MAX_JSON_BYTES = 4 << 30
# From here on not every whole number is a float.
_LARGEST_ID = 1 << 53


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
    content = _content(layout.path, problems)
    categories = dict(_categories(content["categories"], layout.path, problems))
    rows = _rows(content["images"], layout, problems)
    _add_objects(content["annotations"], layout.path, categories, rows, problems)
    if classes is None:
        in_order = sorted(categories, key=lambda key: (isinstance(key, str), key))
        classes = list(dict.fromkeys(categories[key] for key in in_order))
    images = {id(row): row for row in rows.values()}.values()
    source = checks.assemble(spec, classes, images, problems, chosen.get("units"))
    source.category_ids = _numbers(categories, source.classes)
    return source


def _numbers(categories: dict, classes: Sequence[str]) -> dict[int, int] | None:
    """Category id to label, if all ids are numbers."""
    if not all(isinstance(key, int) for key in categories):
        return None
    label = {name: index for index, name in enumerate(classes)}
    return {key: label[name] for key, name in categories.items() if name in label}


def _content(path: str, problems: list[Problem]) -> dict:
    written = text.read_text(path, problems, limit=MAX_JSON_BYTES)
    try:
        content = json.loads(written, object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is no readable JSON: {_reason(error)}.") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        kind = coco_layout.json_kind(path)
        what = f" It is of {kind}." if kind else ""
        raise UserError(f"'{path}' needs the lists images, annotations and categories.{what}")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    # Python's advice is to allow longer numbers, which take it very long.
    return "a number is too long" if "Exceeds the limit" in str(error) else one_line(error)


def _without_repeated_keys(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            # Another value would be lost without a word.
            if value != found[key] and value == value:
                raise ValueError(f"'{key[:40]}' stands twice in one object")
    return found


def _key(value) -> int | str | None:
    """An id in the form in which 1, 1.0 and "1" are equal; None for none."""
    as_number = number(value)
    if as_number is not None and math.isfinite(as_number) and abs(as_number) < _LARGEST_ID:
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


def _brief(value) -> str:
    """A value of JSON in a message; its text may be long, or its parts many."""
    if isinstance(value, dict):
        return f"an object with {', '.join(list(value)[:6])[:80] or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 8 else repr(value)[:80]
    return repr(value)[:80]


def _rows(
    entries: Sequence, layout: coco_layout.CocoLayout, problems: list[Problem]
) -> dict[int | str, checks.Row]:
    """Rows by image id; with the reason where the image is missing."""
    rows: dict[int | str, checks.Row] = {}
    wanted: dict[int | str, str] = {}
    for index, entry in enumerate(entries):
        place = f"{layout.path}, images[{index}]"
        fields = entry if isinstance(entry, dict) else {}
        key, name = _key(fields.get("id")), fields.get("file_name")
        if key is None or not isinstance(name, str | int | float):
            message = "needs id and file_name"
            problems.append(Problem("broken_image_entry", place, message, REFUSED, images_lost=1))
            continue
        if key in rows:
            message = f"the id {key} was already used"
            problem = Problem("duplicate_image", place, message, LEFT_OUT, images_lost=1)
            problems.append(problem)
            continue
        size = tuple(number(fields.get(side)) for side in ("height", "width"))
        called = fields["id"] if isinstance(fields["id"], str) else str(key)
        rows[key] = checks.Row(called, "", declared_size=size, declared_at=place, point="corner")
        wanted[key] = str(name)
    _find_images(rows, wanted, layout, problems)
    return rows


def _find_images(
    rows: dict, wanted: dict, layout: coco_layout.CocoLayout, problems: list[Problem]
) -> None:
    index = image_index.ImageIndex(layout.pictures, problems, bases=layout.bases)
    found = index.find_all(wanted.values())
    problems += image_index.notes(found.values(), layout.path)
    anywhere = image_index.ImageIndex([layout.root]) if layout.root else None
    for key, name in wanted.items():
        one = found[name]
        if one == image_index.MISSING and anywhere is not None:
            other = anywhere.find(name)
            one = other if other.sure else one
        rows[key].path = one.path or ""
        if not one.path:
            rows[key].missing = image_index.why_missing(name, one, f"in {layout.pictures[0]}")
    _join_entries(rows, problems)


def _join_entries(rows: dict[int | str, checks.Row], problems: list[Problem]) -> None:
    """Gives entries of one file and size one row, so that none of their objects is lost."""
    first: dict[tuple, checks.Row] = {}
    for key, row in rows.items():
        rows[key] = first.setdefault((row.path, row.declared_size, row.missing), row)
        if rows[key] is not row:
            message = f"'{row.path}' stands in {rows[key].declared_at}, too: they are one image"
            problems.append(
                Problem("duplicate_image", row.declared_at, message, NOTED, image=row.image)
            )


def _add_objects(
    annotations: Sequence, path: str, categories: dict, rows: dict, problems: list[Problem]
) -> None:
    seen, repeated = set(), []
    for index, annotation in enumerate(annotations):
        place = f"{path}, annotations[{index}]"
        if not isinstance(annotation, dict):
            message = "is no object with image_id, category_id and bbox"
            problems.append(Problem("broken_box", place, message, LEFT_OUT, ("",)))
            continue
        key = _key(annotation.get("id"))
        if key is not None and key in seen:
            repeated.append(place)
        seen.add(key)
        problem = _add_object(annotation, place, categories, rows)
        if problem is not None:
            problems.append(problem)
    if repeated:
        message = (
            f"the ids of {len(repeated)} annotations were already used; they mean nothing to a "
            "detector, and all are kept"
        )
        problems.append(Problem("duplicate_id", repeated[0], message, NOTED))


def _add_object(annotation: dict, place: str, categories: dict, rows: dict) -> Problem | None:
    """Adds an object to its image, or returns why it cannot be added."""
    image, category = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
    name = categories.get(category, "")
    row = rows.get(image)
    if row is None:
        message = f"its image_id {_brief(annotation.get('image_id'))} is not among the images"
        return Problem("unknown_image", place, message, LEFT_OUT, (name,))
    if category not in categories:
        message = (
            f"its category_id {_brief(annotation.get('category_id'))} is not among the categories"
        )
        return row.reject("unknown_class", place, message)
    box = annotation.get("bbox")
    numbers = [number(value) for value in box] if isinstance(box, list) else []
    if len(numbers) != 4 or None in numbers:
        message = f"its bbox is {_brief(box)}, not four numbers"
        return row.reject("broken_box", place, message, name=name)
    x, y, width, height = numbers
    crowd = mark(annotation.get("iscrowd"))
    if crowd is None:
        message = f"its iscrowd is {_brief(annotation['iscrowd'])}: write 1 or 0"
        return row.reject("broken_mark", place, message, REFUSED, name=name)
    area = number(annotation.get("area"))
    row.add(name, (y, x, y + height, x + width), place, crowd=crowd, area=area)
    return None
