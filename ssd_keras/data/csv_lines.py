"""What the lines of a CSV file say: an image, and perhaps an object in it."""

from __future__ import annotations

import csv
import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ssd_keras.data import csv_columns, names, turned
from ssd_keras.data.csv_columns import Layout
from ssd_keras.data.csv_table import COMMA_NUMBER, DELIMITERS
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem
from ssd_keras.data.text import lines as lines_of
from ssd_keras.data.text import mark, number, read_text

# What stands in the place of a class where a line says that an image has no object.
_NOTHING = ("", "no finding", "none", "no object", "background", "negative")
# Attributes of VIA that may name the class, the likeliest first.
_VIA_CLASS = ("class", "label", "name", "category", "type")
_WHOLE = re.compile(r"(\d+)\.0+", re.ASCII)


def cell_of(cells: Sequence[str], column: int | None) -> str:
    return cells[column] if column is not None and column < len(cells) else ""


class Fault(NamedTuple):
    """Why a line gives no object."""

    kind: str
    message: str
    action: str = LEFT_OUT


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """What a line says: an image, and perhaps an object in it.

    `box` is None for an image without an object, a fault where it cannot be read.
    """

    at: str
    image: str
    label: str
    box: tuple[float, float, float, float] | Fault | None
    size: tuple[float | None, float | None]
    difficult: bool | None
    crowd: bool | None


class Reader:
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

    def lines(self, lines: Iterable[tuple[int, list[str]]]) -> Iterator[Line]:
        """What each line says; those that name no image are problems."""
        for at, cells in lines:
            one = self._line(f"{self.path}:{at}", cells)
            if one.image:
                yield one
            else:
                fault = one.box
                problem = Problem(fault.kind, one.at, fault.message, fault.action, (one.label,))
                self._problems.append(problem)

    def _line(self, place: str, cells: list[str]) -> Line:
        columns = self.layout.columns

        def cell(key):
            return cell_of(cells, columns.get(key))

        label = self._label(cell("label"))
        read = self._region if "shape" in columns else self._box
        broken = self._broken(cells, cell("image"))
        label, box = (
            (label, Fault("broken_line", broken, REFUSED)) if broken else read(cells, label)
        )
        size = self._parse(cell("image_height")), self._parse(cell("image_width"))
        flags = {key: mark(cell(key)) for key in ("difficult", "crowd")}
        for key, flag in flags.items():
            if flag is None and not isinstance(box, Fault):
                message = f"'{label}' has '{cell(key)[:40]}' for {key}: write 1 or 0"
                box = Fault("broken_mark", message, REFUSED)
        if cell("rotation") and not (box is None or isinstance(box, Fault)):
            self._note_turned(place, label, cell("rotation"), os.path.basename(cell("image")))
        return Line(place, cell("image"), label, box, size, **flags)

    def _note_turned(self, place: str, label: str, written: str, image: str) -> None:
        turn = turned.degrees_of(self._parse(written))
        if turn is None:
            self._problems.append(turned.note_unclear(place, label, written, image))
        elif turn:
            message = (
                f"'{label}' is turned by {turn:g} degrees, and the file does not say about which "
                "point: its box is read as upright; write the one around the turned one"
            )
            self._problems.append(Problem(turned.KIND, place, message, NOTED, image=image))

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
        if not self.layout.is_list:
            return [cell_of(cells, index) for index in self._numbers]
        parts = csv_columns.split_list(cell_of(cells, self.layout.columns["list"]))
        # As in FORMS: y before x.
        return [parts[i] for i in (1, 0, 3, 2)] if len(parts) == 4 else parts

    def _box(self, cells, label):
        texts = self._texts(cells)
        if not any(texts) and label.lower() in self._nothing:
            return label, None
        numbers = [self._parse(text) for text in texts]
        if len(numbers) != 4 or None in numbers:
            message = f"'{label}' has {texts} for a box, not four numbers"
            commas = any(map(COMMA_NUMBER.fullmatch, texts))
            return label, Fault("broken_box", message + ": write 1.5 or 1500" * commas)
        if not label:
            return label, Fault("unknown_class", "names no class")
        box = csv_columns.corners_of(self.layout.form, numbers)
        if self.layout.judged and (box[2] < box[0] or box[3] < box[1]):
            message = f"'{label}' has its maximum before its minimum, unlike most others"
            return label, Fault("swapped_corners", f"{message} ({self.layout.note})", REFUSED)
        return label, box

    def _region(self, cells, label):
        """The object of a line of the VGG Image Annotator."""
        shape = _json(cell_of(cells, self.layout.columns["shape"]))
        attributes = _json(cell_of(cells, self.layout.columns.get("attributes")))
        if not shape:
            return label, None
        label = label or _via_class(attributes)
        box = _box_of_shape(shape)
        if box is None:
            message = f"'{label}' is a region '{shape.get('name')}', which has no box"
            return label, Fault("no_box", message)
        if not label:
            message = f"its attributes {', '.join(attributes) or '(none)'} name no class"
            return label, Fault("unknown_class", message)
        return label, box


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


def is_descriptions(path: str) -> bool:
    return "class-descriptions" in os.path.basename(path)


def _descriptions(path: str) -> dict[str, str]:
    """Names of the classes of Open Images (/m/011k07), from its file of them beside `path`."""
    folder = os.path.dirname(path) or "."
    files = sorted(f for f in glob.glob(os.path.join(glob.escape(folder), "*.csv")))
    cells = (
        next(csv.reader([line]), [])
        for file in files
        if is_descriptions(file)
        for line in lines_of(read_text(file))
    )
    return {pair[0].strip(): names.normalize(pair[1]) for pair in cells if len(pair) == 2}
