"""CSV: one line per object, with or without a header line."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

from ssd_keras.data import checks
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

# What each column may be called, lower case.
COLUMNS = {
    "image": ("image", "filename", "file_name", "file", "path", "image_path", "img", "image_id"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "x": ("x",),
    "y": ("y",),
    "w": ("w", "box_width", "bbox_width"),
    "h": ("h", "box_height", "bbox_height"),
    "label": ("class", "label", "name", "class_name", "category", "classname", "labels"),
    "difficult": ("difficult",),
    "crowd": ("crowd", "iscrowd"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
}


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a CSV file (comma, semicolon or tab).

    Columns by header: image, xmin, ymin, xmax, ymax (or x, y, w, h), class; also difficult, crowd,
    width and height (of the image). Without a header: image, xmin, ymin, xmax, ymax, class, or,
    where some maximum lies before its minimum, image, x, y, w, h, class. Boxes in pixels from
    0, edges not inclusive. A line with an image only is an image without objects.

    Args:
        spec: how the user named the data, for messages.
        place: `FILE.csv` or `FILE.csv,images=DIR`; images are looked for beside the file, too.
        split: a value of the column `split`, where there is one.
        classes: class names; None takes those that occur, sorted.

    Raises:
        UserError: no such file, no such columns, or not one usable image.
    """
    path, _, option = place.partition(",")
    folder = None
    if option:
        key, _, folder = option.partition("=")
        if key != "images" or not os.path.isdir(folder):
            raise UserError(f"Expected 'images=DIR' with a folder in '{spec}', not '{option}'.")
    if os.path.isdir(path) and not os.path.isfile(path):
        found = sorted(n for n in os.listdir(path) if n.lower().endswith((".csv", ".tsv")))
        if len(found) != 1:
            raise UserError(f"'{path}' holds {len(found)} .csv files; name one (from '{spec}').")
        path = os.path.join(path, found[0])
    if not os.path.isfile(path):
        parent = os.path.dirname(path) or "."
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"There is no file '{path}' (from '{spec}')."
            + did_you_mean(os.path.basename(path), near)
        )
    base = os.path.dirname(path) or "."
    folders = [folder] if folder else [base, os.path.join(base, "images")]
    problems: list[Problem] = []
    rows: dict[str, checks.Row | None] = {}
    for at, record in _records(path, split, problems):
        _add(at, record, rows, folders, problems)
    good = [row for row in rows.values() if row is not None]
    if classes is None:
        classes = sorted({name for row in good for name in row.names})
    return checks.assemble(spec, classes, good, problems)


def _records(path, split, problems):
    """Pairs of place and a dict with the names of `COLUMNS`."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            lines = [
                (number, [cell.strip() for cell in cells])
                for number, cells in enumerate(csv.reader(file, delimiter=delimiter), 1)
                if any(cell.strip() for cell in cells)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' is no readable CSV: {error}.") from error
    if not lines:
        raise UserError(f"'{path}' is empty.")
    header = [cell.lower() for cell in lines[0][1]]
    columns = {
        key: header.index(name)
        for key, names in COLUMNS.items()
        for name in reversed(names)
        if name in header
    }
    if "image" in columns:
        lines = lines[1:]
        if "xmin" not in columns and "w" not in columns and "width" in columns and "x" in columns:
            columns["w"], columns["h"] = columns.pop("width"), columns.pop("height")
        corners = {"xmin", "ymin", "xmax", "ymax"} <= set(columns)
        if "label" not in columns or not (corners or {"x", "y", "w", "h"} <= set(columns)):
            raise UserError(
                f"'{path}' needs the columns image, xmin, ymin, xmax, ymax (or x, y, w, h) and "
                f"class; its header is: {', '.join(header)}."
            )
        if split is not None:
            if "split" not in header:
                raise UserError(f"'{path}' has no column 'split' to find '{split}' in.")
            where = header.index("split")
            lines = [(n, c) for n, c in lines if len(c) > where and c[where] == split]
            if not lines:
                raise UserError(f"No line of '{path}' has the split '{split}'.")
    else:
        if len(header) < 6 and len(header) != 1:
            raise UserError(
                f"'{path}' has no header, and {len(header)} columns instead of image, xmin, ymin, "
                "xmax, ymax, class."
            )
        names = ["image", "xmin", "ymin", "xmax", "ymax", "label"]
        if any(_sized(cells) for _, cells in lines):
            names = ["image", "x", "y", "w", "h", "label"]
            message = "some third or fourth number is below its first or second, so they are read "
            problems.append(
                Problem("read_as_sizes", path, message + "as x, y, width, height", NOTED)
            )
        columns = {name: index for index, name in enumerate(names)}
    for number, cells in lines:
        place = f"{path}:{number}"
        record = {key: cells[i] for key, i in columns.items() if i < len(cells)}
        if len(cells) < len(header) and len(cells) > 1:
            message = f"has {len(cells)} cells instead of {len(header)}"
            problems.append(Problem("broken_line", place, message, REFUSED))
            continue
        yield place, record


def _sized(cells) -> bool:
    try:
        xmin, ymin, xmax, ymax = (float(cell) for cell in cells[1:5])
    except ValueError:
        return False
    return xmax < xmin or ymax < ymin


def _add(at, record, rows, folders, problems) -> None:
    name = record.get("image", "")

    def problem(kind, message, action=LEFT_OUT):
        problems.append(Problem(kind, at, message, action))

    if not name:
        problem("broken_line", "names no image", REFUSED)
        return
    if name not in rows:
        candidates = [os.path.join(folder, name) for folder in folders]
        picture = next((c for c in candidates if os.path.isfile(c)), None)
        if picture is None:
            problem("missing_image", f"its image '{name}' does not exist")
            rows[name] = None
        else:
            size = _number(record.get("height")), _number(record.get("width"))
            stem = os.path.splitext(os.path.basename(name))[0]
            rows[name] = checks.Row(stem, picture, declared_size=size, declared_at=at)
    row = rows[name]
    keys = ("ymin", "xmin", "ymax", "xmax") if "xmin" in record else ("y", "x", "h", "w")
    texts = [record.get(key, "") for key in keys]
    label = record.get("label", "")
    if row is None or not (any(texts) or label):
        return
    numbers = [_number(text) for text in texts]
    if None in numbers:
        problem("broken_box", f"'{label}' has {dict(zip(keys, texts, strict=True))}, not numbers")
        return
    if keys[0] == "y":
        y, x, height, width = numbers
        numbers = [y, x, y + height, x + width]
    if not label:
        problem("unknown_class", "names no class")
        return
    flags = {key: record.get(key, "0") in ("1", "true", "True") for key in ("difficult", "crowd")}
    row.add(label, numbers, at, **flags)


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
