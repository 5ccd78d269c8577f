"""What every reader checks: images against their headers, boxes against their images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from ssd_keras.data import images
from ssd_keras.data.source import CLIPPED, LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

# By how much a box that is given in shares may leave the image without a word. Six decimals, as
# most tools write them, move an edge by less.
SHARE_TOLERANCE = 2e-3


@dataclasses.dataclass
class Row:
    """An image and its objects as a file gives them, before any check.

    Attributes:
        image_id: what the data set calls the image.
        path: the image file.
        declared_size: (height, width) that the annotation states, or None for each unknown.
        declared_at: the place that states it.
        normalized: whether the boxes are shares of the image, not pixels.
        tolerance: by how many pixels (or shares) a box may leave the image without a word; it is
            cut in any case.
    """

    image_id: str
    path: str
    declared_size: tuple[float | None, float | None] = (None, None)
    declared_at: str = ""
    normalized: bool = False
    tolerance: float = 0.5
    names: list[str] = dataclasses.field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = dataclasses.field(default_factory=list)
    places: list[str] = dataclasses.field(default_factory=list)
    difficult: list[bool] = dataclasses.field(default_factory=list)
    crowd: list[bool] = dataclasses.field(default_factory=list)
    areas: list[float] = dataclasses.field(default_factory=list)

    def add(self, name, box, place, *, difficult=False, crowd=False, area=None) -> None:
        """Adds an object of class `name` with `box` `(ymin, xmin, ymax, xmax)`.

        `area` is in square pixels of the image as declared; None, a negative one or nan: unknown.
        """
        self.names.append(name)
        self.boxes.append(tuple(box))
        self.places.append(place)
        self.difficult.append(bool(difficult))
        self.crowd.append(bool(crowd))
        known = area is not None and np.isfinite(area) and area >= 0
        self.areas.append(float(area) if known else np.nan)


def assemble(
    spec: str, classes: Sequence[str], rows: Iterable[Row], problems: list[Problem]
) -> Source:
    """Checks the rows and makes a source of what is good.

    Reads the header of every image file. `problems` is extended.

    Raises:
        UserError: no class, a class named twice, or no usable image.
    """
    rows = list(rows)
    check_any(rows, spec, problems)
    classes = check_classes(classes, spec, problems)
    examples, plain, seen = [], [], {}
    for row in rows:
        if row.path in seen:
            problems.append(
                Problem(
                    "duplicate_image",
                    row.declared_at or row.path,
                    f"'{row.path}' is already annotated by {seen[row.path]}",
                    LEFT_OUT,
                )
            )
            continue
        seen[row.path] = row.declared_at or row.image_id
        try:
            header = images.read_header(row.path)
        except images.ImageError as error:
            problems.append(Problem("broken_image", row.path, error.reason, LEFT_OUT))
            continue
        example = check_row(row, header, classes, problems)
        if example is not None:
            examples.append(example)
            plain.append(header.plain)
    check_any(examples, spec, problems)
    source = Source(spec, classes, examples, problems)
    source.plain = np.array(plain, bool)
    return source


class UnusableError(UserError):
    """A data set of which nothing can be used; `problems` says why."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()):
        first = f" First of {len(problems)} problems: {problems[0]}." if problems else ""
        super().__init__(message + first)
        self.problems = list(problems)


def check_any(examples: Sequence, spec: str, problems: Sequence[Problem]) -> None:
    """Raises UnusableError if there is no example."""
    if not examples:
        raise UnusableError(f"'{spec}' has no usable image.", problems)


def check_classes(
    classes: Sequence[str], spec: str = "", problems: Sequence[Problem] = ()
) -> tuple[str, ...]:
    """The class names as a tuple; UserError if there is none, or one is empty or occurs twice."""
    classes = tuple(str(name).strip() for name in classes)
    if not classes:
        raise UnusableError(
            f"'{spec}' has no class: no object is annotated and no classes are given.", problems
        )
    if "" in classes:
        raise UserError(f"Class {classes.index('')} of '{spec}' has an empty name.")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise UserError(f"Classes occur twice in '{spec}': {', '.join(twice)}.")
    return classes


