"""CSV: one line per object, with or without a header line."""

from __future__ import annotations

import csv
import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data import checks, csv_columns, names, options
from ssd_keras.data.csv_columns import Layout
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.data.text import lines as lines_of
from ssd_keras.data.text import mark, number, read_text
from ssd_keras.errors import UserError, missing_place, unknown

OPTIONS = options.IMAGES | {"class": "NAME"} | options.UNITS
DELIMITERS = ";\t|,"
# Splits that tools call by several names.
_SPLITS = (("train", "training"), ("val", "valid", "validation", "validate"), ("test", "testing"))
# What stands in the place of a class where a line says that an image has no object.
_NOTHING = ("", "no finding", "none", "no object", "background", "negative")
# Attributes of VIA that may name the class, the likeliest first.
_VIA_CLASS = ("class", "label", "name", "category", "type")


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a CSV file (comma, semicolon, tab or bar).

    Columns by header: image, xmin, ymin, xmax, ymax (or x, y, w, h; or centre and size), class;
    also difficult, crowd, width and height (of the image). Usual other names are known
    (`csv_columns.COLUMNS`); a header of others is refused. Without a header: image, xmin, ymin,
    xmax, ymax, class, or, where most of the lines can be no corners, image, x, y, w, h, class; or
    the columns of AutoML. Boxes in pixels from 0, edges not inclusive (files of Open Images and
    AutoML: in shares). A line with an image only is an image without objects.

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
    table = _table(path, problems)
    layout = _layout(table, needs_class="class" not in chosen)
    reader = _Reader(path, layout, table.parse, chosen.get("class", ""), problems)
    lines, elsewhere = _of_split(table, layout, split, problems)
    found = list(reader.lines(lines))
    rows = _rows(path, found, chosen.get("images"), layout, problems, elsewhere)
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
        if file.lower().endswith((".csv", ".tsv")) and not _is_descriptions(file)
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


@dataclasses.dataclass(frozen=True)
class _Table:
    """The lines of a file, with the numbers that they have in it, and how it writes numbers."""

    path: str
    lines: list[tuple[int, list[str]]]
    decimal_comma: bool

    def parse(self, cell: str) -> float | None:
        """The number in a cell, or None."""
        return number(cell.replace(",", ".", 1) if self.decimal_comma else cell)


def _table(path: str, problems: list[Problem]) -> _Table:
    lines = lines_of(read_text(path, problems))
    if lines and (stated := re.fullmatch(r"sep=(.)", lines[0].strip())):
        delimiter, first = stated[1], 1  # as Excel writes it
    else:
        delimiter, first = _delimiter(lines), 0
    table = []
    for at, line in enumerate(lines[first:], first + 1):
        cells = _cells(line, delimiter, f"{path}:{at}", problems)
        if any(cells):
            table.append((at, cells))
    if not table:
        raise UserError(f"'{path}' is empty.")
    _check_commas(path, table, delimiter)
    return _Table(path, table, delimiter != "," and _has_decimal_comma(table))


def _delimiter(lines: Sequence[str], most: int = 50) -> str:
    """The sign that cuts the first lines into as many cells each."""
    sample = [line for line in lines[: 4 * most] if line.strip()][:most]

    def quality(sign):
        counts = [len(_split(line, sign) or ()) for line in sample]
        # A comma may belong to numbers or names, so signs before it in DELIMITERS win.
        return len(set(counts)) == 1 and counts[0] > 2, counts[0] > 2, -DELIMITERS.index(sign)

    return max(DELIMITERS, key=quality) if sample else ","


def _cells(line: str, delimiter: str, place: str, problems: list[Problem]) -> list[str]:
    cells = _split(line, delimiter)
    if cells is None:
        message = "has a quote that is not closed in its line, or a cell that is far too long"
        problems.append(Problem("broken_line", place, message, REFUSED, ("",)))
    return cells or []


def _split(line: str, delimiter: str) -> list[str] | None:
    """The cells of a line; None where it is broken.

    Line by line, so that a quote that is never closed costs one line, not all that follow.
    """
    closed = line.count('"') % 2 == 0
    quoting = csv.QUOTE_MINIMAL if closed else csv.QUOTE_NONE
    try:
        cells = next(csv.reader([line], delimiter=delimiter, quoting=quoting), [])
    except csv.Error:
        return None
    cells = [cell.strip() for cell in cells]
    return cells if closed or not any(cell.startswith('"') for cell in cells) else None


