"""Objects against their image: which boxes are good, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.ground_truth import TruthTable
from ssd_keras.data.rows import Headers, Row, RowTable
from ssd_keras.data.source import CLIPPED, LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem
from ssd_keras.errors import did_you_mean

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


# Rows are looked at together in blocks of about so many objects, which bounds the memory for it.
_BLOCK = 1 << 18


def check_rows(
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
        moved = units.by_columns(np.maximum, np.abs(clipped - corners))
        wrong |= moved > table.tolerance[block][row]
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
        ~units.by_columns(np.logical_and, np.isfinite(boxes)),
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
