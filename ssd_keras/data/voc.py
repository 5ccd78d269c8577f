"""PASCAL VOC: an .xml file for each image, and lists of their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ssd_keras.data import (
    checks,
    file_lists,
    image_index,
    images,
    names,
    options,
    text,
    turned,
    voc_layout,
)
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.data.text import mark, number
from ssd_keras.data.voc_xml import read_root
from ssd_keras.errors import UserError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a VOC folder.

    Pixel boxes are 1-based and inclusive in VOC, so a box covers `xmin - 1 .. xmax`.

    Args:
        spec: how the user named the data, for messages.
        place: a folder with .xml files and images, side by side or in folders of their own, in
            one of the ways of `voc_layout.find`; behind it may stand `,images=DIR` and
            `,units=UNIT`.
        split: name of a list of images, or of a sub-folder; None for every annotation.
        classes: class names; None takes the 20 of VOC in a folder named VOC20xx, else what
            occurs, sorted.

    Raises:
        UserError: no such folder or split, or not one usable image.
    """
    place, chosen = options.split(spec, place, options.IMAGES | options.UNITS)
    unit = chosen.get("units")
    layout = voc_layout.find(spec, place, split, chosen.get("images"))
    problems: list[Problem] = []
    pictures = _Pictures(layout, problems)
    annotations = _annotations(layout, problems)
    first = 1 if unit in (None, "pixels") else 0
    rows = [_read(path, pictures, problems, first) for path in annotations]
    rows = [row for row in rows if row is not None]
    for row, name in zip(rows, names.image_ids([row.declared_at for row in rows]), strict=True):
        row.image_id = name
    if layout.list_file is None:
        problems += _without_annotation(layout, pictures, rows, annotations)
    if classes is None:
        # An object without a name is found to be of no known class later, with its place.
        found = sorted({name for row in rows for name in row.names if name})
        official = re.fullmatch(r"VOC20\d\d", os.path.basename(os.path.abspath(layout.root)))
        classes = CLASSES if official and found and set(found) <= set(CLASSES) else found
    return checks.assemble(spec, classes, rows, problems, unit)


def _annotations(layout: voc_layout.VocLayout, problems: list[Problem]) -> list[str]:
    """The paths of the .xml files that are read."""
    if len(layout.parts) > 1:
        message = f"no split was named: {', '.join(layout.parts)} are read as one"
        problems.append(Problem("all_splits", layout.root, message, NOTED))
    if layout.list_file is None:
        found = file_lists.files_of(layout.annotations, (".xml",), problems)
        return sorted(found, key=lambda path: os.path.splitext(path)[0])
    return _read_list(layout, problems)


def _read_list(layout: voc_layout.VocLayout, problems: list[Problem]) -> list[str]:
    path = layout.list_file
    index = image_index.ImageIndex([layout.annotations], problems, extensions=(".xml",))
    found: dict[str, int] = {}
    for line_number, line in enumerate(text.lines(text.read_text(path, problems)), 1):
        name, xml = _annotation_of(line, index)
        if not name:
            continue
        # What is not found is named by its reader, with where it should be.
        xml = xml or os.path.join(layout.annotations, f"{_stem(name)}.xml")
        if xml in found:
            message = f"'{name}' was already named in line {found[xml]}"
            place = f"{path}:{line_number}"
            problems.append(Problem("duplicate_image", place, message, LEFT_OUT))
            continue
        found[xml] = line_number
    if not found:
        raise UserError(f"The split file '{path}' names no image.")
    return list(found)


def _annotation_of(line: str, index: image_index.ImageIndex) -> tuple[str, str | None]:
    """The image that a line of a list names, and its .xml file; no name if it is not to be used.

    A line is a name, which may hold blanks; a name with numbers behind it; or the paths of the
    image and its annotation. Lists of one class have 1, 0 or -1 behind the name.
    """
    line = line.strip()
    for name in _readings(line):
        xml = _xml_file(name, index)
        if xml is not None:
            break
    else:
        name = _readings(line)[-1] if line else ""
    flag = line[len(name) :].strip() if line.startswith(name) else ""
    return ("", None) if flag == "-1" else (name, xml if name else None)


def _readings(line: str) -> list[str]:
    """What may be the name in a line, the likeliest first."""
    readings = [line]
    words = line.split()
    if len(words) > 1 and words[-1].lower().endswith(".xml"):
        readings.append(words[-1])
    while numbers := re.search(r"\s+-?\d+$", readings[-1]):
        readings.append(readings[-1][: numbers.start()])
    return readings


def _xml_file(name: str, index: image_index.ImageIndex) -> str | None:
    if not name:
        return None
    exact = os.path.join(index.folders[0], f"{name}.xml")
    return exact if os.path.isfile(exact) else index.find(name).path


