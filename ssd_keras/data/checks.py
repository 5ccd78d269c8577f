"""What every reader checks: images against their headers, boxes against their images."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.names import normalize, note_alike
from ssd_keras.data.source import CLIPPED, LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

# By how much a box that is given in shares may leave the image without a word. Six decimals, as
# most tools write them, move an edge by less.
SHARE_TOLERANCE = 2e-3
# Of so many unknown classes it is said which known ones are called alike; each is held against all.
_MOST_HINTS = 50


@dataclasses.dataclass
class Row:
    """An image and its objects as a file gives them, before any check.

    Attributes:
        image_id: what the data set calls the image.
        path: the image file; "" where it lies in a record.
        declared_size: (height, width) that the annotation states, or None for each unknown.
        declared_at: the place that states it.
        normalized: whether the boxes are shares of the image, not pixels.
        tolerance: by how many pixels (or shares) a box may leave the image without a word; it is
            cut in any case.
        missing: why there is no such file as `path`; its objects are counted as lost then.
        rejected: objects that were read and could not be added.
        point: what the file gives each box by besides its size: its "corner" or "centre"; "" where
            it gives two corners.
        unit_stated: whether the user says in which unit the boxes are.
    """

    image_id: str
    path: str
    declared_size: tuple[float | None, float | None] = (None, None)
    declared_at: str = ""
    normalized: bool = False
    tolerance: float = 0.5
    missing: str = ""
    names: list[str] = dataclasses.field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = dataclasses.field(default_factory=list)
    places: list[str] = dataclasses.field(default_factory=list)
    difficult: list[bool] = dataclasses.field(default_factory=list)
    crowd: list[bool] = dataclasses.field(default_factory=list)
    areas: list[float] = dataclasses.field(default_factory=list)
    rejected: int = 0
    point: str = ""
    unit_stated: bool = False

    def add(self, name, box, place, *, difficult=False, crowd=False, area=None) -> None:
        """Adds an object of class `name` with `box` `(ymin, xmin, ymax, xmax)`.

        `area` is in square pixels of the image as declared; None, a negative one or nan: unknown.
        """
        self.names.append(normalize(name))
        self.boxes.append(tuple(box))
        self.places.append(place)
        self.difficult.append(bool(difficult))
        self.crowd.append(bool(crowd))
        known = area is not None and math.isfinite(area) and area >= 0
        self.areas.append(float(area) if known else math.nan)

    @property
    def image(self) -> str:
        """The name that filters look at: that of the file, or the id where there is none."""
        return os.path.basename(self.path) or self.image_id

    @property
    def corners(self) -> np.ndarray:
        """The boxes as float64 `[n, 4]`."""
        return np.array(self.boxes, np.float64).reshape(-1, 4)

    def size_in(self, header: images.Header) -> tuple[float, float]:
        """(height, width) in the pixels that the boxes are given in."""
        height, width = self.declared_size
        stated = height and width and height > 0 and width > 0 and math.isfinite(height + width)
        return (height, width) if stated else (header.height, header.width)

    def state_unit(self, unit: str) -> None:
        """Takes the boxes in the unit that the user states."""
        scale = units.UNITS[unit]
        self.unit_stated = True
        self.normalized = scale is not None
        if scale is not None:
            self.tolerance = SHARE_TOLERANCE
            self.boxes = [tuple(value / scale for value in box) for box in self.boxes]

    def reject(
        self, kind: str, place: str, message: str, action: str = LEFT_OUT, *, name: str = ""
    ) -> Problem:
        """The problem that an object of class `name` cannot be read; it is not added."""
        self.rejected += 1
        return Problem(kind, place, message, action, (name,), self.image)

    def left_out(self, kind: str, place: str, message: str, action: str = LEFT_OUT) -> Problem:
        """The problem that the whole image is not used, and none of its objects."""
        lost = tuple(self.names)
        return Problem(kind, place, message, action, lost, self.image, images_lost=1)


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
    rows: Iterable[Row],
    problems: list[Problem],
    unit: str | None = None,
) -> Source:
    """Checks the rows and makes a source of what is good.

    Reads the header of every image file. `problems` is extended.

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
    rows = list(rows)
    check_any(rows, spec, problems)
    ready = list(_with_headers(rows, problems))
    check_any(ready, spec, problems)
    classes = check_classes(classes, spec, problems)
    names = ClassNames(classes)
    check_units(spec, ready, problems, unit)
    examples, standard_jpeg = [], []
    for row, header in ready:
        example = check_row(row, header, names, problems)
        if example is not None:
            examples.append(example)
            standard_jpeg.append(header.standard_jpeg)
    check_any(examples, spec, problems)
    return Source(spec, classes, examples, problems, standard_jpeg=standard_jpeg)


def _with_headers(rows, problems) -> Iterator[tuple[Row, images.Header]]:
    """The rows whose image files are there, each once, with what their headers say."""
    seen: dict[str, str] = {}
    for row in rows:
        if row.missing:
            place = row.declared_at or row.image_id
            problems.append(row.left_out("missing_image", place, row.missing))
            continue
        if row.path in seen:
            message = f"'{row.path}' is already annotated by {seen[row.path]}"
            place = row.declared_at or row.path
            problems.append(row.left_out("duplicate_image", place, message))
            continue
        seen[row.path] = row.declared_at or row.image_id
        try:
            header = images.read_header(row.path)
        except images.ImageError as error:
            problems.append(row.left_out("broken_image", row.path, error.reason))
            continue
        yield row, header


def check_units(
    spec: str,
    ready: Sequence[tuple[Row, images.Header]],
    problems: list[Problem],
    unit: str | None = None,
) -> None:
    """Judges the unit of all boxes together, or takes the one that the user states.

    Raises:
        UnusableError: the coordinates are pixels in the place of shares, or shares of pixels.
    """
    for row, _ in ready if unit else ():
        row.state_unit(unit)
    if unit:
        return
    for normalized in (False, True):
        part = [pair for pair in ready if pair[0].normalized == normalized]
        boxes = _boxes_of(part)
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
            boxes = _boxes_of([pair for pair in part if pair[0].point == point])
            if fault := units.fault_of_sizes(boxes, centre=point == "centre"):
                raise UnusableError(
                    f"'{spec}' is read as {point} and size of each box, but {fault}. Convert them, "
                    f"or say ',units={read_in}' behind the place if they are what they should be.",
                    problems,
                    list_first=False,
                )


def _boxes_of(part: Sequence[tuple[Row, images.Header]]) -> units.Boxes:
    return units.Boxes.of(
        [row.corners for row, _ in part],
        [(1, 1) if row.normalized else row.size_in(header) for row, header in part],
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
    for index in np.flatnonzero(good & _in_another_unit(row)):
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


def _in_another_unit(row) -> np.ndarray:
    if row.unit_stated:
        return np.zeros(len(row.boxes), bool)
    corners = row.corners
    if row.normalized:
        return units.like_pixels(corners) & np.isfinite(corners).all(1)
    has_area = (corners[:, 2:] > corners[:, :2]).all(1)
    return units.like_shares(corners) & has_area


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
