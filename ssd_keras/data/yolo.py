"""YOLO text: one .txt beside each image (or in labels/), lines `class cx cy w h` in shares."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from ssd_keras.data import checks, images
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, Problem, Source
from ssd_keras.errors import UserError, did_you_mean


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a YOLO data set.

    Args:
        spec: how the user named the data, for messages.
        place: data.yaml, or a folder that holds one, or a bare folder of images and .txt files
            (side by side, or in images/ and labels/), where classes.txt or obj.names may name the
            classes.
        split: "train", "val" or "test" of the data.yaml; in a bare folder a sub-folder of images/.
        classes: class names in the order of their numbers; None takes them from the files.

    Raises:
        UserError: no such file or split, or not one usable image.
    """
    problems: list[Problem] = []
    yaml = place
    if os.path.isdir(place):
        yaml = next(
            (
                os.path.join(place, name)
                for name in ("data.yaml", "data.yml", "dataset.yaml")
                if os.path.isfile(os.path.join(place, name))
            ),
            "",
        )
    elif not os.path.isfile(place):
        parent = os.path.dirname(os.path.abspath(place))
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"There is no '{place}' (from '{spec}')." + did_you_mean(os.path.basename(place), near)
        )
    names: dict[int, str] = {}
    if yaml:
        names, files = _from_yaml(spec, yaml, split, problems)
    else:
        names, files = _from_folder(spec, place, split)
    rows = [_row(path, problems) for path in files]
    rows = [row for row in rows if row is not None]
    if not names:
        numbers = sorted({int(n) for row in rows for n in row.names if n.isdigit()})
        given = dict(enumerate(classes or ()))
        names = {n: given.get(n, str(n)) for n in numbers} | given
    for row in rows:
        # Numbers that no file names stay numbers, and are reported as unknown.
        row.names = [names.get(int(n), n) if n.isdigit() else n for n in row.names]
    if classes is None:
        classes = [names[number] for number in sorted(names)]
        if not yaml:
            classes += sorted(
                {n for row in rows for n in row.names if not n.isdigit()} - {*classes}
            )
    return checks.assemble(spec, classes, rows, problems)


def _from_yaml(spec, path, split, problems):
    content = parse_yaml(_text(path), path)
    names = content.get("names", [])
    names = dict(enumerate(names)) if isinstance(names, list) else names
    try:
        names = {int(key): str(value) for key, value in names.items()}
    except (AttributeError, ValueError) as error:
        raise UserError(f"'names' in '{path}' must list the class names.") from error
    split = split or "train"
    if split not in content:
        known = [key for key in ("train", "val", "test") if key in content]
        raise UserError(
            f"'{path}' has no split '{split}' (from '{spec}')."
            + (f" It has {', '.join(known)}." if known else "")
            + did_you_mean(split, known)
        )
    base = os.path.dirname(os.path.abspath(path))
    root = str(content.get("path") or "")
    bases = [os.path.join(base, root), base]
    places = content[split] if isinstance(content[split], list) else [content[split]]
    files = []
    for place in places:
        # Exports often say ../train/images although the folder lies beside the file.
        candidates = [os.path.join(b, str(place)) for b in bases]
        if str(place).startswith("../"):
            candidates.append(os.path.join(base, str(place)[3:]))
        found = next((c for c in candidates if os.path.exists(c)), None)
        if found is None:
            raise UserError(f"'{split}: {place}' in '{path}' does not exist.")
        files += _listed(found, problems)
    return names, files


