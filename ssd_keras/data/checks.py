"""What every reader checks: images against their headers, boxes against their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.ground_truth import TruthTable
from ssd_keras.data.header_index import HeaderIndex
from ssd_keras.data.names import normalize, note_alike
from ssd_keras.data.rows import SHARE_TOLERANCE as SHARE_TOLERANCE
from ssd_keras.data.rows import Headers, Row, RowTable
from ssd_keras.data.source import CLIPPED, LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

# Of so many unknown classes it is said which known ones are called alike; each is held against all.
_MOST_HINTS = 50


class ClassNames:
    """The classes of a data set, looked up by their names."""

    def __init__(self, classes: Sequence[str]):
        self.label = {name: index for index, name in enumerate(classes)}
        # A data set may name the same unknown class once for each of a million objects.
        self._unknown: dict[str, str] = {}

    def labels(self, names: Sequence[str]) -> np.ndarray:
        """int32 `[n]`, -1 for a name that is none of the classes."""
        return np.array([self.label.get(name, -1) for name in names], np.int32)

    def why_unknown(self, name: str) -> str:
        """What is said of an object of a class that is not known."""
        if name not in self._unknown:
            few = len(self._unknown) < _MOST_HINTS
            near = did_you_mean(name, self.label) if few else ""
            self._unknown[name] = f"class '{name}' is unknown.{near}" if name else "names no class"
        return self._unknown[name]


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
    truth, kept = _check_rows(table, headers, ClassNames(classes), problems)
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
            f"'{spec}' has no class: no object is annotated and no classes are given.", problems
        )
    if "" in classes:
        raise UserError(f"Class {classes.index('')} of '{spec}' has an empty name.")
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        raise UserError(f"Classes occur twice in '{spec}': {', '.join(twice)}.")
    note_alike(classes, spec, problems)
    return classes


# Rows are looked at together in blocks of about so many objects, which bounds the memory for it.
_BLOCK = 1 << 18


def _check_rows(
    table: RowTable, headers: Headers, names: ClassNames, problems: list[Problem]
) -> tuple[TruthTable, np.ndarray]:
    """What is good of all rows, and which rows it is of.

    All rows are looked at together for the least fault, and those with one are checked by
    themselves, which takes a hundred times as long and says what it is.
    """
    labels = names.labels(table.names)[table.name]
    boxes = np.zeros((len(labels), 4), np.float32)
    area = np.zeros(len(labels))
    alive = np.ones(len(labels), bool)
    flags = {name: getattr(table, name).copy() for name in ("difficult", "crowd", "ignored")}
    used = np.ones(len(table), bool)
    for block in table.blocks(_BLOCK):
        clean = _write_faultless(table, headers, labels, block, boxes, area)
        for number in block.start + np.flatnonzero(~clean | (table.counts[block] == 0)):
            part = slice(table.starts[number], table.starts[number + 1])
            if clean[number - block.start]:
                problems += _emptiness(table.rows[number], np.zeros(0, bool))
                continue
            truth = check_row(table.rows[number], headers[number], names, problems)
            used[number] = truth is not None
            count = 0 if truth is None else len(truth)
            alive[part] = np.arange(part.stop - part.start) < count
            if count:
                kept = slice(part.start, part.start + count)
                boxes[kept], labels[kept], area[kept] = truth.boxes, truth.labels, truth.area
                for name, column in flags.items():
                    column[kept] = getattr(truth, name)
    kept = np.flatnonzero(used)
    counts = np.add.reduceat(np.append(alive, False), table.starts[:-1], dtype=np.int64)
    counts[table.counts == 0] = 0
    truth = TruthTable(
        [table.image_ids[i] for i in kept],
        headers.sizes[kept],
        counts[kept],
        boxes[alive],
        [table.paths[i] or None for i in kept],
        labels=labels[alive],
        area=area[alive],
        **{name: column[alive] for name, column in flags.items()},
    )
    return truth, kept


def _write_faultless(table, headers, labels, block: slice, boxes, area) -> np.ndarray:
    """Writes the boxes in shares and the areas of a block of rows as they are if nothing is wrong.

    Returns:
        bool `[rows]`, those of which nothing is to be said but that they are empty. Others may be
        without a fault, too.
    """
    part = slice(table.starts[block.start], table.starts[block.stop])
    row = np.repeat(np.arange(block.stop - block.start), table.counts[block])
    normalized = table.normalized[block]
    sizes = headers.sizes[block].astype(np.float64)
    limit = np.tile(np.where(normalized[:, None], 1.0, sizes), 2)[row]
    corners = table.boxes[part]
    with np.errstate(all="ignore"):
        clipped = np.clip(corners, 0, limit)
        wrong = labels[part] < 0
        for fault in _wrong(corners, clipped):
            wrong |= fault
        wrong |= np.abs(clipped - corners).max(1, initial=0) > table.tolerance[block][row]
        if not table.unit_stated:
            wrong |= units.in_another_unit(corners, normalized[row])
        wrong |= _may_repeat(row, labels[part], clipped)
        boxes[part] = clipped / limit
    area[part] = table.areas[part]
    clean = np.isin(np.arange(len(sizes)), row[wrong], invert=True)
    declared = table.declared[block]
    return clean & (normalized | np.isnan(declared).all(1) | (declared == sizes).all(1))


def _may_repeat(row: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """bool `[n]`: objects whose like may stand in the same row; no repeated one is missed."""
    rounded = np.ascontiguousarray(np.round(boxes, 6) + 0.0).view(np.uint64)
    mixed = np.column_stack([row, labels, rounded]).astype(np.uint64)
    keys = (mixed * _ODD).sum(1, dtype=np.uint64)
    keys ^= keys >> np.uint64(29)
    order = np.argsort(keys, kind="stable")
    again = np.zeros(len(keys), bool)
    again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return again


# Multipliers of a hash; any large odd numbers will do.
_ODD = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53], np.uint64,
)  # fmt: skip


def check_row(
    row: Row, header: images.Header, names: ClassNames, problems: list[Problem]
) -> GroundTruth | None:
    """Checks one image's annotation; returns what is good of it, or None to leave it out."""
    scale = _scale(row, header, problems)
    if scale is None:
        return None
    limit = np.ones(4) if row.normalized else np.array([header.height, header.width] * 2)
    labels = names.labels(row.names)
    with np.errstate(all="ignore"):
        boxes = row.corners * scale
        clipped = np.clip(boxes, 0, limit)
        found = _faults(row, header, names, labels, boxes, clipped)
    kept = np.ones(len(boxes), bool)
    kept[[index for index, problem in found if problem.lost]] = False
    problems += [problem for _, problem in sorted(found, key=lambda pair: pair[0])]
    problems += _emptiness(row, kept)
    areas = np.array(row.areas, np.float64) * scale[0] * scale[1]
    return GroundTruth(
        row.image_id,
        header.height,
        header.width,
        (clipped[kept] / limit).astype(np.float32),
        labels[kept],
        np.array(row.difficult, bool)[kept],
        np.array(row.crowd, bool)[kept],
        areas[kept],
        row.path or None,
        np.array(row.ignored, bool)[kept],
    )


