"""CSV: one line per object, with or without a header line.

Which file and lines are meant, and the images of these; `csv_table` reads cells, `csv_columns`
tells what columns mean, `csv_lines` what each line says.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ssd_keras.data import (
    checks,
    csv_columns,
    csv_judging,
    image_index,
    names,
    options,
    split_folders,
)
from ssd_keras.data.csv_columns import Layout
from ssd_keras.data.csv_lines import Fault, Line, Reader, cell_of, is_descriptions
from ssd_keras.data.csv_table import Table, read_table
from ssd_keras.data.source import NOTED, REFUSED, Problem, Source
from ssd_keras.data.text import number
from ssd_keras.errors import UserError, missing_place, unknown

OPTIONS = options.IMAGES | {"class": "NAME"} | options.UNITS
# Splits that tools call by several names.
_SPLITS = (("train", "training"), ("val", "valid", "validation", "validate"), ("test", "testing"))


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a CSV file (comma, semicolon, tab or bar).

    Columns by header: image, xmin, ymin, xmax, ymax (or x, y, w, h; or centre and size), class;
    also difficult, crowd, width and height (of the image). Usual other names are known
    (`csv_columns.COLUMNS`); a header of others is refused. Without a header: image, xmin, ymin,
    xmax, ymax, class, or image, x, y, w, h, class, as the boxes say; or the columns of AutoML.
    Boxes in pixels from 0, edges not inclusive (files of Open Images and AutoML: in shares). A line
    with an image only is an image without objects.

    Args:
        spec: how the user named the data, for messages.
        place: `FILE.csv`, or a folder with one such file, and options behind it: `,images=DIR`
            (images are looked for beside the file otherwise), `,class=NAME` (of all objects,
            where there is no such column), `,units=UNIT` (see `units`).
        split: a value of the column `split`, where there is one; in a folder of several files the
            one with it in its name.
        classes: class names; None takes those that occur, sorted.

    Raises:
        UserError: no such file, no such columns, or not one usable image.
    """
    path, chosen = options.split(spec, place, OPTIONS)
    path, split = _file(spec, path, split)
    problems: list[Problem] = []
    table = read_table(path, problems)
    index = _image_index(path, chosen.get("images"), problems)
    sides = csv_judging.sides_by(index, chosen.get("units"))
    layout = _layout(table, sides, needs_class="class" not in chosen)
    reader = Reader(path, layout, table.parse, chosen.get("class", ""), problems)
    lines, elsewhere = _of_split(spec, table, layout, split, problems)
    found = list(reader.lines(lines))
    rows = _rows(path, found, index, layout, problems, elsewhere)
    if classes is None:
        classes = _in_order({name for row in rows if not row.missing for name in row.names})
    return checks.assemble(spec, classes, rows, problems, chosen.get("units"))


def _file(spec, path, split) -> tuple[str, str | None]:
    """The file, and the split that is still to be picked from it."""
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise missing_place("file", path, spec)
        return path, split
    found = sorted(
        file
        for file in glob.glob(os.path.join(glob.escape(path), "*"))
        if file.lower().endswith((".csv", ".tsv")) and not is_descriptions(file)
    )
    if len(found) == 1:
        return found[0], split
    named = [file for file in found if split and _names_split(os.path.basename(file), split)]
    if len(named) == 1:
        return named[0], None
    listed = ", ".join(os.path.basename(file) for file in found[:6])
    raise UserError(
        f"'{path}' holds {len(found)} .csv files{': ' * bool(found)}{listed}; name one "
        f"(from '{spec}')."
    )


def _names_split(name: str, split: str) -> bool:
    return any(_same_split(word, split) for word in re.split(r"[^a-z]+", name.lower()))


def _same_split(one: str, other: str) -> bool:
    one, other = one.strip().lower(), other.strip().lower()
    return one == other or any(one in group and other in group for group in _SPLITS)


def _image_index(path: str, folder: str | None, problems) -> image_index.ImageIndex:
    base = os.path.dirname(path) or "."
    folders = [folder] if folder else [base, os.path.join(base, "images")]
    return image_index.ImageIndex([f for f in folders if os.path.isdir(f)], problems)


def _layout(table: Table, sides: csv_judging.Sides, needs_class: bool) -> Layout:
    lines = [cells for _, cells in table.lines]
    if csv_columns.is_numbered(lines[0]):
        layout = csv_judging.by_lines(table.path, table.lines[1:], table.parse, sides)
        return dataclasses.replace(layout, has_header=True)
    if not csv_columns.is_header(lines):
        return csv_judging.by_lines(table.path, table.lines, table.parse, sides)
    header = [cell.lstrip("#").strip() for cell in table.lines[0][1]]
    layout = csv_columns.by_header(table.path, header, needs_class=needs_class)
    if layout.form:
        return layout
    lines = [cells for cells in lines[1:] if len(cells) > layout.last]
    boxes = [_numbers(cells[layout.columns["list"]]) for cells in lines]
    good = [at for at, box in enumerate(boxes) if len(box) == 4 and None not in box]
    form = csv_judging.judge_order(
        table.path,
        np.array([boxes[at] for at in good]),
        _sides_of([lines[at] for at in good], layout, table, sides),
        named=True,
    )
    what = "xmin, ymin, xmax, ymax" if form == csv_columns.CORNERS else "x, y, width, height"
    note = f"its column '{header[layout.columns['list']]}' is read as {what}"
    return dataclasses.replace(layout, form=form, judged=True, note=note)