def _listed(place, problems) -> list[str]:
    if os.path.isdir(place):
        return _images(place)
    files = []
    for number, line in enumerate(_text(place).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        path = os.path.join(os.path.dirname(place), name)
        if not os.path.isfile(path):
            message = f"its image '{name}' does not exist"
            problems.append(Problem("missing_image", f"{place}:{number}", message, LEFT_OUT))
            continue
        files.append(path)
    return files


def _from_folder(spec, place, split):
    folder = os.path.join(place, "images")
    folder = folder if os.path.isdir(folder) else place
    if split:
        options = [os.path.join(folder, split), os.path.join(place, split, "images")]
        options.append(os.path.join(place, split))
        found = next((o for o in options if os.path.isdir(o)), None)
        if found is None:
            raise UserError(f"There is no split '{split}' in '{place}' (from '{spec}').")
        folder = found
    for base in (place, folder):
        for name in ("classes.txt", "obj.names", "labels.txt", "labels/classes.txt"):
            path = os.path.join(base, name)
            if os.path.isfile(path):
                lines = [line.strip() for line in _text(path).splitlines()]
                return dict(enumerate(line for line in lines if line)), _images(folder)
    return {}, _images(folder)


def _images(folder: str) -> list[str]:
    return [
        os.path.join(root, name)
        for root, _, names in sorted(os.walk(folder))
        for name in sorted(names)
        if name.lower().endswith(images.EXTENSIONS)
    ]


def label_file(path: str) -> str:
    """Where the objects of an image are written: labels/ for images/, else beside it."""
    stem = os.path.splitext(path)[0] + ".txt"
    parts = stem.split(os.sep)
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[:-1][::-1].index("images")
        other = os.sep.join([*parts[:at], "labels", *parts[at + 1 :]])
        if os.path.isfile(other) or not os.path.isfile(stem):
            return other
    return stem


def _row(path: str, problems: list[Problem]) -> checks.Row | None:
    text_file = label_file(path)
    name = os.path.splitext(os.path.basename(path))[0]
    row = checks.Row(
        name, path, declared_at=text_file, normalized=True, tolerance=checks.SHARE_TOLERANCE
    )
    if not os.path.isfile(text_file):
        message = f"the label file '{text_file}' does not exist: an image without objects"
        problems.append(Problem("missing_annotation", path, message, NOTED))
        return row
    try:
        lines = _text(text_file).splitlines()
    except UserError as error:
        problems.append(Problem("broken_annotation", text_file, str(error), REFUSED))
        return None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        place = f"{text_file}:{number}"
        if words[0] == os.path.basename(path) and len(words) >= 6:
            # A line `file x y w h name` in pixels, as licence-plate sets have it.
            try:
                x, y, width, height = (float(word) for word in words[1:5])
            except ValueError:
                x = y = width = height = math.nan
            row.normalized, row.tolerance = False, 0.5
            row.add(" ".join(words[5:]), (y, x, y + height, x + width), place)
            continue
        try:
            label = int(float(words[0]))
            values = [float(word) for word in words[1:]]
        except (ValueError, OverflowError):
            values = []
        if len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]  # a polygon, as segmentation sets have
            row.add(str(label), (min(ys), min(xs), max(ys), max(xs)), place)
            continue
        if len(values) != 4:
            message = f"expected 'class cx cy w h', found '{line.strip()[:60]}'"
            problems.append(Problem("broken_line", place, message, REFUSED))
            continue
        x, y, width, height = values
        if max(map(abs, values)) > 2 and all(map(math.isfinite, values)):
            message = f"{values} are pixels, not shares of the image from 0 to 1"
            problems.append(Problem("not_normalised", place, message, REFUSED))
            continue
        box = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
        row.add(str(label), box, place)
    return row


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no readable text: {error}.") from error


def parse_yaml(text: str, path: str = "data.yaml") -> dict:
    """The part of YAML that data.yaml files use: scalars, lists in either style, one mapping level.

    Raises:
        UserError: a line is none of these.
    """
    content: dict = {}
    key = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).rstrip()
        if not line.strip() or line.strip() == "---":
            continue
        inner = line.strip()
        if inner.startswith("- ") and key is not None:
            if not isinstance(content[key], list):
                content[key] = []
            content[key].append(_scalar(inner[2:]))
        elif line[0] in " \t" and ":" in inner and key is not None:
            if not isinstance(content[key], dict):
                content[key] = {}
            name, _, value = inner.partition(":")
            content[key][_scalar(name)] = _scalar(value)
        elif line[0] in " \t" and key is not None and isinstance(content[key], str):
            content[key] += " " + inner  # a flow list that goes on
        elif ":" in line:
            key, _, value = line.partition(":")
            key = str(_scalar(key))
            content[key] = value.strip()
        else:
            raise UserError(f"{path}:{number}: expected 'key: value', found '{raw.strip()[:60]}'.")
    return {k: _scalar(v) if isinstance(v, str) else v for k, v in content.items()}


def _without_comment(line: str) -> str:
    quote = ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at]
    return line


def _scalar(text: str):
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(part) for part in text[1:-1].split(",") if part.strip()]
    if text.startswith("{") and text.endswith("}"):
        pairs = (part.partition(":") for part in text[1:-1].split(",") if part.strip())
        return {_scalar(k): _scalar(v) for k, _, v in pairs}
    return text
