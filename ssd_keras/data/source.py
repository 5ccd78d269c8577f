"""What every source of annotated images gives: ground truth, images and a list of problems."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ssd_keras.data import images


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated objects of one image.

    Attributes:
        image_id: what the data set calls the image (VOC: file stem; COCO: id as text).
        height, width: size of the image in pixels, as `read_image` returns it.
        boxes: float32 `[n, 4]`, `[ymin, xmin, ymax, xmax]` normalised to the image.
        labels: int32 `[n]`, indices into the classes of the source.
        difficult: bool `[n]`; VOC leaves these out of evaluation.
        crowd: bool `[n]`; COCO: a region with many objects, not one object.
        area: float64 `[n]`, annotated area (COCO: of the segmentation) in square pixels, by which
            COCO tells small, medium and large; nan where only the box is known.
        path: the image file, or None where the image is drawn or lies in a record.
    """

    image_id: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray | None = None
    crowd: np.ndarray | None = None
    area: np.ndarray | None = None
    path: str | None = None

    def __post_init__(self):
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        object.__setattr__(self, "boxes", boxes)
        for name, dtype, unknown in (
            ("labels", np.int32, 0),
            ("difficult", bool, False),
            ("crowd", bool, False),
            ("area", np.float64, np.nan),
        ):
            value = getattr(self, name)
            value = [unknown] * len(boxes) if value is None else value
            value = np.asarray(value, dtype).reshape(-1)
            if len(value) != len(boxes):
                raise ValueError(f"{self.image_id}: {len(boxes)} boxes but {len(value)} {name}.")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)


# What is done about a problem: `clipped` and `noted` keep the object, `left out` drops the object
# or the image and goes on, `refused` needs the user before the data set should be trusted.
CLIPPED, NOTED, LEFT_OUT, REFUSED = "clipped", "noted", "left out", "refused"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A defect of a data set: where it is, what is wrong and what is done about it.

    Who reports a defect says what is lost with it, so that every object that was read is either in
    the source or counted in exactly one problem.

    Attributes:
        kind: a short stable name, such as "zero_area".
        place: file, with line, object or box index where there is one.
        message: what is wrong, with the values.
        action: one of "clipped", "noted", "left out", "refused".
        lost: the class of each object that is not used because of it; "" where it is not known.
        image: the name of the image it concerns (of the file, or its id where it lies in a record),
            by which filters choose; "" where it is not known.
        images_lost: how many images are not used because of it; the estimate of a reader that
            cannot go on.
    """

    kind: str
    place: str
    message: str
    action: str
    lost: tuple[str, ...] = ()
    image: str = ""
    images_lost: int = 0

    def __str__(self) -> str:
        return f"{self.place}: {self.message} ({self.action})"


def left_out(source: Source) -> dict[str, int]:
    """How many images or objects were left out or refused, by the kind of problem, most first."""
    lost = (problem.kind for problem in source.problems if problem.action in (LEFT_OUT, REFUSED))
    return dict(Counter(lost).most_common())


class Source:
    """A list of annotated images whose files lie in folders.

    Attributes:
        spec: how the user named it.
        classes: class names; labels are indices into them.
        problems: what was found wrong while reading the annotations.
        category_ids: number to label, where the data set numbers its classes in a way of its own
            (COCO: 1..90 with gaps); None where they are 1, 2, 3 .. in the order of `classes`.
    """

    category_ids: Mapping[int, int] | None = None

    def __init__(
        self,
        spec: str,
        classes: Sequence[str],
        examples: Iterable[GroundTruth],
        problems: Iterable[Problem] = (),
    ):
        self.spec = spec
        self.classes = tuple(classes)
        self.problems = list(problems)
        self._examples = list(examples)

    def __len__(self) -> int:
        return len(self._examples)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec!r}: {len(self)} images, {self.classes})"

    def ground_truth(self) -> list[GroundTruth]:
        """The annotations of all images, in the order of `image`; decodes no image."""
        return self._examples

    def image(self, index: int) -> np.ndarray:
        """Image `index` as uint8 RGB `[H, W, 3]`."""
        return images.read_image(self._examples[index].path)