def _numbers(cell: str) -> list[float | None]:
    return [number(part) for part in csv_columns.split_list(cell)]


def _sides_of(
    lines: Sequence[Sequence[str]], layout: Layout, table: Table, sides: csv_judging.Sides
) -> np.ndarray:
    """Width and height of the image of each line: what the line states, else that of the file."""
    keys = [layout.columns.get(key) for key in ("image_width", "image_height")]
    cells = [cell_of(line, key) for line in lines for key in keys]
    stated = np.array(list(map(table.parse, cells)), np.float64).reshape(-1, 2)
    found = sides([line[layout.columns["image"]] for line in lines])
    return np.where((stated > 0).all(1, keepdims=True), stated, found)


def _of_split(
    spec, table, layout, split, problems
) -> tuple[list[tuple[int, list[str]]], dict[str, str]]:
    """The lines below the header, and what images stand elsewhere.

    Of a split that is asked for its lines only; elsewhere then are the images of the other lines,
    each with its split.
    """
    header = table.lines[0][1] if layout.has_header else None
    lines = [
        (at, cells)
        for at, cells in table.lines
        if cells != header or not _repeats_header(at, table, problems)
    ]
    if layout.note:
        problems.append(Problem("layout", table.path, layout.note, NOTED))
    column = layout.columns.get("split")
    if split is None:
        _note_splits(table.path, lines, column, problems)
        return lines, {}
    if column is None:
        raise UserError(
            f"'{table.path}' has no column 'split' to find '{split}' in. "
            f"{split_folders.advice(spec, split)}"
        )
    chosen = [(at, cells) for at, cells in lines if _same_split(cell_of(cells, column), split)]
    if not chosen:
        known = {cell_of(cells, column) for _, cells in lines} - {""}
        raise unknown("split", split, sorted(known), f"in '{table.path}'")
    image = layout.columns["image"]
    others = (cells for _, cells in lines if not _same_split(cell_of(cells, column), split))
    return chosen, {cell_of(cells, image): cell_of(cells, column) for cells in others}


def _repeats_header(at, table, problems) -> bool:
    if at != table.lines[0][0]:
        message = "the header stands here again, as in files that were joined"
        problems.append(Problem("repeated_header", f"{table.path}:{at}", message, NOTED))
    return True


def _note_splits(path, lines, column, problems) -> None:
    known = {cell_of(cells, column) for _, cells in lines} - {""} if column is not None else ()
    if len(known) > 1:
        message = f"all lines are read, of the splits {', '.join(sorted(known)[:6])}"
        problems.append(Problem("all_splits", path, message, NOTED))


def _rows(
    path,
    lines: Sequence[Line],
    index: image_index.ImageIndex,
    layout: Layout,
    problems,
    elsewhere: Mapping[str, str],
) -> list[checks.Row]:
    """The images with their objects; images that are not there with the reason.

    Those that stand `elsewhere`, in another split, are refused.
    """
    found = index.find_all(one.image for one in lines)
    problems += image_index.notes(found.values(), path)
    rows: dict[str, checks.Row] = {}
    for one in lines:
        image = found[one.image]
        key = image.path or one.image
        if key not in rows:
            rows[key] = _row(one, image, layout)
        row = rows[key]
        fault = one.box if isinstance(one.box, Fault) else _other_size(one, row)
        if fault:
            kind, message, action = fault
            problems.append(row.reject(kind, one.at, message, action, name=one.label))
        elif one.box is not None:
            row.add(one.label, one.box, one.at, difficult=one.difficult, crowd=one.crowd)
    for row, image_id in zip(rows.values(), names.image_ids(list(rows)), strict=True):
        row.image_id = image_id
    others = index.find_all(elsewhere) if elsewhere else {}
    shared = {others[image].path or image: split for image, split in elsewhere.items()}
    problems += [_two_splits(row, shared[key]) for key, row in rows.items() if key in shared]
    return [row for key, row in rows.items() if key not in shared]


def _other_size(one: Line, row: checks.Row) -> Fault | None:
    """The fault of a line that states another size of the image than an earlier one."""
    if None in one.size or row.declared_size == one.size:
        return None
    if None in row.declared_size:
        row.declared_size, row.declared_at = one.size, one.at
        return None
    (height, width), (other_height, other_width) = one.size, row.declared_size
    message = (
        f"'{one.label}' states the size {width:g}x{height:g} of its image, {row.declared_at} "
        f"{other_width:g}x{other_height:g}"
    )
    return Fault("other_size", message, REFUSED)


def _two_splits(row: checks.Row, split: str) -> Problem:
    message = (
        f"the image '{row.image}' has objects in the split '{split}', too, which would count as "
        "background here: give all of them one split"
    )
    return row.left_out("two_splits", row.declared_at, message, REFUSED)


_POINTS = {csv_columns.SIZES: "corner", csv_columns.CENTRE: "centre"}


def _row(one: Line, image: image_index.Found, layout: Layout) -> checks.Row:
    path = image.path or one.image
    return checks.Row(
        os.path.splitext(os.path.basename(path))[0],
        path,
        declared_size=one.size,
        declared_at=one.at,
        normalized=layout.normalized,
        tolerance=checks.SHARE_TOLERANCE if layout.normalized else 0.5,
        point=_POINTS.get(layout.form, ""),
        missing="" if image.path else image_index.why_missing(one.image, image),
    )


def _in_order(found: Iterable[str]) -> list[str]:
    """Class names sorted; numbers by their value."""
    found = sorted(found)
    return sorted(found, key=int) if all(name.isdecimal() for name in found) else found
