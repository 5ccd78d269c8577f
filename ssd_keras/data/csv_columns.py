"""Which column of a CSV file is what: by the names of its header or, without one, by all lines."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

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
    "rotation": ("rotation", "rotationangle", "boxrotation", "bboxrotation"),
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
        optional = {"split", "difficult", "crowd", "rotation", "image_width", "image_height"}
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
    if _find_columns(first):
        return True
    # Names that are not known, above lines of numbers: a header as well, one to be refused.
    return len(filled) > len(first) / 2 and not is_use(first)


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
    found = _find_columns(header)
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
_PLAIN = ("image", "label", "split", "difficult", "crowd", "rotation", "attributes")


def _find_columns(header: Sequence[str]) -> dict[str, int]:
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


def is_use(cells: Sequence[str]) -> bool:
    """Whether a line begins as those of AutoML do."""
    return len(cells) > 1 and cells[0].lower() in USES
