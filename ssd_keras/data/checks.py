"""What every reader checks: images against their headers, boxes against their images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.ground_truth import TruthTable
from ssd_keras.data.header_index import HeaderIndex
from ssd_keras.data.names import normalize, note_alike
from ssd_keras.data.row_checks import ClassNames, check_rows
from ssd_keras.data.rows import SHARE_TOLERANCE as SHARE_TOLERANCE
from ssd_keras.data.rows import Headers, Row, RowTable
from ssd_keras.data.source import REFUSED, Problem, Source
from ssd_keras.errors import UserError
from ssd_keras.labels import find_repeated


def assemble(
    spec: str,
    classes: Sequence[str],
    rows: Iterable[Row] | RowTable,
    problems: list[Problem],
    unit: str | None = None,
) -> Source:
    """Checks the rows and makes a source of what is good.

    Reads the header of every image file, except where the table says that sizes are believed.
    `problems` is extended.

    Args:
        spec: how the user named the data, for messages.
        classes: class names in the order of their labels.
        rows: the images and their objects.
        problems: what the reader found.
        unit: what the coordinates are, one of `units.UNITS`, if the user says so; None judges
            whether they can be what the rows say.

    Raises:
        UserError: no class, a class named twice, no usable image, or coordinates in another unit.
    """
    table = rows if isinstance(rows, RowTable) else RowTable.of(rows)
    check_any(table, spec, problems)
    ready, headers = headers_of(table, problems)
    checked, kept = check_all(spec, classes, table.take(ready), headers, problems, unit)
    return Source(
        spec,
        checked.classes,
        checked.truth,
        problems,
        standard_jpeg=headers.standard_jpeg[kept],
        believed=headers.believed[kept],
    )


class Checked(NamedTuple):
    """What is good of the rows of a data set."""

    classes: tuple[str, ...]
    truth: TruthTable


def check_all(
    spec: str,
    classes: Sequence[str],
    table: RowTable,
    headers: Headers,
    problems: list[Problem],
    unit: str | None = None,
) -> tuple[Checked, np.ndarray]:
    """Checks the rows of images whose headers are known.

    Returns:
        what is good, and int `[kept]`, the rows that it is of.

    Raises:
        UserError: no class, a class named twice, no usable image, or coordinates in another unit.
    """
    check_any(table, spec, problems)
    classes = check_classes(classes, spec, problems)
    check_units(spec, table, headers, problems, unit)
    truth, kept = check_rows(table, headers, ClassNames(classes), problems)
    check_any(truth, spec, problems)
    return Checked(classes, truth), kept


def headers_of(table: RowTable, problems: list[Problem]) -> tuple[list[int], Headers]:
    """The rows whose image files are there, each once, and what their headers say."""
    believed = table.believed
    if believed.all() and len(set(table.paths) - {""}) == len(table):
        return list(range(len(table))), Headers.believing(table.declared)
    seen: dict[str, int] = {}
    ready, found = [], []
    with HeaderIndex(len(table)) as index:
        for number, path in enumerate(table.paths):
            is_believed = bool(believed[number])
            header = _header_of(number, path, is_believed, table, seen, index, problems)
            if header is not None:
                ready.append(number)
                found.append(header)
    return ready, Headers.of(found)


def _header_of(
    number: int,
    path: str,
    is_believed: bool,
    table: RowTable,
    seen: dict[str, int],
    index: HeaderIndex,
    problems: list[Problem],
) -> images.Header | None:
    """What the header of a row's image says; None where the image is not used."""
    missing = "" if path else table.rows[number].missing
    if not missing and path not in seen:
        seen[path] = number
        try:
            return table.believed_header(number) if is_believed else index.read(path)
        except images.ImageError as error:
            problems.append(table.rows[number].left_out("broken_image", path, error.reason))
            return None
    row = table.rows[number]
    if missing:
        place = row.declared_at or row.image_id
        problems.append(row.left_out("missing_image", place, missing))
        return None
    first = table.rows[seen[path]]
    message = f"'{path}' is already annotated by {first.declared_at or first.image_id}"
    problems.append(row.left_out("duplicate_image", row.declared_at or path, message))
    return None


def check_units(
    spec: str,
    table: RowTable,
    headers: Headers,
    problems: list[Problem],
    unit: str | None = None,
) -> None:
    """Judges the unit of all boxes together, or takes the one that the user states.

    Raises:
        UserError: the coordinates are pixels in the place of shares, or shares of pixels.
    """
    if unit:
        table.state_unit(unit)
        return
    sides = table.sides_in(headers)
    for normalized in (False, True):
        of_kind = table.normalized == normalized
        boxes = units.Boxes.of_rows(table.boxes, table.counts, sides, of_kind)
        read_in, other = ("shares", "pixels") if normalized else ("pixels", "shares")
        if fault := units.fault_of_shares(boxes) if normalized else units.fault_of_pixels(boxes):
            raise UnusableError(
                f"'{spec}' is read in {read_in}, but {fault}. Convert them, or say what they are "
                f"behind the place, as in ',units={other}' (known: {', '.join(units.UNITS)}).",
                problems,
                list_first=False,
            )
        if fault := units.fault_of_scale(boxes):
            problems.append(Problem("wrong_scale", spec, fault, REFUSED))
        for point in ("corner", "centre"):
            part = of_kind & (table.points == point)
            boxes = units.Boxes.of_rows(table.boxes, table.counts, sides, part)
            if fault := units.fault_of_sizes(boxes, centre=point == "centre"):
                raise UnusableError(
                    f"'{spec}' is read as {point} and size of each box, but {fault}. Convert them, "
                    f"or say ',units={read_in}' behind the place if they are what they should be.",
                    problems,
                    list_first=False,
                )


class UnusableError(UserError):
    """A data set of which nothing can be used; `problems` says why."""

    def __init__(self, message: str, problems: Sequence[Problem] = (), *, list_first: bool = True):
        if problems and list_first:
            message += f" First of {len(problems)} problems: {problems[0]}."
        super().__init__(message)
        self.problems = list(problems)


def check_any(examples: Sequence, spec: str, problems: Sequence[Problem]) -> None:
    """Raises UnusableError if there is no example."""
    if not examples:
        raise UnusableError(f"'{spec}' has no usable image.", problems)


def check_classes(
    classes: Sequence[str], spec: str = "", problems: list[Problem] | None = None
) -> tuple[str, ...]:
    """The class names as a tuple; notes those that differ in little but case.

    Raises:
        UserError: there is none, or one is empty or occurs twice.
    """
    problems = [] if problems is None else problems
    classes = tuple(normalize(str(name)) for name in classes)
    if not classes:
        raise UnusableError(
            f"'{spec}' has no class: no object is annotated and no classes are given. Annotate "
            "some objects, or give the names (--classes of check-data and make-records).",
            problems,
        )
    if "" in classes:
        raise UserError(f"Class {classes.index('')} of '{spec}' has an empty name.")
    twice = sorted(find_repeated(classes))
    if twice:
        raise UserError(f"Classes occur twice in '{spec}': {', '.join(twice)}.")
    note_alike(classes, spec, problems)
    return classes
