"""What every source of annotated images gives: ground truth, images and a list of problems."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from ssd_keras.data import images, pillow
from ssd_keras.data.ground_truth import GroundTruth as GroundTruth
from ssd_keras.data.ground_truth import TruthTable

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


# Told with the losses.
_COUNTED = ("missing_annotation", "no_objects_left")


def notes(source: Source) -> list[str]:
    """What was read in one of several ways, or made to fit: a line of each kind, one example."""
    kinds: dict[str, list[Problem]] = {}
    for problem in source.problems:
        if problem.action in (NOTED, CLIPPED) and problem.kind not in _COUNTED:
            kinds.setdefault(problem.kind, []).append(problem)
    return [
        f"{kind}: " + (f"{len(found):,} times, such as " if len(found) > 1 else "") + str(found[0])
        for kind, found in kinds.items()
    ]


def unread_notice(source: Source, most: int = 5) -> str:
    """How many images could not be read when they were needed, and which; "" if all could."""
    if not source.unread:
        return ""
    named = [source.unread[index] for index in sorted(source.unread)[:most]]
    more = f"; and {len(source.unread) - most} more" if len(source.unread) > most else ""
    return (
        f"{len(source.unread)} of {len(source)} images could not be read and are left out: "
        f"{'; '.join(named)}{more}"
    )


class SizeMismatch(images.ImageError):
    """An image of another size than its annotation states, so that its boxes cannot be trusted."""


def check_stated_size(truth: GroundTruth, height: int, width: int) -> None:
    """Compares the size that the data set states with that of the image, once it is opened.

    Raises:
        SizeMismatch: it is another, in another proportion.
    """
    if abs(truth.height * width / (truth.width * height) - 1) > 0.01:
        raise SizeMismatch(
            truth.path or truth.image_id,
            f"its annotation states the size {truth.width}x{truth.height}, but the image is "
            f"{width}x{height}: its boxes cannot be trusted",
        )


class Source:
    """What every data set is to all that comes after it: a list of annotated images.

    This is the protocol of sources, and the source of images in files of their own. Other kinds
    give `ground_truth`, `image` and `encoded` in their way; nothing else about a source may be
    asked for. A new format needs no new kind: it makes this one of what it read, by
    `checks.assemble`, or a `PackedSource`.

    Attributes:
        spec: how the user named it.
        classes: class names; labels are indices into them.
        problems: what was found wrong while reading the annotations.
        category_ids: number to label, where the data set numbers its classes in a way of its own
            (COCO: 1..90 with gaps); None where they are 1, 2, 3 .. in the order of `classes`.
        standard_jpeg: bool `[N]`, which images are JPEGs that every decoder reads alike, see
            `images.Header`; TensorFlow decodes them.
        believed: bool `[N]`, which images were not opened yet: their size is what the data set
            says, and it is not known whether they are such JPEGs. What is found to be otherwise
            when they are opened is an `ImageError`.
        unread: index to the reason, of the images that could not be read when they were needed.
        groups: int `[N]`, ascending: what it is good to read together; None where that is nothing.
    """

    groups: np.ndarray | None = None

    def __init__(
        self,
        spec: str,
        classes: Sequence[str],
        examples: Iterable[GroundTruth],
        problems: Iterable[Problem] = (),
        *,
        standard_jpeg: Sequence[bool] | None = None,
        believed: Sequence[bool] | None = None,
        category_ids: Mapping[int, int] | None = None,
    ):
        self.spec = spec
        self.classes = tuple(classes)
        self.problems = list(problems)
        self._examples = examples if isinstance(examples, TruthTable) else list(examples)
        self.standard_jpeg, self.believed = (
            np.zeros(len(self), bool) if mask is None else np.array(mask, bool)
            for mask in (standard_jpeg, believed)
        )
        self.category_ids = category_ids
        self.unread: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def sample(self) -> Source:
        """What is known of it before it is read: all, unless it is read in sequence."""
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec!r}: {len(self)} images, {self.classes})"

    def ground_truth(self) -> Sequence[GroundTruth]:
        """The annotations of all images, in the order of `image`; decodes no image.

        A list, or of large sets a `TruthTable`; `ground_truth.table_of` makes one of either.
        """
        return self._examples

    def image(self, index: int) -> np.ndarray:
        """Image `index` as uint8 RGB `[H, W, 3]`.

        Raises:
            ImageError: it cannot be read.
        """
        truth = self._examples[index]
        image = images.read_image(truth.path)
        if self.believed[index]:
            check_stated_size(truth, *image.shape[:2])
        return image

    def encoded(self, index: int) -> bytes:
        """The bytes of image file `index`, as they are; of an image without a file, a PNG.

        Raises:
            ImageError: they cannot be read. Whether they can be decoded is not looked at.
        """
        path = self._examples[index].path
        return pillow.as_png(self.image(index)) if path is None else images.read_bytes(path)

    def try_image(self, index: int) -> np.ndarray | None:
        """`image`, or None where it cannot be read, which is said once and kept in `unread`."""
        try:
            return self.image(index)
        except images.ImageError as error:
            if index not in self.unread:
                self.unread[int(index)] = str(error)
                logging.warning("Left out: %s", error)
            return None

    def readable(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Index and image of those that can be read, of all or of `indices`."""
        for index in range(len(self)) if indices is None else indices:
            image = self.try_image(index)
            if image is not None:
                yield int(index), image
