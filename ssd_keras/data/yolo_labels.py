"""What the lines of YOLO's label files say: boxes, polygons, poses, or what is none of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

from ssd_keras.data import names, text
from ssd_keras.data.source import NOTED, Problem
from ssd_keras.data.text import number
from ssd_keras.data.yolo_label_files import MAX_LABEL_BYTES

MOST_CLASSES = 100_000
# By how much the box of a line may differ from that around the mask behind it.
_SAME_BOX = 0.01
# How far keypoints may lie outside of their box, as a share of its sides.
_AROUND = 0.05


@dataclasses.dataclass(slots=True)
class Line:
    """One line of a label file.

    Attributes:
        place: file and line.
        label: class number; None where `name` is the class.
        box: `(ymin, xmin, ymax, xmax)` of the first four numbers; None where they are none.
        around: the same around all points, where there are more than four numbers.
        count: how many numbers stand behind the class.
        has_mask: the points behind the box are those of a mask in it.
        may_be_pose: the points behind the box can be its keypoints.
        name: the class, where the line names it.
        fault: kind and message, where the line cannot be read.
    """

    place: str
    label: int | None = None
    box: tuple[float, float, float, float] | None = None
    around: tuple[float, float, float, float] | None = None
    count: int = 4
    has_mask: bool = False
    may_be_pose: bool = False
    name: str = ""
    fault: tuple[str, str] | None = None


@dataclasses.dataclass(slots=True)
class Labelled:
    """The lines of one label file."""

    path: str
    label_file: str
    lines: list[Line]
    in_pixels: bool = False
    missing: str = ""


def read(image: str, label_file: str, problems: list[Problem]) -> Labelled:
    """The lines of an image's label file.

    Raises:
        UserError: the file cannot be read.
    """
    found = Labelled(image, label_file, [])
    content = text.read_text(label_file, problems, limit=MAX_LABEL_BYTES)
    for line_number, line in enumerate(text.lines(content), 1):
        words = line.split()
        if words:
            place = f"{label_file}:{line_number}"
            is_named = words[0] == os.path.basename(image) and len(words) >= 6
            found.in_pixels |= is_named
            found.lines.append(_named_line(place, words) if is_named else _line(place, words))
    return found


def _named_line(place: str, words: Sequence[str]) -> Line:
    """A line `file x y w h name` in pixels, as licence-plate sets have it."""
    x, y, width, height = (number(word) for word in words[1:5])
    name = names.normalize(" ".join(words[5:]))
    if None in (x, y, width, height):
        return Line(
            place, name=name, fault=("broken_line", f"expected numbers, found {words[1:5]}")
        )
    return Line(place, box=(y, x, y + height, x + width), name=name)


def _line(place: str, words: Sequence[str]) -> Line:
    label, *values = (number(word) for word in words)
    is_class = label is not None and 0 <= label < MOST_CLASSES and label == int(label)
    if not is_class or None in values or len(values) < 4:
        found = " ".join(words)[:60]
        return Line(place, fault=("broken_line", f"expected 'class cx cy w h', found '{found}'"))
    x, y, width, height = values[:4]
    box = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
    line = Line(place, int(label), box, count=len(values))
    if len(values) >= 6:
        _look_at_points(line, values)
    return line


def _look_at_points(line: Line, values: Sequence[float]) -> None:
    if len(values) % 2 == 0:
        line.around = _around(values)
    if len(values) >= 10 and len(values) % 2 == 0:
        mask = _around(values[4:])
        line.has_mask = all(abs(a - b) <= _SAME_BOX for a, b in zip(line.box, mask, strict=True))
    line.may_be_pose = any(_are_inside(line.box, values[4:], step) for step in (2, 3))


def _around(values: Sequence[float]) -> tuple[float, float, float, float]:
    xs, ys = values[0::2], values[1::2]
    return min(ys), min(xs), max(ys), max(xs)


def _are_inside(box: Sequence[float], values: Sequence[float], step: int) -> bool:
    """Whether the points, `step` numbers each, can be keypoints in the box."""
    if len(values) % step or min(box) < -_AROUND or max(box) > 1 + _AROUND:
        return False
    points = [values[at : at + step] for at in range(0, len(values), step)]
    if step == 3 and any(point[2] not in (0, 1, 2) for point in points):
        return False
    ymin, xmin, ymax, xmax = box
    dy, dx = _AROUND * (ymax - ymin), _AROUND * (xmax - xmin)
    return all(
        (x == 0 and y == 0)  # a keypoint that is not seen
        or (xmin - dx <= x <= xmax + dx and ymin - dy <= y <= ymax + dy)
        for x, y, *_ in points
    )


def decide_shapes(
    read: Sequence[Labelled],
    keypoints: tuple[int, int] | None,
    task: str,
    problems: list[Problem],
) -> None:
    """Decides for all lines together what the numbers behind the first four are.

    Keypoints behind a box cannot be told from a polygon line by line: a data.yaml says which they
    are, or the set as a whole does, or the lines are refused.
    """
    longer = [line for one in read for line in one.lines if line.count > 4 and not line.fault]
    if not longer:
        return
    if keypoints and task in ("", "pose"):
        expected = 4 + keypoints[0] * keypoints[1]
        _refuse([line for line in longer if line.count != expected], _not_pose(keypoints))
        return
    polygons = [line for line in longer if line.around is not None]
    _refuse([line for line in longer if line.around is None], _NOT_POLYGON)
    counts = {line.count for line in polygons}
    if task not in ("segment", "obb") and len(counts) == 1 and _may_be_poses(polygons):
        _refuse(polygons, _UNCLEAR.format(more=polygons[0].count - 4))
        return
    masks = [line for line in polygons if line.has_mask]
    if masks:
        message = f"{len(masks)} lines hold a box and its mask; the box is read"
        problems.append(Problem("box_and_mask", masks[0].place, message, NOTED))
    for line in polygons:
        line.box = line.box if line.has_mask else line.around
    if counts == {8} and not masks:
        message = f"{len(polygons)} lines hold four corners; the upright box around them is read"
        problems.append(Problem("four_corners", polygons[0].place, message, NOTED))


def _may_be_poses(lines: Sequence[Line]) -> bool:
    """Whether lines of one length may be boxes with keypoints, which need not lie in them.

    Masks have as many points as their objects need; that all of several have more than four and
    as many is no accident.
    """
    without_mask = [line for line in lines if not line.has_mask]
    in_box = sum(line.may_be_pose for line in without_mask)
    return in_box * 2 >= len(lines) or (len(without_mask) > 1 and lines[0].count > 8)


_NOT_POLYGON = (
    "has {count} numbers behind the class: neither a box (4; a confidence behind it must go), nor "
    "one with keypoints ('kpt_shape' in data.yaml says so), nor a polygon (6 and more, even)"
)
_UNCLEAR = (
    "has a box and then {more} numbers that may be keypoints, or a polygon of as many points as "
    "all others: write 'kpt_shape: [points, values of each]' into data.yaml, or 'task: segment'"
)


def _not_pose(keypoints: tuple[int, int]) -> str:
    points, values = keypoints
    return (
        f"has {{count}} numbers behind the class, not 4 or the {4 + points * values} of a box and "
        f"{points} keypoints, as kpt_shape says"
    )


def _refuse(lines: Iterable[Line], message: str) -> None:
    for line in lines:
        line.fault = ("broken_line", message.replace("{count}", str(line.count)))
