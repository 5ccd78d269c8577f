"""What only a look at every image of a data set finds, and counts of what is in it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.images import ImageError, describe, read_header
from ssd_keras.data.source import (
    LEFT_OUT,
    NOTED,
    REFUSED,
    GroundTruth,
    Problem,
    SizeMismatch,
    Source,
    check_stated_size,
)
from ssd_keras.display import counted
from ssd_keras.resizing import HALF_PIXEL, boxes_on_canvas


def inspect_images(
    source: Source, progress: Callable[[int], None] | None = None, *, decode: bool = True
) -> list[Problem]:
    """Opens every image and looks at every box; returns what loading the source did not show.

    Finds truncated and undecodable images (left out), images of another size than a large data set
    says, images that occur twice, unusual pixel forms, and boxes under one pixel. All cores take
    part. The user's files are only read.

    Args:
        source: its `problems` are not changed.
        progress: called with the number of images done.
        decode: whether to decode all images; else only those that were not opened yet are opened,
            for their sizes.
    """
    problems: list[Problem] = []
    seen: dict[bytes, str] = {}
    indices = range(len(source)) if decode else np.flatnonzero(source.believed).tolist()
    look = functools.partial(_look if decode else _look_at_header, source)
    for done, (place, key, found) in enumerate(_on_all_cores(look, indices), start=1):
        if key is not None and key in seen:
            message = f"has the same pixels as {seen[key]}"
            problems.append(Problem("same_image", place, message, NOTED))
        if key is not None:
            seen.setdefault(key, place)
        problems += found
        if progress is not None:
            progress(done)
    return problems


def _on_all_cores(look: Callable, indices: Sequence[int]) -> Iterator:
    """What a function gives for each index, in their order; few of them are waiting at a time."""
    workers = os.cpu_count() or 1
    window = 16 * workers
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(indices), window):
            yield from pool.map(look, indices[start : start + window])


def _look(source: Source, index: int) -> tuple[str, bytes | None, list[Problem]]:
    """The place of an image, what its pixels are told by, and what is wrong with it."""
    truth = source.ground_truth()[index]
    place = truth.path or truth.image_id
    try:
        image = source.image(index)
    except ImageError as error:
        return place, None, [_lost(source, truth, place, error)]
    key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    problems = _note_scaled(source, index, truth, place, *image.shape[:2])
    form = describe(truth.path) if truth.path else ""
    if form:
        problems.append(Problem("pixel_form", place, form, NOTED))
    return place, key, problems + _tiny(truth, place)


def _look_at_header(source: Source, index: int) -> tuple[str, None, list[Problem]]:
    truth = source.ground_truth()[index]
    place = truth.path or truth.image_id
    try:
        header = read_header(truth.path)
        check_stated_size(truth, header.height, header.width)
    except ImageError as error:
        return place, None, [_lost(source, truth, place, error)]
    return place, None, _note_scaled(source, index, truth, place, header.height, header.width)


def _lost(source: Source, truth: GroundTruth, place: str, error: ImageError) -> Problem:
    """The problem that an image cannot be used, and none of its objects."""
    lost = tuple(source.classes[label] for label in truth.labels)
    if isinstance(error, SizeMismatch):
        return Problem("size_mismatch", place, error.reason, REFUSED, lost, images_lost=1)
    return Problem("undecodable_image", place, error.reason, LEFT_OUT, lost, images_lost=1)


def _note_scaled(source: Source, index: int, truth, place: str, height: int, width: int) -> list:
    """A note of an image that is larger or smaller than was believed, in the same proportion."""
    if not source.believed[index] or (height, width) == (truth.height, truth.width):
        return []
    message = (
        f"its annotation states the size {truth.width}x{truth.height}, but the image is "
        f"{width}x{height}; the boxes are shares of it"
    )
    return [Problem("size_scaled", place, message, NOTED)]


def _tiny(truth, place) -> list[Problem]:
    size = np.array([truth.height, truth.width])
    sides = (truth.boxes[:, 2:] - truth.boxes[:, :2]) * size
    return [
        Problem("tiny_box", f"{place}, box {i}", f"is {w:.2g}x{h:.2g} pixels", NOTED)
        for i, (h, w) in enumerate(sides)
        if min(h, w) < 0.99
    ]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts of a data set.

    Attributes:
        images, objects, empty_images, difficult, crowd: numbers of each.
        per_class: name, objects and images of every class, in the order of the labels.
        sides: float32 `[objects]`, root of each box's area in pixels of a square model input.
        widths, heights: median size of the images in pixels.
        most: objects in the fullest image.
    """

    images: int
    objects: int
    empty_images: int
    difficult: int
    crowd: int
    per_class: tuple[tuple[str, int, int], ...]
    sides: np.ndarray
    median_width: int
    median_height: int
    most: int


def resized_boxes(one: GroundTruth, image_size: tuple[int, int], way: str) -> np.ndarray:
    """The boxes `[N, 4]` of an image in shares of it when it is resized in a way of `WAYS`."""
    return boxes_on_canvas(one.boxes, (one.height, one.width), image_size, way)


def all_boxes(source: Source, image_size: tuple[int, int], way: str = HALF_PIXEL) -> np.ndarray:
    """The boxes `[N, 4]` of all images when they are resized."""
    resized = (resized_boxes(one, image_size, way) for one in source.ground_truth())
    return np.concatenate([np.zeros((0, 4), np.float32), *resized])


def summarize(
    source: Source, image_size: tuple[int, int] = (300, 300), way: str = HALF_PIXEL
) -> Summary:
    """Counts what is in a source; sizes are measured after resizing to `image_size`."""
    table = table_of(source.ground_truth())
    classes = len(source.classes)
    objects = np.bincount(table.labels, minlength=classes)
    pairs = np.unique(table.image_of * classes + table.labels)
    pictures = np.bincount(pairs % classes, minlength=classes)
    boxes = all_boxes(source, image_size, way)
    pixels = (boxes[:, 2:] - boxes[:, :2]) * np.asarray(image_size, np.float32)
    return Summary(
        images=len(table),
        objects=len(boxes),
        empty_images=int((table.counts == 0).sum()),
        difficult=int(table.difficult.sum()),
        crowd=int(table.crowd.sum()),
        per_class=tuple(zip(source.classes, objects.tolist(), pictures.tolist(), strict=True)),
        sides=np.sqrt(np.prod(pixels, 1)),
        median_width=int(np.median(table.sizes[:, 1])),
        median_height=int(np.median(table.sizes[:, 0])),
        most=int(table.counts.max()),
    )


def count_objects(source: Source) -> np.ndarray:
    """Objects of each image that are trained on, crowds and ignored ones aside."""
    table = table_of(source.ground_truth())
    return np.bincount(table.image_of[table.is_object], minlength=len(table))


def describe_cut_off(source: Source, max_boxes: int) -> str:
    """What training leaves out of crowded images, and what would not; "" if nothing."""
    counts = count_objects(source)
    over = counts[counts > max_boxes]
    if not len(over):
        return ""
    return (
        f"{counted(int(over.sum()) - len(over) * max_boxes, 'object')} of "
        f"{counted(len(over), 'image')} are beyond max_boxes={max_boxes}, which training leaves "
        f"out: max_boxes={over.max()} takes all"
    )


def count_refused(problems: Sequence[Problem]) -> int:
    """How many problems need the user before the data set should be trusted."""
    return sum(problem.action == REFUSED for problem in problems)