def _stem(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in (*images.EXTENSIONS, ".xml") else name


class _Pictures:
    """The images of a VOC folder, by their annotations."""

    def __init__(self, layout: voc_layout.VocLayout, problems: list[Problem]):
        self.index = image_index.ImageIndex(layout.pictures, problems)
        self._anywhere = image_index.ImageIndex([layout.root])
        self._annotations = layout.annotations

    def find(self, path: str, declared: str) -> tuple[image_index.Found, str]:
        """The image of the annotation `path` that states the file name `declared`, and a note.

        Some tools write the XML's own name or another folder's file there, so the stem counts
        first.
        """
        own = _stem(os.path.relpath(path, self._annotations))
        found = self.index.find(own)
        differs = declared and names.fold(_stem(_last(declared))) != names.fold(_last(own))
        if found.path:
            other = self.index.find(declared).path if differs else None
            if other and other != found.path:
                return found, (
                    f"is taken for '{found.path}', which has its name, although <filename> says "
                    f"'{declared}', which is there, too"
                )
            return found, ""
        stated = self.index.find(declared) if declared else image_index.MISSING
        if stated.path:
            return stated, stated.note
        if found.note or stated.note:
            return (stated if stated.note else found), ""
        anywhere = self._anywhere.find(declared or f"{own}.jpg")
        return (anywhere if anywhere.sure else image_index.MISSING), ""


def _last(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def _read(path: str, pictures: _Pictures, problems: list[Problem], first: int) -> checks.Row | None:
    """The image and objects of an annotation; `first` is the coordinate of the first pixel."""
    root = read_root(path, problems)
    if root is None:
        return None
    declared = (root.findtext("filename") or "").strip()
    found, note = pictures.find(path, declared)
    if note:
        problems.append(Problem("image_name", path, note, NOTED))
    name = _stem(os.path.basename(path))
    size = tuple(number(root.findtext(f"size/{side}")) for side in ("height", "width"))
    row = checks.Row(name, found.path or "", declared_size=size, declared_at=path, tolerance=1)
    for index, item in enumerate(root.iter("object")):
        _add(row, item, f"{path}, object {index}", problems, first)
    if unclear := _unclear(root, ("filename",)) or _unclear(root.find("size"), ("height", "width")):
        problems.append(row.left_out("broken_annotation", path, unclear, REFUSED))
        return None
    if not found.path:
        row.missing = image_index.why_missing(declared or f"{name}.jpg", found)
    return row


def _add(
    row: checks.Row,
    item: ElementTree.Element,
    place: str,
    problems: list[Problem],
    first: int,
) -> None:
    """Adds an object, or says why it cannot be read."""
    label = names.normalize(item.findtext("name") or "")

    def reject(kind, message, action=LEFT_OUT):
        problems.append(row.reject(kind, place, message, action, name=label))

    box = item.find("bndbox")
    if unclear := _unclear(item, ("name", "bndbox", "difficult")) or _unclear(box, _CORNERS):
        reject("broken_object", unclear, REFUSED)
        return
    if box is None:
        reject("no_box", f"'{label}' has no <bndbox>")
        return
    corners = [number(box.findtext(key)) for key in ("ymin", "xmin", "ymax", "xmax")]
    if None in corners:
        texts = [box.findtext(key) for key in _CORNERS]
        reject("broken_box", f"'{label}' has corners {texts}, not four numbers")
        return
    ymin, xmin, ymax, xmax = corners
    if ymin < ymax and xmin < xmax:
        # The first pixel is 1 and the last one belongs to the box. Where the corners meet
        # the box is a mistake, not a pixel, and stays as it is for the check to find.
        ymin, xmin = ymin - first, xmin - first
    difficult = mark(item.findtext("difficult"))
    if difficult is None:
        said = (item.findtext("difficult") or "").strip()[:40]
        reject("broken_mark", f"'{label}' has '{said}' for difficult: write 1 or 0", REFUSED)
        return
    corners = ymin, xmin, ymax, xmax
    written = _rotation_of(item)
    turn = turned.degrees_of(written)
    if turn is None:
        problems.append(turned.note_unclear(place, label, written, row.image))
    elif turn:
        corners = tuple(turned.upright([corners], [turn])[0].tolist())
        problems.append(turned.note(place, label, turn, row.image))
    row.add(label, corners, place, difficult=difficult)


def _rotation_of(item: ElementTree.Element) -> str | float:
    """By how many degrees CVAT says that an object is turned from its box; it does not turn it."""
    for attribute in item.iterfind("attributes/attribute"):
        if (attribute.findtext("name") or "").strip() == "rotation":
            return attribute.findtext("value") or ""
    return 0.0


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _unclear(parent: ElementTree.Element | None, tags: Sequence[str]) -> str:
    """Why it is not clear what an element says: a tag stands twice, or holds others; "" if it is.

    A box is the only one that holds others.
    """
    for tag in tags if parent is not None else ():
        found = parent.findall(tag)
        if len(found) > 1:
            return f"has {len(found)} <{tag}> in <{parent.tag}>: which of them counts?"
        if found and len(found[0]) and tag != "bndbox":
            return f"has <{found[0][0].tag}> within <{tag}>: write its text alone"
    return ""


def _without_annotation(
    layout: voc_layout.VocLayout,
    pictures: _Pictures,
    rows: Sequence[checks.Row],
    annotations: Sequence[str],
) -> list[Problem]:
    """The problem that images have no .xml file, or none that is theirs."""
    used = {row.path for row in rows}
    # Of those that cannot be read it is not known which image they mean.
    annotated = {names.fold(_stem(os.path.basename(path))) for path in annotations}
    annotated -= {names.fold(_stem(os.path.basename(path))) for path in used}
    left = [
        path
        for path in pictures.index.files()
        if path not in used and names.fold(_stem(os.path.basename(path))) not in annotated
    ]
    if not left:
        return []
    listed = ", ".join(os.path.basename(path) for path in left[:5])
    more = ", ..." if len(left) > 5 else ""
    message = f"{len(left)} images have no .xml file and are not used: {listed}{more}"
    place = layout.pictures[0]
    return [Problem("not_annotated", place, message, NOTED, images_lost=len(left))]
