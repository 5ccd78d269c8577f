"""The cells of a CSV file: what separates them, and how its numbers are written."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Sequence

from ssd_keras.data.source import REFUSED, Problem
from ssd_keras.data.text import lines as lines_of
from ssd_keras.data.text import number, read_text
from ssd_keras.errors import UserError

DELIMITERS = ";\t|,"
COMMA_NUMBER = re.compile(r"-?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2},\d{3}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Table:
    """The lines of a file, with the numbers that they have in it, and how it writes numbers."""

    path: str
    lines: list[tuple[int, list[str]]]
    decimal_comma: bool

    def parse(self, cell: str) -> float | None:
        """The number in a cell, or None."""
        return number(cell.replace(",", ".", 1) if self.decimal_comma else cell)


def read_table(path: str, problems: list[Problem]) -> Table:
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
    return Table(path, table, delimiter != "," and _has_decimal_comma(table))


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


def _has_decimal_comma(lines) -> bool:
    """Whether numbers have commas that can be no marks of thousands."""
    found = (cell for _, cells in lines for cell in cells if "," in cell)
    return any(COMMA_NUMBER.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in found)


def _check_commas(path: str, lines, delimiter: str) -> None:
    """Refuses a file whose commas stand between columns and in most lines in numbers, too."""
    found = [list(filter(COMMA_NUMBER.fullmatch, cells)) for _, cells in lines]
    found = [numbers for numbers in found if len(numbers) > 1]
    if delimiter == "," and found and 2 * len(found) >= len(lines):
        example = found[0][0]
        raise UserError(
            f"'{path}' separates its columns by commas and has commas in numbers such as "
            f"'{example}', which may mean {example.replace(',', '.')} or "
            f"{example.replace(',', '')}: write them so, or separate the columns by semicolons "
            "where they are decimal commas."
        )
