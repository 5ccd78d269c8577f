"""Which column of a CSV file is what: by the names of its header or, without one, by all lines."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ssd_keras.data import images
from ssd_keras.data.text import number
from ssd_keras.errors import UserError, did_you_mean

# What each column may be called, without anything but letters and digits, the likeliest first.
COLUMNS = {
    "image": (
        "image", "filename", "file", "path", "imagepath", "filepath", "imagename", "imgname",
        "imgpath", "img", "imagefile", "imagefilename", "imgfile", "fname", "frame", "framename",
        "picture", "photo", "uri", "imageuri", "gcsuri", "gcsfilepath", "url", "imageurl",
        "imageid", "imgid", "externalid",
    ),
    "label": (
        "classname", "displayname", "categoryname", "labeltext", "class", "label", "labels",
        "category", "name", "objectclass", "objectname", "annotationtag", "classlabel", "tag",
        "labelname", "classid", "labelid", "categoryid", "clsid",
    ),
    "split": ("split", "set", "subset", "mluse", "usage", "partition"),
    "difficult": ("difficult", "isdifficult"),
    "crowd": ("crowd", "iscrowd", "isgroupof", "groupof"),
    "image_width": ("imagewidth", "imgwidth", "imwidth", "widthimage"),
    "image_height": ("imageheight", "imgheight", "imheight", "heightimage"),
    "width": ("width",),
    "height": ("height",),
    "list": ("bbox", "box", "boundingbox"),
    "list_sizes": ("bboxxywh", "boxxywh"),
    "list_corners": ("bboxxyxy", "boxxyxy"),
    "shape": ("regionshapeattributes",),
    "attributes": ("regionattributes",),
}  # fmt: skip
# The same for the numbers of a box, which may have one of `_PREFIXES` before them.
GEOMETRY = {
    "xmin": (
        "xmin", "minx", "x1", "left", "xleft", "leftx", "xstart", "startx", "xtl", "xtopleft",
        "topleftx", "upperleftx", "upperleftcornerx", "ulx",
    ),
    "ymin": (
        "ymin", "miny", "y1", "top", "ytop", "topy", "ystart", "starty", "ytl", "ytopleft",
        "toplefty", "upperlefty", "upperleftcornery", "uly",
    ),
    "xmax": (
        "xmax", "maxx", "x2", "right", "xright", "rightx", "xend", "endx", "xbr", "xbottomright",
        "bottomrightx", "lowerrightx", "lowerrightcornerx", "lrx",
    ),
    "ymax": (
        "ymax", "maxy", "y2", "bottom", "ybottom", "bottomy", "yend", "endy", "ybr",
        "ybottomright", "bottomrighty", "lowerrighty", "lowerrightcornery", "lry",
    ),
    "x": ("x",),
    "y": ("y",),
    "cx": ("xcenter", "centerx", "cx", "xc", "xcentre", "centrex", "xmid"),
    "cy": ("ycenter", "centery", "cy", "yc", "ycentre", "centrey", "ymid"),
    "w": ("w", "boxwidth", "bboxwidth"),
    "h": ("h", "boxheight", "bboxheight"),
    "x0": ("x0",),
    "y0": ("y0",),
    "corner": ("x3", "y3", "x4", "y4"),
}  # fmt: skip
_PREFIXES = ("boundingbox", "bndbox", "bbox", "box", "roi", "rect", "region")
# Forms of a box, by the columns that they need, in the order (ymin, xmin, ymax, xmax) or alike.
CORNERS, SIZES, CENTRE = "corners", "sizes", "centre"
FORMS = {
    CORNERS: ("ymin", "xmin", "ymax", "xmax"),
    CENTRE: ("cy", "cx", "h", "w"),
    SIZES: ("y", "x", "h", "w"),
}
# First cells of the lines of AutoML and Vertex AI, whose files have no header.
USES = ("train", "training", "test", "validate", "validation", "unassigned")
# From this share of the lines on, numbers that only sizes can be make sizes of all.
_MOSTLY = 0.5
# Up to this share of the lines, numbers that only sizes can be are mistakes of single lines.
_FEW = 0.1
# From this many lines on it is no accident that all of them can be corners.
_ENOUGH = 20

Number = Callable[[str], float | None]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the cells of a line are.

    Attributes:
        columns: index of each column by what it is, of `COLUMNS` and `GEOMETRY`.
        form: `CORNERS`, `SIZES` or `CENTRE`; "" where the boxes must say it.
        width: how many cells a line has at most.
        normalized: whether the tool that writes such files writes shares of the image.
        has_header: whether the first line is one.
        judged: whether the form is what most of the lines speak for.
        note: how the file is understood, where that had to be found out; "" otherwise.
    """

    columns: Mapping[str, int]
    form: str
    width: int
    normalized: bool = False
    has_header: bool = True
    judged: bool = False
    note: str = ""

    @property
    def is_list(self) -> bool:
        """Whether one cell holds all numbers of a box."""
        return "list" in self.columns

    @property
    def last(self) -> int:
        """Index of the last column that a line with an object must have."""
        optional = {"split", "difficult", "crowd", "image_width", "image_height"}
        return max(index for key, index in self.columns.items() if key not in optional)