_COMMA_NUMBER = re.compile(r"-?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2},\d{3}", re.ASCII)


def _has_decimal_comma(lines) -> bool:
    """Whether numbers have commas that can be no marks of thousands."""
    found = (cell for _, cells in lines for cell in cells if "," in cell)
    return any(_COMMA_NUMBER.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in found)


def _check_commas(path: str, lines, delimiter: str) -> None:
    """Refuses a file whose commas stand between columns and in most lines in numbers, too."""
    found = [list(filter(_COMMA_NUMBER.fullmatch, cells)) for _, cells in lines]
    found = [numbers for numbers in found if len(numbers) > 1]
    if delimiter == "," and found and 2 * len(found) >= len(lines):
        example = found[0][0]
        raise UserError(
            f"'{path}' separates its columns by commas and has commas in numbers such as "
            f"'{example}', which may mean {example.replace(',', '.')} or "
            f"{example.replace(',', '')}: write them so, or separate the columns by semicolons "
            "where they are decimal commas."
        )


def _layout(table: _Table, needs_class: bool) -> Layout:
    lines = [cells for _, cells in table.lines]
    if csv_columns.is_numbered(lines[0]):
        layout = csv_columns.by_lines(table.path, table.lines[1:], table.parse)
        return dataclasses.replace(layout, has_header=True)
    if not csv_columns.is_header(lines):
        return csv_columns.by_lines(table.path, table.lines, table.parse)
    header = [cell.lstrip("#").strip() for cell in table.lines[0][1]]
    layout = csv_columns.by_header(table.path, header, needs_class=needs_class)
    if layout.form:
        return layout
    cells = (
        cells[layout.columns["list"]] for _, cells in table.lines[1:] if _is_whole(cells, layout)
    )
    boxes = [[number(part) for part in csv_columns.split_list(cell)] for cell in cells]
    boxes = [box for box in boxes if len(box) == 4 and None not in box]
    form = csv_columns.judge_order(np.array(boxes).reshape(-1, 4), table.path, named=True)
    what = "xmin, ymin, xmax, ymax" if form == csv_columns.CORNERS else "x, y, width, height"
    note = f"its column '{header[layout.columns['list']]}' is read as {what}"
    return dataclasses.replace(layout, form=form, judged=True, note=note)


def _is_whole(cells: Sequence[str], layout: Layout) -> bool:
    return len(cells) > layout.last


def _of_split(table, layout, split, problems) -> tuple[list[tuple[int, list[str]]], dict[str, str]]:
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
        raise UserError(f"'{table.path}' has no column 'split' to find '{split}' in.")
    chosen = [(at, cells) for at, cells in lines if _same_split(_cell(cells, column), split)]
    if not chosen:
        known = {_cell(cells, column) for _, cells in lines} - {""}
        raise unknown("split", split, sorted(known), f"in '{table.path}'")
    image = layout.columns["image"]
    others = (cells for _, cells in lines if not _same_split(_cell(cells, column), split))
    return chosen, {_cell(cells, image): _cell(cells, column) for cells in others}


def _repeats_header(at, table, problems) -> bool:
    if at != table.lines[0][0]:
        message = "the header stands here again, as in files that were joined"
        problems.append(Problem("repeated_header", f"{table.path}:{at}", message, NOTED))
    return True


def _note_splits(path, lines, column, problems) -> None:
    known = {_cell(cells, column) for _, cells in lines} - {""} if column is not None else ()
    if len(known) > 1:
        message = f"all lines are read, of the splits {', '.join(sorted(known)[:6])}"
        problems.append(Problem("all_splits", path, message, NOTED))


def _cell(cells: Sequence[str], column: int | None) -> str:
    return cells[column] if column is not None and column < len(cells) else ""


class _Fault(NamedTuple):
    """Why a line gives no object."""

    kind: str
    message: str
    action: str = LEFT_OUT


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    """What a line says: an image, and perhaps an object in it.

    `box` is None for an image without an object, a fault where it cannot be read.
    """

    at: str
    image: str
    label: str
    box: tuple[float, float, float, float] | _Fault | None
    size: tuple[float | None, float | None]
    difficult: bool | None
    crowd: bool | None


