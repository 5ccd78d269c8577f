"""What only a look at every image of a data set finds, and counts of what is in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ssd_keras.data.images import ImageError, describe
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.resizing import HALF_PIXEL, boxes_on_canvas


def inspect_images(source: Source, progress: Callable[[int], None] | None = None) -> list[Problem]:
    """Decodes every image and looks at every box; returns what reading the headers did not show.

    Finds truncated and undecodable images (left out), images that occur twice, unusual pixel
    forms, and boxes under one pixel. The user's files are only read.

    Args:
        source: its `problems` are not changed.
        progress: called with the number of images done.
    """
    problems: list[Problem] = []
    seen: dict[bytes, str] = {}
    for index, truth in enumerate(source.ground_truth()):
        place = truth.path or truth.image_id
        try:
            image = source.image(index)
        except ImageError as error:
            lost = tuple(source.classes[label] for label in truth.labels)
            problems.append(
                Problem("undecodable_image", place, error.reason, LEFT_OUT, lost, images_lost=1)
            )
            continue
        key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if key in seen:
            message = f"has the same pixels as {seen[key]}"
            problems.append(Problem("same_image", place, message, NOTED))
        seen.setdefault(key, place)
        form = describe(truth.path) if truth.path else ""
        if form:
            problems.append(Problem("pixel_form", place, form, NOTED))
        problems += _tiny(truth, place)
        if progress is not None:
            progress(index + 1)
    return problems


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
    truth = source.ground_truth()
    objects, pictures = Counter(), Counter()
    for one in truth:
        objects.update(one.labels.tolist())
        pictures.update(set(one.labels.tolist()))
    boxes = all_boxes(source, image_size, way)
    pixels = (boxes[:, 2:] - boxes[:, :2]) * np.asarray(image_size, np.float32)
    return Summary(
        images=len(truth),
        objects=len(boxes),
        empty_images=sum(not len(one) for one in truth),
        difficult=int(sum(one.difficult.sum() for one in truth)),
        crowd=int(sum(one.crowd.sum() for one in truth)),
        per_class=tuple(
            (name, objects[label], pictures[label]) for label, name in enumerate(source.classes)
        ),
        sides=np.sqrt(np.prod(pixels, 1)),
        median_width=int(np.median([one.width for one in truth])),
        median_height=int(np.median([one.height for one in truth])),
        most=max(len(one) for one in truth),
    )


def count_refused(problems: Sequence[Problem]) -> int:
    """How many problems need the user before the data set should be trusted."""
    return sum(problem.action == REFUSED for problem in problems)