def corners_of(form: str, numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """`(ymin, xmin, ymax, xmax)` of a box in the order of its form."""
    y, x, height, width = numbers
    if form == CORNERS:
        return y, x, height, width
    if form == CENTRE:
        y, x = y - height / 2, x - width / 2
    return y, x, y + height, x + width


def split_list(text: str) -> list[str]:
    """The cells of a box that stands in one, such as "[834.0, 222.0, 56.0, 36.0]"."""
    return [part for part in re.split(r"[\s,;]+", text.strip().strip("[](){}")) if part]


def is_header(lines: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names the columns, rather than an object."""
    first = lines[0]
    filled = [cell for cell in first if cell]
    if any(number(cell.replace(",", ".")) is not None for cell in filled):
        return False
    if any(cell.lower().endswith(images.EXTENSIONS) for cell in filled):
        return False
    if _found(first):
        return True
    # Names that are not known, above lines of numbers: a header as well, one to be refused.
    return len(filled) > len(first) / 2 and not _is_use(first)


def is_numbered(first: Sequence[str]) -> bool:
    """Whether the first line holds 0, 1, 2 ..., as pandas writes where columns have no names."""
    return len(first) > 1 and list(first) == [str(index) for index in range(len(first))]


def by_header(path: str, header: Sequence[str], *, needs_class: bool = True) -> Layout:
    """The layout that a header says.

    Args:
        path: the file, for messages.
        header: cells of the first line.
        needs_class: whether there must be a column of classes.

    Raises:
        UserError: columns are missing, or two of them have the same name.
    """
    found = _found(header)
    if "corner" in found:
        raise UserError(
            f"'{path}' has more than two corners of a box ({header[found['corner']]}): write "
            "xmin, ymin, xmax, ymax of the box around them."
        )
    form, box = _box_columns(found)
    needed = ["image", "label"] if needs_class and "shape" not in box else ["image"]
    missing = [key for key in needed if key not in found]
    if missing or not box:
        raise _not_understood(path, header, found, missing, not box)
    columns = {key: found[key] for key in _PLAIN if key in found} | box
    _check_repeated(path, header, columns)
    squeezed = {_squeeze(cell) for cell in header}
    open_images = {"imageid", "labelname", "isgroupof"} <= squeezed
    if {"imageid", "width", "height", "bbox", "source"} <= squeezed:
        form = SIZES  # Kaggle's wheat heads, and its copies
    return Layout(columns, form, len(header), normalized=open_images)


def _box_columns(found: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """The form of the box, "" if the file must be asked, and its columns; none if there are none.

    Bare `width` and `height` are those of the box where it needs some, else of the image.
    """

    def first(*pairs):
        return next((pair for pair in pairs if set(pair) <= set(found)), None)

    def columns(*keys):
        return {key: found[key] for key in keys}

    size = first(("w", "h"), ("width", "height"))
    corner = first(("x", "y"), ("xmin", "ymin"))
    one_cell = next((key for key in _ONE_CELL if key in found), None)
    if set(FORMS[CORNERS]) <= set(found):
        form, box, size = CORNERS, columns(*FORMS[CORNERS]), None
    elif one_cell:
        form, size = _ONE_CELL[one_cell], None
        box = {"shape" if one_cell == "shape" else "list": found[one_cell]}
    elif size and first(("cx", "cy")):
        form, box = CENTRE, columns("cx", "cy") | {"w": found[size[0]], "h": found[size[1]]}
    elif size and corner:
        keys = dict(zip(("x", "y", "w", "h"), (*corner, *size), strict=True))
        form, box = SIZES, {key: found[other] for key, other in keys.items()}
    else:
        return "", {}
    bare = [] if size == ("width", "height") else [("width", "height")]
    image = first(("image_width", "image_height"), *bare)
    if image:
        box |= {"image_width": found[image[0]], "image_height": found[image[1]]}
    return form, box


# Columns that hold a whole box, and the form that it then has; "" where that must be found out.
_ONE_CELL = {"list_sizes": SIZES, "list_corners": CORNERS, "list": "", "shape": CORNERS}
_PLAIN = ("image", "label", "split", "difficult", "crowd", "attributes")


def _found(header: Sequence[str]) -> dict[str, int]:
    """Index of each column whose name is known."""
    names = [_squeeze(cell) for cell in header]
    # bbox_xmin, box width and the like; those of an image keep their name.
    bare = [_without_prefix(name) for name in names]
    found = {}
    for table, columns in ((COLUMNS, names), (GEOMETRY, names), (GEOMETRY, bare)):
        for key, known in table.items():
            name = next((name for name in known if name in columns), None)
            if name is not None:
                found.setdefault(key, columns.index(name))
    if {"x0", "y0", "xmin", "ymin"} <= set(found) and "xmax" not in found:
        # x0, y0, x1, y1: what else is the first corner is the second here.
        found |= {"xmax": found["xmin"], "ymax": found["ymin"]}
        found |= {"xmin": found["x0"], "ymin": found["y0"]}
    return found


def _squeeze(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _without_prefix(name: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    bare = name[len(prefix) :]
    return {"width": "w", "height": "h"}.get(bare, bare) if prefix else bare


def _check_repeated(path, header, columns) -> None:
    names = [_squeeze(cell) for cell in header]
    for index in columns.values():
        if names.count(names[index]) > 1:
            raise UserError(
                f"'{path}' has {names.count(names[index])} columns '{header[index]}': name them "
                "apart."
            )


def _not_understood(path, header, found, missing, no_box) -> UserError:
    """The error that names the columns that are missing."""
    wanted = {"image": "the image (image or filename)", "label": "the class (class or label)"}
    parts = [wanted[key] for key in missing] + [_missing_numbers(found)] * no_box
    known = [name for names in (*COLUMNS.values(), *GEOMETRY.values()) for name in names]
    strange = [name for name in map(_squeeze, header) if len(name) > 2 and name not in known]
    near = next((hint for name in strange if (hint := did_you_mean(name, known, 1))), "")
    shown = ", ".join(header[:20]) + (", ..." if len(header) > 20 else "")
    one_class = ", or give the one class of all objects behind the file: ',class=NAME'"
    return UserError(
        f"The header of '{path}' has no column of {', and none of '.join(parts)}; its columns are "
        f"{shown}.{near} Name the columns so{one_class if missing == ['label'] else ''}."
    )


def _missing_numbers(found) -> str:
    for keys in FORMS.values():
        present = [key for key in keys if key in found]
        if set(present) - {"w", "h"}:
            return f"the box ({', '.join(sorted(set(keys) - set(present)))})"
    return "the box (xmin, ymin, xmax, ymax, or x, y, w, h)"


def by_lines(path: str, lines: Sequence[tuple[int, Sequence[str]]], parse: Number) -> Layout:
    """The layout of a file without a header, judged over all of its lines.

    Args:
        path: the file, for messages.
        lines: numbers and cells of all lines.
        parse: turns a cell into a number, or None.

    Raises:
        UserError: there is no such layout, or more than one that is as likely.
    """
    if 2 * sum(_is_use(cells) for _, cells in lines) > len(lines):
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


def _is_use(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and cells[0].lower() in USES


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