class _Reader:
    """Turns the cells of lines into objects."""

    def __init__(self, path: str, layout: Layout, parse, one_class: str, problems: list[Problem]):
        self.path = path
        self.layout = layout
        self._parse = parse
        self._one_class = one_class
        self._problems = problems
        self._names = _descriptions(path) if layout.normalized else {}
        self._numbers = [layout.columns.get(key) for key in csv_columns.FORMS[layout.form]]
        self._nothing = {*_NOTHING, one_class.lower()}

    def lines(self, lines: Iterable[tuple[int, list[str]]]) -> Iterator[_Line]:
        """What each line says; those that name no image are problems."""
        for at, cells in lines:
            one = self._line(f"{self.path}:{at}", cells)
            if one.image:
                yield one
            else:
                fault = one.box
                problem = Problem(fault.kind, one.at, fault.message, fault.action, (one.label,))
                self._problems.append(problem)

    def _line(self, place: str, cells: list[str]) -> _Line:
        columns = self.layout.columns

        def cell(key):
            return _cell(cells, columns.get(key))

        label = self._label(cell("label"))
        read = self._region if "shape" in columns else self._box
        broken = self._broken(cells, cell("image"))
        label, box = (
            (label, _Fault("broken_line", broken, REFUSED)) if broken else read(cells, label)
        )
        size = self._parse(cell("image_height")), self._parse(cell("image_width"))
        flags = {key: mark(cell(key)) for key in ("difficult", "crowd")}
        for key, flag in flags.items():
            if flag is None and not isinstance(box, _Fault):
                message = f"'{label}' has '{cell(key)[:40]}' for {key}: write 1 or 0"
                box = _Fault("broken_mark", message, REFUSED)
        return _Line(place, cell("image"), label, box, size, **flags)

    def _broken(self, cells, image) -> str:
        only_image = image and sum(map(bool, cells)) == 1
        if only_image and (other := next((d for d in DELIMITERS if image.count(d) > 3), "")):
            return f"is cut by '{other}', unlike the first lines"
        if len(cells) <= self.layout.last and not only_image:
            return f"has {len(cells)} cells instead of {self.layout.width}"
        if any(cells[self.layout.width :]):
            wanted = self.layout.width
            return f"has {len(cells)} cells instead of {wanted}: does one need quotes?"
        return "" if image else "names no image"

    def _label(self, text: str) -> str:
        label = names.normalize(text) or self._one_class
        # Numbers that went through a column of floats.
        whole = _WHOLE.fullmatch(label)
        label = whole[1] if whole else label
        return self._names.get(label, label)

    def _texts(self, cells) -> list[str]:
        if not self.layout.listed:
            return [_cell(cells, index) for index in self._numbers]
        parts = csv_columns.split_list(_cell(cells, self.layout.columns["list"]))
        # As in FORMS: y before x.
        return [parts[i] for i in (1, 0, 3, 2)] if len(parts) == 4 else parts

    def _box(self, cells, label):
        texts = self._texts(cells)
        if not any(texts) and label.lower() in self._nothing:
            return label, None
        numbers = [self._parse(text) for text in texts]
        if len(numbers) != 4 or None in numbers:
            message = f"'{label}' has {texts} for a box, not four numbers"
            commas = any(map(_COMMA_NUMBER.fullmatch, texts))
            return label, _Fault("broken_box", message + ": write 1.5 or 1500" * commas)
        if not label:
            return label, _Fault("unknown_class", "names no class")
        box = csv_columns.corners_of(self.layout.form, numbers)
        if self.layout.judged and (box[2] < box[0] or box[3] < box[1]):
            message = f"'{label}' has its maximum before its minimum, unlike most others"
            return label, _Fault("swapped_corners", f"{message} ({self.layout.note})", REFUSED)
        return label, box

    def _region(self, cells, label):
        """The object of a line of the VGG Image Annotator."""
        shape = _json(_cell(cells, self.layout.columns["shape"]))
        attributes = _json(_cell(cells, self.layout.columns.get("attributes")))
        if not shape:
            return label, None
        label = label or _via_class(attributes)
        box = _box_of_shape(shape)
        if box is None:
            message = f"'{label}' is a region '{shape.get('name')}', which has no box"
            return label, _Fault("no_box", message)
        if not label:
            message = f"its attributes {', '.join(attributes) or '(none)'} name no class"
            return label, _Fault("unknown_class", message)
        return label, box


_WHOLE = re.compile(r"(\d+)\.0+", re.ASCII)


def _json(text: str) -> dict:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {"name": text[:40]}
    return found if isinstance(found, dict) else {"name": text[:40]}