def _emptiness(row, kept) -> list[Problem]:
    read = len(kept) + row.rejected
    if kept.any():
        return []
    kind, message = "no_objects", "the image has no objects"
    if read:
        kind, message = "no_objects_left", f"the image lost all of its {read} objects"
    return [Problem(kind, row.declared_at or row.path, message, NOTED, image=row.image)]


# What makes an object useless, from the first that counts; {what} is its class and its box.
_FAULTS = {
    "not_finite": "{what} has a coordinate that is no number",
    "swapped_corners": "{what} has its maximum before its minimum",
    "zero_area": "{what} has no area",
    "outside": "{what} lies wholly outside the image {size}",
}


def _faults(row, header, names, labels, boxes, clipped) -> list[tuple[int, Problem]]:
    """Pairs of an object's index and what is wrong with it."""
    found = []

    def report(index, kind, message, action=LEFT_OUT):
        lost = () if action == CLIPPED else (row.names[index],)
        problem = Problem(kind, row.places[index], message, action, lost, row.image)
        found.append((int(index), problem))

    def what(index):
        return f"'{row.names[index]}' {_text(row.boxes[index])}"

    unknown = labels < 0
    for index in np.flatnonzero(unknown):
        report(index, "unknown_class", names.why_unknown(row.names[index]))
    good = ~unknown
    other = not row.unit_stated and units.in_another_unit(row.corners, row.normalized)
    for index in np.flatnonzero(good & other):
        kind, unit = ("not_normalised", "pixels") if row.normalized else ("not_pixels", "shares")
        report(index, kind, f"{what(index)} are {unit}, unlike most of the others", REFUSED)
        good[index] = False
    for kind, wrong in zip(_FAULTS, _wrong(boxes, clipped), strict=True):
        for index in np.flatnonzero(good & wrong):
            report(index, kind, _FAULTS[kind].format(what=what(index), size=_size(header)))
        good &= ~wrong
    beyond = np.abs(clipped - boxes).max(1, initial=0) > row.tolerance
    for index in np.flatnonzero(good & beyond):
        message = f"{what(index)} leaves the image {_size(header)}"
        report(index, "beyond_edge", message, CLIPPED)
    for index, first in _find_repeats(labels, clipped, np.flatnonzero(good)):
        report(index, "duplicate_box", f"{what(index)} repeats object {first}")
    return found


