"""Images and their objects as files give them, one by one and as the columns of a table."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ssd_keras.data import images, units
from ssd_keras.data.names import normalize
from ssd_keras.data.source import LEFT_OUT, Problem

# By how much a box that is given in shares may leave the image without a word. Six decimals, as
# most tools write them, move an edge by less.
SHARE_TOLERANCE = 2e-3


def known_area(area: float | None) -> float:
    """An area that is one, else nan."""
    known = area is not None and math.isfinite(area) and area >= 0
    return float(area) if known else math.nan


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
    ignored: list[bool] = dataclasses.field(default_factory=list)
    rejected: int = 0
    point: str = ""
    unit_stated: bool = False

    def add(
        self, name, box, place, *, difficult=False, crowd=False, area=None, ignored=False
    ) -> None:
        """Adds an object of class `name` with `box` `(ymin, xmin, ymax, xmax)`.

        `area` is in square pixels of the image as declared; None, a negative one or nan: unknown.
        """
        self.names.append(normalize(name))
        self.boxes.append(tuple(box))
        self.places.append(place)
        self.difficult.append(bool(difficult))
        self.crowd.append(bool(crowd))
        self.ignored.append(bool(ignored))
        self.areas.append(known_area(area))

    @property
    def image(self) -> str:
        """The name that filters look at: that of the file, or the id where there is none."""
        return os.path.basename(self.path) or self.image_id

    @property
    def corners(self) -> np.ndarray:
        """The boxes as float64 `[n, 4]`."""
        return np.array(self.boxes, np.float64).reshape(-1, 4)

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


@dataclasses.dataclass
class Headers:
    """What the headers of many images say.

    Attributes:
        sizes: int64 `[N, 2]`, height and width.
        standard_jpeg, turned: bool `[N]`, as in `images.Header`.
        believed: bool `[N]`, images that were not opened: their size is what the data set says.
    """

    sizes: np.ndarray
    standard_jpeg: np.ndarray
    turned: np.ndarray
    believed: np.ndarray

    @classmethod
    def of(cls, headers: Iterable[images.Header]) -> Headers:
        """From one header an image."""
        headers = list(headers)
        sizes = np.array([(one.height, one.width) for one in headers], np.int64).reshape(-1, 2)
        return cls(
            sizes,
            *(
                np.array([getattr(one, name) for one in headers], bool)
                for name in ("standard_jpeg", "turned", "believed")
            ),
        )

    @classmethod
    def believing(cls, declared: np.ndarray) -> Headers:
        """From the heights and widths `[N, 2]` that annotations state."""
        none = np.zeros(len(declared), bool)
        return cls(declared.astype(np.int64), none, none, ~none)

    def __getitem__(self, index: int) -> images.Header:
        height, width = self.sizes[index].tolist()
        return images.Header(
            height, width, bool(self.standard_jpeg[index]), bool(self.turned[index])
        )


class RowsOnDemand(Sequence[Row]):
    """The rows of a table that are made when they are asked for; the table has a `row(number)`."""

    def __init__(self, table: RowTable):
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, number: int) -> Row:
        return self._table.row(number)


class RowTable:
    """Rows as columns, so that all of them can be looked at together.

    Attributes:
        rows: the rows themselves; of large sets they are made when they are asked for.
        image_ids, paths: of each row.
        declared: float64 `[N, 2]`, height and width that the annotation states, nan for unknown.
        normalized, tolerance, points: `[N]`, as in `Row`.
        unit_stated: whether the user says in which unit the boxes are.
        starts: int64 `[N + 1]`; the objects of row i are those from `starts[i]` to `starts[i + 1]`.
        names: the names of classes that occur; `name` int64 `[objects]` are indices into them.
        boxes, difficult, crowd, areas, ignored: of all objects, as in `Row`.
    """

    def __init__(self, rows: Sequence[Row]):
        self.rows = rows
        self.unit_stated = False

    @classmethod
    def of(cls, rows: Iterable[Row]) -> RowTable:
        """From rows."""
        table = cls(list(rows))
        table._read_rows()
        return table

    def _read_rows(self) -> None:
        rows = self.rows
        self.image_ids = [row.image_id for row in rows]
        self.paths = ["" if row.missing else row.path for row in rows]
        self.declared = np.array(
            [[math.nan if side is None else side for side in row.declared_size] for row in rows],
            np.float64,
        ).reshape(-1, 2)
        self.normalized = np.array([row.normalized for row in rows], bool)
        self.tolerance = np.array([row.tolerance for row in rows], np.float64)
        self.points = np.array([row.point for row in rows], "U6")
        self.unit_stated = any(row.unit_stated for row in rows)
        self.starts = np.cumsum([0, *(len(row.names) for row in rows)])
        place = {name: n for n, name in enumerate(dict.fromkeys(_all(rows, "names")))}
        self.names = list(place)
        self.name = np.array([place[name] for name in _all(rows, "names")], np.int64)
        self.boxes = np.array(list(_all(rows, "boxes")), np.float64).reshape(-1, 4)
        self.difficult = np.array(list(_all(rows, "difficult")), bool)
        self.crowd = np.array(list(_all(rows, "crowd")), bool)
        self.areas = np.array(list(_all(rows, "areas")), np.float64)
        self.ignored = np.array(list(_all(rows, "ignored")), bool)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> np.ndarray:
        """int64 `[N]`, objects of each row."""
        return np.diff(self.starts)

    @property
    def believed(self) -> np.ndarray:
        """bool `[N]`, rows whose stated size is believed until the image is opened."""
        return np.zeros(len(self), bool)

    def believed_header(self, number: int) -> images.Header:
        """The size that a row states."""
        height, width = self.declared[number].astype(int).tolist()
        return images.Header(height, width, standard_jpeg=False, believed=True)

    def take(self, numbers: Sequence[int]) -> RowTable:
        """The table of some of the rows, in their order."""
        if len(numbers) == len(self):
            return self
        return RowTable.of([self.rows[number] for number in numbers])

    def blocks(self, objects: int) -> Iterator[slice]:
        """Slices of rows one after the other, of about so many objects each."""
        ends = np.searchsorted(self.starts, np.arange(objects, self.starts[-1], objects))
        marks = np.unique([0, *ends, len(self)])
        for begin, end in zip(marks[:-1].tolist(), marks[1:].tolist(), strict=True):
            yield slice(begin, end)

    def sides_in(self, headers: Headers) -> np.ndarray:
        """float64 `[N, 2]`, height and width in the unit that the boxes are given in."""
        stated = (self.declared > 0).all(1) & np.isfinite(self.declared).all(1)
        sides = np.where(stated[:, None], self.declared, headers.sizes)
        return np.where(self.normalized[:, None], 1.0, sides)

    def state_unit(self, unit: str) -> None:
        """Takes the boxes in the unit that the user states."""
        for row in self.rows:
            row.state_unit(unit)
        self._read_rows()


def _all(rows: Sequence[Row], name: str) -> Iterator:
    return (value for row in rows for value in getattr(row, name))
