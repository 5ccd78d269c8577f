"""What the lines of a CSV file say of its columns where the header does not: all are looked at."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.csv_columns import CORNERS, SIZES, Layout, Number, is_use
from ssd_keras.data.image_index import ImageIndex
from ssd_keras.errors import UserError

# From this share of the lines on, numbers that only sizes can be make sizes of all.
_MOSTLY = 0.5
# Up to this share of the lines, numbers that only one of the two can be are mistakes of single
# lines.
_FEW = 0.1
# By how much of its side a box may leave its image where its numbers are rounded or its edge is
# drawn carelessly.
_SLIGHTLY = 0.02
# Numbers up to here are shares of the image.
_SHARE = 1.01
# So many images are opened to see how large they are.
_MOST_OPENED = 300

# Width and height `[n, 2]` of the images of n boxes, by their names; nan where it is not known.
Sides = Callable[[Sequence[str]], np.ndarray]


def sides_by(index: ImageIndex, unit: str | None) -> Sides:
    """How large images are in the unit that the user says boxes are given in, pixels for None."""
    scale = units.UNITS[unit] if unit else None

    def sides(names: Sequence[str]) -> np.ndarray:
        if scale is not None:
            return np.full((len(names), 2), scale)
        different = list(dict.fromkeys(names))
        found = index.find_all(different[:: max(1, len(different) // _MOST_OPENED)])
        known = {name: _sides(one.path) for name, one in found.items() if one.path}
        return np.array([known.get(name, (np.nan, np.nan)) for name in names]).reshape(-1, 2)

    return sides


def _sides(path: str) -> tuple[float, float]:
    try:
        header = images.read_header(path)
    except images.ImageError:
        return np.nan, np.nan
    if header.turned:
        # It may have been annotated either way.
        return (float(max(header.height, header.width)),) * 2
    return float(header.width), float(header.height)


def by_lines(
    path: str, lines: Sequence[tuple[int, Sequence[str]]], parse: Number, sides: Sides
) -> Layout:
    """The layout of a file without a header, judged over all of its lines.

    Args:
        path: the file, for messages.
        lines: numbers and cells of all lines.
        parse: turns a cell into a number, or None.
        sides: of images, see `sides_by`.

    Raises:
        UserError: there is no such layout, or more than one that is as likely.
    """
    if 2 * sum(is_use(cells) for _, cells in lines) > len(lines):
        return _automl(path, lines)
    full = [cells for _, cells in lines if sum(map(bool, cells)) > 1]
    count = statistics.mode(map(len, map(_without_empty_end, full))) if full else 1
    found = [(cells[0], [parse(cell) for cell in cells[1:5]]) for cells in full]
    found = [(name, four) for name, four in found if len(four) == 4 and None not in four]
    numbers = [four for _, four in found]
    labelled = [cells[5] for cells in full if len(cells) > 5]
    is_number = [parse(label) for label in labelled]
    fractions = sum(value is not None and value % 1 != 0 for value in is_number)
    if full and (count != 6 or 2 * len(numbers) < len(full) or 2 * fractions > len(full)):
        raise UserError(
            f"'{path}' has no header, and its {count} columns are not image, xmin, ymin, xmax, "
            "ymax, class: write a first line that names the columns."
        )
    form = judge_order(path, np.array(numbers), sides([name for name, _ in found]))
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


def judge_order(path: str, numbers: np.ndarray, sides: np.ndarray, *, named: bool = False) -> str:
    """Whether four numbers x, y and two more are two corners, or a corner and a size.

    They are sizes where most can be no corners; corners where hardly any are none, and more than a
    few can be no sizes, with which they would leave their images. Where no image is found nothing
    can be read of the file anyhow, and they are corners.

    Args:
        path: the file, for messages.
        numbers: float64 `[n, 4]`, of all lines.
        sides: float64 `[n, 2]`, width and height of the image of each, nan where it is not known.
        named: the file has a header that only says that this is a box.

    Raises:
        UserError: both can be meant.
    """
    numbers = np.asarray(numbers, np.float64).reshape(-1, 4)
    sides = np.asarray(sides, np.float64).reshape(-1, 2)
    if not len(numbers):
        return CORNERS
    first, last = numbers[:, :2], numbers[:, 2:]
    with np.errstate(invalid="ignore", over="ignore"):
        if np.abs(numbers).max() <= _SHARE:
            sides = np.ones_like(sides)
        only_sizes = (last < first).any(1)
        pairs = (numbers[:, 0] < numbers[:, 1]) & (numbers[:, 2] < numbers[:, 3])
        edge = sides * (1 + _SLIGHTLY)
        only_corners = (first + last > edge).any(1) & (last <= edge).all(1)
        only_corners = only_corners[~np.isnan(edge[:, 0])]
    share = only_sizes.mean()
    if share > _MOSTLY and (named or pairs.mean() < 1 - _FEW):
        return SIZES
    if share <= _FEW and (not len(only_corners) or only_corners.mean() > _FEW):
        return CORNERS
    x, y, *two = (f"{value:g}" for value in numbers[0])
    headers = "image,xmin,ymin,xmax,ymax,class or image,x,y,w,h,class"
    way = "call the column bbox_xyxy or bbox_xywh" if named else f"write {headers} as first line"
    raise UserError(
        f"'{path}' does not say whether the last two numbers of a box are its second corner or its "
        f"size ({int(only_sizes.sum()):,} of {len(numbers):,} boxes can be no corners, "
        f"{int(only_corners.sum()):,} of {len(only_corners):,} no sizes). The first one is from "
        f"{x}, {y} to {', '.join(two)}, or from {x}, {y} and {' x '.join(two)} large: {way}."
    )