def _wrong(boxes, clipped) -> tuple[np.ndarray, ...]:
    """bool `[n]` for each of `_FAULTS`."""
    return (
        ~np.isfinite(boxes).all(1),
        (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1]),
        (boxes[:, 2] == boxes[:, 0]) | (boxes[:, 3] == boxes[:, 1]),
        (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1]),
    )


def _find_repeats(labels, boxes, indices) -> list[tuple[int, int]]:
    """Pairs of an object and the earlier one of the same class and box."""
    keys = np.column_stack([labels, np.round(boxes, 6)]) + 0.0  # no -0.0
    first, pairs = {}, []
    for index in indices:
        before = first.setdefault(keys[index].tobytes(), int(index))
        if before != index:
            pairs.append((int(index), before))
    return pairs


def _scale(row: Row, header: images.Header, problems: list[Problem]) -> np.ndarray | None:
    """What turns the row's pixels into the image's, or None where they contradict each other."""
    height, width = row.declared_size
    one = np.ones(4)
    if row.normalized or (height is None and width is None):
        return one
    place = row.declared_at
    if not height or not width or height < 0 or width < 0 or not np.isfinite(height + width):
        text = f"states the size {_int(width)}x{_int(height)}; the image is {_size(header)}"
        text += ", which is used"
        problems.append(Problem("size_missing", place, text, NOTED, image=row.image))
        return one
    if (height, width) == (header.height, header.width):
        return one
    text = f"states the size {_int(width)}x{_int(height)}, but the image is {_size(header)}"
    ratio = np.array([header.height / height, header.width / width])
    if abs(ratio[0] / ratio[1] - 1) <= 0.01:
        text += f"; the boxes are scaled by {ratio.mean():.4g}"
        problems.append(Problem("size_scaled", place, text, NOTED, image=row.image))
        return np.tile(ratio, 2)
    if header.turned and (height, width) == (header.width, header.height):
        text += " once turned upright by its EXIF orientation; save it upright and annotate that"
    text += ": its boxes cannot be trusted"
    problems.append(row.left_out("size_mismatch", place, text, REFUSED))
    return None


def _text(box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "] (ymin, xmin, ymax, xmax)"


def _size(header) -> str:
    return f"{header.width}x{header.height}"


def _int(value) -> str:
    return "?" if value is None else f"{value:g}"