def _via_class(attributes: Mapping) -> str:
    found = {str(key).lower(): value for key, value in attributes.items()}
    key = next((key for key in _VIA_CLASS if key in found), None)
    if key is None and len(found) == 1:
        (key,) = found
    value = found.get(key, "")
    if isinstance(value, dict):  # check boxes: {"cat": true}
        chosen = [str(name) for name, on in value.items() if on]
        value = chosen[0] if len(chosen) == 1 else ""
    return names.normalize(str(value))


def _box_of_shape(shape: Mapping) -> tuple[float, float, float, float] | None:
    """`(ymin, xmin, ymax, xmax)` around a region of VIA."""

    def values(*keys):
        found = [number(shape.get(key)) for key in keys]
        return None if None in found else found

    kind = shape.get("name")
    if kind == "rect" and (found := values("y", "x", "height", "width")):
        return csv_columns.corners_of(csv_columns.SIZES, found)
    if kind == "circle" and (found := values("cy", "cx", "r")):
        y, x, radius = found
        return y - radius, x - radius, y + radius, x + radius
    if kind == "ellipse" and (found := values("cy", "cx", "ry", "rx")):
        y, x, ry, rx = found
        # Turned by an angle it lies within the circle of its longer half.
        ry, rx = (ry, rx) if not shape.get("theta") else (max(ry, rx),) * 2
        return y - ry, x - rx, y + ry, x + rx
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if kind in ("polygon", "polyline") and isinstance(xs, list) and isinstance(ys, list):
        points = [number(value) for value in (*xs, *ys)]
        if xs and len(xs) == len(ys) and None not in points:
            return (
                min(map(float, ys)),
                min(map(float, xs)),
                max(map(float, ys)),
                max(map(float, xs)),
            )
    return None


def _rows(
    path, lines: Sequence[_Line], folder, layout: Layout, problems, elsewhere: Mapping[str, str]
) -> list[checks.Row]:
    """The images with their objects; images that are not there with the reason.

    Those that stand `elsewhere`, in another split, are refused.
    """
    base = os.path.dirname(path) or "."
    folders = [folder] if folder else [base, os.path.join(base, "images")]
    index = names.ImageIndex([f for f in folders if os.path.isdir(f)], problems)
    found = index.find_all(one.image for one in lines)
    problems += names.notes(found.values(), path)
    rows: dict[str, checks.Row] = {}
    for one in lines:
        image = found[one.image]
        key = image.path or one.image
        if key not in rows:
            rows[key] = _row(one, image, layout)
        row = rows[key]
        fault = one.box if isinstance(one.box, _Fault) else _other_size(one, row)
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


def _other_size(one: _Line, row: checks.Row) -> _Fault | None:
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
    return _Fault("other_size", message, REFUSED)


def _two_splits(row: checks.Row, split: str) -> Problem:
    message = (
        f"the image '{row.image}' has objects in the split '{split}', too, which would count as "
        "background here: give all of them one split"
    )
    return row.left_out("two_splits", row.declared_at, message, REFUSED)


_POINTS = {csv_columns.SIZES: "corner", csv_columns.CENTRE: "centre"}


def _row(one: _Line, image: names.Found, layout: Layout) -> checks.Row:
    path = image.path or one.image
    return checks.Row(
        os.path.splitext(os.path.basename(path))[0],
        path,
        declared_size=one.size,
        declared_at=one.at,
        normalized=layout.normalized,
        tolerance=checks.SHARE_TOLERANCE if layout.normalized else 0.5,
        point=_POINTS.get(layout.form, ""),
        missing="" if image.path else names.why_missing(one.image, image),
    )


def _in_order(found: Iterable[str]) -> list[str]:
    """Class names sorted; numbers by their value."""
    found = sorted(found)
    return sorted(found, key=int) if all(name.isdecimal() for name in found) else found


def _is_descriptions(path: str) -> bool:
    return "class-descriptions" in os.path.basename(path)


def _descriptions(path: str) -> dict[str, str]:
    """Names of the classes of Open Images (/m/011k07), from its file of them beside `path`."""
    folder = os.path.dirname(path) or "."
    files = sorted(f for f in glob.glob(os.path.join(glob.escape(folder), "*.csv")))
    cells = (
        next(csv.reader([line]), [])
        for file in files
        if _is_descriptions(file)
        for line in lines_of(read_text(file))
    )
    return {pair[0].strip(): names.normalize(pair[1]) for pair in cells if len(pair) == 2}
