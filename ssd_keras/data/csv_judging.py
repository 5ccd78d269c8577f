"""What the lines of a CSV file say of its columns where the header does not: all are looked at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from ssd_keras.data.csv_columns import CORNERS, SIZES, Layout, Number, is_use
from ssd_keras.errors import UserError

# From this share of the lines on, numbers that only sizes can be make sizes of all.
_MOSTLY = 0.5
# Up to this share of the lines, numbers that only sizes can be are mistakes of single lines.
_FEW = 0.1
# From this many lines on it is no accident that all of them can be corners.
_ENOUGH = 20


def by_lines(path: str, lines: Sequence[tuple[int, Sequence[str]]], parse: Number) -> Layout:
    """The layout of a file without a header, judged over all of its lines.

    Args:
        path: the file, for messages.
        lines: numbers and cells of all lines.
        parse: turns a cell into a number, or None.

    Raises:
        UserError: there is no such layout, or more than one that is as likely.
    """
    if 2 * sum(is_use(cells) for _, cells in lines) > len(lines):
        return _automl(path, lines)
    full = [cells for _, cells in lines if sum(map(bool, cells)) > 1]
    count = statistics.mode(map(len, map(_without_empty_end, full))) if full else 1
    numbers = [[parse(cell) for cell in cells[1:5]] for cells in full]
    numbers = [four for four in numbers if len(four) == 4 and None not in four]
    labelled = [cells[5] for cells in full if len(cells) > 5]
    is_number = [parse(label) for label in labelled]
    fractions = sum(value is not None and value % 1 != 0 for value in is_number)
    if full and (count != 6 or 2 * len(numbers) < len(full) or 2 * fractions > len(full)):
        raise UserError(
            f"'{path}' has no header, and its {count} columns are not image, xmin, ymin, xmax, "
            "ymax, class: write a first line that names the columns."
        )
    form = judge_order(np.array(numbers, np.float64).reshape(-1, 4), path)
    keys = ("x", "y", "w", "h") if form == SIZES else ("xmin", "ymin", "xmax", "ymax")
    columns = {key: index for index, key in enumerate(("image", *keys, "label"))}
    note = f"has no header; its columns are read as image, {', '.join(keys)}, class"
    return Layout(columns, form, 6, has_header=False, judged=True, note=note)


def _without_empty_end(cells: Sequence[str]) -> Sequence[str]:
    last = max((index for index, cell in enumerate(cells) if cell), default=-1)
    return cells[: last + 1]


def _automl(path, lines) -> Layout:
    """use, path, label, x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max."""
    lengths = [len(_without_empty_end(cells)) for _, cells in lines if any(cells[2:])]
    if lengths and statistics.mode(lengths) < 9:
        raise UserError(
            f"'{path}' begins as files of AutoML do, but its lines have not their 11 columns: "
            "TRAIN, image, class, xmin, ymin, , , xmax, ymax, , ."
        )
    columns = {"split": 0, "image": 1, "label": 2, "xmin": 3, "ymin": 4, "xmax": 7, "ymax": 8}
    note = "is read as a file of AutoML, with shares of the image"
    return Layout(columns, CORNERS, 11, normalized=True, has_header=False, note=note)


def judge_order(numbers: np.ndarray, path: str, *, named: bool = False) -> str:
    """Whether four numbers x, y and two more are two corners, or a corner and a size.

    Args:
        numbers: float64 `[n, 4]`, of all lines.
        path: the file, for messages.
        named: the file has a header that only says that this is a box: few lines tell nothing.

    Raises:
        UserError: as many lines speak for the one as for the other.
    """
    with np.errstate(invalid="ignore"):
        only_sizes = (numbers[:, 2:] < numbers[:, :2]).any(1)
        pairs = (numbers[:, 0] < numbers[:, 1]) & (numbers[:, 2] < numbers[:, 3])
    share = only_sizes.mean() if len(numbers) else 0.0
    if share > _MOSTLY and (named or pairs.mean() < 1 - _FEW):
        return SIZES
    if share <= _FEW and (not named or len(numbers) >= _ENOUGH):
        return CORNERS
    way = (
        "call the column bbox_xywh or bbox_xyxy"
        if named
        else "write a first line that says so, such as image,x,y,w,h,class or "
        "image,xmin,ymin,xmax,ymax,class"
    )
    raise UserError(
        f"'{path}' does not say whether the last two numbers of a box are its second corner or its "
        f"size ({int(only_sizes.sum()):,} of {len(numbers):,} boxes can be no corners): {way}."
    )
