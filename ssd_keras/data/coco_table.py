"""The images and objects of a COCO file as a table of rows, which are made when they are needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.rows import SHARE_TOLERANCE, Row, RowsOnDemand, RowTable
from ssd_keras.data.source import LEFT_OUT, Problem

# Up to so many images are opened before a training to see whether they are as large as the file
# says; it takes a second or two.
MOST_OPENED = 20_000


@dataclasses.dataclass
class Pictures:
    """The images of a COCO file.

    Attributes:
        json: the file.
        place_of: by its id, which of the others an image is.
        ids: as the results of an evaluation have them.
        declared: height and width, None for each unknown.
        at: place in the list of the file.
        paths: the image files, "" where one is missing.
        missing: why, by the place.
        rejected: how many objects of an image were read and could not be used, by the place.
    """

    json: str
    place_of: dict[int | str, int] = dataclasses.field(default_factory=dict)
    ids: list[str] = dataclasses.field(default_factory=list)
    declared: list[tuple[float | None, float | None]] = dataclasses.field(default_factory=list)
    at: list[int] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)
    missing: dict[int, str] = dataclasses.field(default_factory=dict)
    rejected: dict[int, int] = dataclasses.field(default_factory=dict)

    def stated_at(self, place: int) -> str:
        """Where in the file an image is stated."""
        return f"{self.json}, images[{self.at[place]}]"

    def image(self, place: int) -> str:
        """The name that filters look at."""
        return os.path.basename(self.paths[place]) or self.ids[place]

    def reject(
        self, place: int, kind: str, where: str, message: str, action=LEFT_OUT, *, name: str = ""
    ) -> Problem:
        """The problem that an object of class `name` of an image cannot be used."""
        self.rejected[place] = self.rejected.get(place, 0) + 1
        return Problem(kind, where, message, action, (name,), self.image(place))

    def leave_out(self, places: set[int]) -> None:
        """Forgets entries that stand for an image that is there already."""
        if not places:
            return
        new = {old: n for n, old in enumerate(p for p in range(len(self.ids)) if p not in places)}
        for name in ("ids", "declared", "at", "paths"):
            setattr(self, name, [getattr(self, name)[old] for old in new])
        for name in ("missing", "rejected"):
            kept = getattr(self, name).items()
            setattr(self, name, {new[old]: value for old, value in kept if old in new})
        self.place_of = {key: new[old] for key, old in self.place_of.items()}


class CocoTable(RowTable):
    """The rows of a COCO file.

    Args:
        pictures: the images.
        names: of the classes.
        image, name: int64 `[n]`, place of the image and index of the class of each object; objects
            of image -1 are not used.
        boxes, crowd, areas: of the objects, as in `RowTable`.
    """

    def __init__(self, pictures: Pictures, names, image, name, boxes, crowd, areas):
        super().__init__(RowsOnDemand(self))
        self._pictures = pictures
        self.names = names
        self._at = np.argsort(image, kind="stable")[np.count_nonzero(image < 0) :]
        count = len(pictures.ids)
        counts = np.bincount(image[self._at], minlength=count)
        self._set_places(np.arange(count), counts)
        self.name, self.boxes = name[self._at], boxes[self._at]
        self.crowd, self.areas = crowd[self._at], areas[self._at]
        self.difficult, self.ignored = np.zeros((2, len(self.name)), bool)

    def _set_places(self, places: np.ndarray, counts: np.ndarray) -> None:
        """Takes the images of these places for the rows."""
        pictures, listed = self._pictures, places.tolist()
        self._places = places
        self.image_ids = [pictures.ids[place] for place in listed]
        self.paths = [pictures.paths[place] for place in listed]
        declared = [pictures.declared[place] for place in listed]
        self.declared = np.array(declared, np.float64).reshape(-1, 2)
        self.normalized = np.zeros(len(listed), bool)
        self.tolerance = np.full(len(listed), 0.5)
        self.points = np.full(len(listed), "corner")
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.image_ids)

    def take(self, numbers: Sequence[int]) -> CocoTable:
        if len(numbers) == len(self):
            return self
        kept = np.zeros(len(self), bool)
        kept[numbers] = True
        objects, counts = np.repeat(kept, self.counts), self.counts
        for column in ("_at", "name", "boxes", "crowd", "areas", "difficult", "ignored"):
            setattr(self, column, getattr(self, column)[objects])
        self._set_places(self._places[kept], counts[kept])
        return self

    @property
    def believed(self) -> np.ndarray:
        if len(self) <= MOST_OPENED:
            return super().believed
        height, width = self.declared.T
        with np.errstate(invalid="ignore", over="ignore"):
            whole = (self.declared >= 1).all(1) & (self.declared % 1 == 0).all(1)
            return whole & (height * width <= 1e6 * images.max_megapixels())

    def state_unit(self, unit: str) -> None:
        scale = units.UNITS[unit]
        self.unit_stated = True
        self.normalized[:] = scale is not None
        if scale is not None:
            self.tolerance[:] = SHARE_TOLERANCE
            self.boxes = self.boxes / scale

    def row(self, number: int) -> Row:
        """A row by itself."""
        place = int(self._places[number])
        part = slice(self.starts[number], self.starts[number + 1])
        pictures = self._pictures
        return Row(
            self.image_ids[number],
            self.paths[number],
            declared_size=pictures.declared[place],
            declared_at=pictures.stated_at(place),
            normalized=bool(self.normalized[number]),
            tolerance=float(self.tolerance[number]),
            missing=pictures.missing.get(place, ""),
            names=[self.names[index] for index in self.name[part]],
            boxes=[tuple(box) for box in self.boxes[part].tolist()],
            places=[f"{pictures.json}, annotations[{at}]" for at in self._at[part]],
            difficult=self.difficult[part].tolist(),
            crowd=self.crowd[part].tolist(),
            areas=self.areas[part].tolist(),
            ignored=self.ignored[part].tolist(),
            rejected=pictures.rejected.get(place, 0),
            point="corner",
            unit_stated=self.unit_stated,
        )