def check_row(
    row: Row, header: images.Header, classes: Sequence[str], problems: list[Problem]
) -> GroundTruth | None:
    """Checks one image's annotation; returns what is good of it, or None to leave it out."""
    scale = _scale(row, header, problems)
    if scale is None:
        return None
    labels, boxes, kept, seen = [], [], [], {}
    known = {name: index for index, name in enumerate(classes)}
    limit = np.ones(4) if row.normalized else np.array([header.height, header.width] * 2)

    for index, (name, box, place) in enumerate(zip(row.names, row.boxes, row.places, strict=True)):
        what = f"'{name}' {_text(box)}"
        problem = functools.partial(_report, problems, place)
        if name not in known:
            problem("unknown_class", f"class '{name}' is unknown.{did_you_mean(name, known)}")
            continue
        box = np.array(box, np.float64)
        if not np.all(np.isfinite(box)):
            problem("not_finite", f"{what} has a coordinate that is no number")
            continue
        box = box * scale
        if box[2] < box[0] or box[3] < box[1]:
            problem("swapped_corners", f"{what} has its maximum before its minimum")
            continue
        if box[2] == box[0] or box[3] == box[1]:
            problem("zero_area", f"{what} has no area")
            continue
        clipped = np.clip(box, 0, limit)
        if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            problem("outside", f"{what} lies wholly outside the image {_size(header)}")
            continue
        if np.abs(clipped - box).max() > row.tolerance:
            problem("beyond_edge", f"{what} leaves the image {_size(header)}", CLIPPED)
        key = (name, *np.round(clipped, 6))
        if key in seen:
            problem("duplicate_box", f"{what} repeats object {seen[key]}")
            continue
        seen[key] = index
        kept.append(index)
        labels.append(known[name])
        boxes.append(clipped / limit)
    if not row.names:
        place = row.declared_at or row.path
        problems.append(Problem("no_objects", place, "the image has no objects", NOTED))
    return GroundTruth(
        row.image_id,
        header.height,
        header.width,
        np.array(boxes, np.float32).reshape(-1, 4),
        labels,
        [row.difficult[i] for i in kept],
        [row.crowd[i] for i in kept],
        [row.areas[i] * scale[0] * scale[1] for i in kept],
        row.path,
    )


def _report(problems, place, kind, message, action=LEFT_OUT) -> None:
    problems.append(Problem(kind, place, message, action))


def _scale(row: Row, header: images.Header, problems: list[Problem]) -> np.ndarray | None:
    """What turns the row's pixels into the image's, or None where they contradict each other."""
    height, width = row.declared_size
    one = np.ones(4)
    if row.normalized or (height is None and width is None):
        return one
    place = row.declared_at
    if not height or not width or height < 0 or width < 0 or not np.isfinite(height + width):
        text = f"states the size {_int(width)}x{_int(height)}; the image is {_size(header)}"
        problems.append(Problem("size_missing", place, text + ", which is used", NOTED))
        return one
    if (height, width) == (header.height, header.width):
        return one
    text = f"states the size {_int(width)}x{_int(height)}, but the image is {_size(header)}"
    ratio = np.array([header.height / height, header.width / width])
    if abs(ratio[0] / ratio[1] - 1) <= 0.01:
        text += f"; the boxes are scaled by {ratio.mean():.4g}"
        problems.append(Problem("size_scaled", place, text, NOTED))
        return np.tile(ratio, 2)
    if header.turned and (height, width) == (header.width, header.height):
        text += " once turned upright by its EXIF orientation; save it upright and annotate that"
    problems.append(
        Problem("size_mismatch", place, text + ": its boxes cannot be trusted", REFUSED)
    )
    return None


def _text(box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "] (ymin, xmin, ymax, xmax)"


def _size(header) -> str:
    return f"{header.width}x{header.height}"


def _int(value) -> str:
    return "?" if value is None else f"{value:g}"
