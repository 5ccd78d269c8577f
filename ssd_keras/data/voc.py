"""PASCAL VOC: JPEGImages/, Annotations/ and ImageSets/Main/SPLIT.txt."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ssd_keras.data import checks, images
from ssd_keras.data.source import LEFT_OUT, REFUSED, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

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
        place: a folder with Annotations/ and JPEGImages/, or one that holds both file kinds side
            by side, or a VOCdevkit folder with one VOC20xx in it.
        split: name of a file of ImageSets/Main, or None for every annotation.
        classes: class names; None takes the 20 of VOC in a folder named VOC20xx, else what
            occurs, sorted.

    Raises:
        UserError: no such folder or split, or not one usable image.
    """
    root = _root(spec, place)
    annotations, pictures = os.path.join(root, "Annotations"), os.path.join(root, "JPEGImages")
    if not os.path.isdir(annotations):
        annotations = pictures = root
    names, problems = _names(spec, root, annotations, split)
    files = _image_files(pictures)
    rows = []
    for name in names:
        row = _read(annotations, name, files, problems)
        if row is not None:
            rows.append(row)
    if classes is None:
        # An object without a name is found to be of no known class later, with its place.
        found = sorted({name for row in rows for name in row.names if name})
        official = re.fullmatch(r"VOC20\d\d", os.path.basename(os.path.abspath(root)))
        classes = CLASSES if official and found and set(found) <= set(CLASSES) else found
    return checks.assemble(spec, classes, rows, problems)


def _root(spec: str, place: str) -> str:
    if not os.path.isdir(place):
        parent = os.path.dirname(os.path.abspath(place))
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"There is no folder '{place}' (from '{spec}')."
            + did_you_mean(os.path.basename(place.rstrip("/")), near)
        )
    for _ in range(2):
        if os.path.isdir(os.path.join(place, "Annotations")):
            return place
        inner = [
            os.path.join(place, name)
            for name in sorted(os.listdir(place))
            if name.startswith("VOC") and os.path.isdir(os.path.join(place, name))
        ]
        if len(inner) > 1:
            raise UserError(f"'{place}' holds {len(inner)} VOC folders; name one, e.g. {inner[0]}.")
        if not inner:
            break
        place = inner[0]
    return place


def _names(spec, root, annotations, split) -> tuple[list[str], list[Problem]]:
    problems = []
    if split is None:
        names = sorted(n[:-4] for n in os.listdir(annotations) if n.lower().endswith(".xml"))
        if not names:
            raise UserError(f"'{annotations}' holds no .xml annotation (from '{spec}').")
        return names, problems
    path = os.path.join(root, "ImageSets", "Main", f"{split}.txt")
    if not os.path.isfile(path):
        folder = os.path.dirname(path)
        known = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        known = [name[:-4] for name in known if name.endswith(".txt")]
        raise UserError(
            f"There is no split '{split}' in '{folder}' (from '{spec}')."
            + (f" Known: {', '.join(known[:12])}." if known else " It has no ImageSets/Main/*.txt.")
            + did_you_mean(split, known)
        )
    names, seen = [], {}
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words:
                continue
            # Class-wise lists (`dog_train.txt`) carry 1, 0 or -1 after the name.
            if len(words) > 1 and words[1] == "-1":
                continue
            if words[0] in seen:
                problems.append(
                    Problem(
                        "duplicate_image",
                        f"{path}:{number}",
                        f"'{words[0]}' was already named in line {seen[words[0]]}",
                        LEFT_OUT,
                    )
                )
                continue
            seen[words[0]] = number
            names.append(words[0])
    if not names:
        raise UserError(f"The split file '{path}' names no image.")
    return names, problems


def _image_files(folder: str) -> dict[str, str]:
    """Paths by file name and by stem (JPEG first), as far as they are images."""
    files = {}
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in sorted(names, key=lambda n: not n.lower().endswith((".jpg", ".jpeg"))):
        stem, extension = os.path.splitext(name)
        if extension.lower() in images.EXTENSIONS:
            path = os.path.join(folder, name)
            files[name] = path
            files.setdefault(stem, path)
    return files


def _read(annotations, name, files, problems) -> checks.Row | None:
    path = os.path.join(annotations, f"{name}.xml")

    def problem(kind, message, action=LEFT_OUT, place=path):
        problems.append(Problem(kind, place, message, action))

    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        problem("missing_annotation", "the annotation file does not exist")
        return None
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError, OSError) as error:
        problem("broken_annotation", f"is no readable XML ({error})", REFUSED)
        return None
    if root.tag != "annotation":
        problem("broken_annotation", f"the root element is <{root.tag}>, not <annotation>", REFUSED)
        return None
    declared = (root.findtext("filename") or "").strip()
    # Some tools write the XML's own name or another folder's file there, so the stem counts first.
    picture = files.get(name) or files.get(os.path.basename(declared))
    if picture is None:
        wanted = os.path.basename(declared) or f"{name}.jpg"
        problem("missing_image", f"its image '{wanted}' does not exist")
        return None
    size = tuple(_number(root.findtext(f"size/{side}")) for side in ("height", "width"))
    row = checks.Row(name, picture, declared_size=size, declared_at=path, tolerance=1)
    for index, item in enumerate(root.iter("object")):
        place = f"{path}, object {index}"
        label = (item.findtext("name") or "").strip()
        box = item.find("bndbox")
        if box is None:
            problem("no_box", f"'{label}' has no <bndbox>", place=place)
            continue
        corners = [_number(box.findtext(k)) for k in ("ymin", "xmin", "ymax", "xmax")]
        if None in corners:
            texts = [box.findtext(k) for k in ("xmin", "ymin", "xmax", "ymax")]
            problem("broken_box", f"'{label}' has corners {texts}, not four numbers", place=place)
            continue
        ymin, xmin, ymax, xmax = corners
        if ymin < ymax and xmin < xmax:
            # The first pixel is 1 and the last one belongs to the box. Where the corners meet
            # the box is a mistake, not a pixel, and stays as it is for the check to find.
            ymin, xmin = ymin - 1, xmin - 1
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        row.add(label, (ymin, xmin, ymax, xmax), place, difficult=difficult)
    return row


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
