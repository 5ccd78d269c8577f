"""The annotated objects of an image, and those of all images of a data set as a few arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np


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
        ignored: bool `[n]`; parts of objects that a tile shows too little of: neither objects nor
            background, in training as in evaluation.
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
    ignored: np.ndarray | None = None

    def __post_init__(self):
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        object.__setattr__(self, "boxes", boxes)
        for name, dtype, unknown in (
            ("labels", np.int32, 0),
            ("difficult", bool, False),
            ("crowd", bool, False),
            ("area", np.float64, np.nan),
            ("ignored", bool, False),
        ):
            value = getattr(self, name)
            value = [unknown] * len(boxes) if value is None else value
            value = np.asarray(value, dtype).reshape(-1)
            if len(value) != len(boxes):
                raise ValueError(f"{self.image_id}: {len(boxes)} boxes but {len(value)} {name}.")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def is_object(self) -> np.ndarray:
        """bool `[n]`: which are objects to be learned, neither crowds nor ignored."""
        return ~(self.crowd | self.ignored)


# Of each object: the name of the column, its dtype, and what stands where nothing is known.
_OBJECT_COLUMNS = (("labels", np.int32), ("difficult", bool), ("crowd", bool), ("area", np.float64))
_OBJECT_COLUMNS += (("ignored", bool),)


class TruthTable(Sequence[GroundTruth]):
    """The annotations of many images in a few large arrays.

    A sequence of `GroundTruth` like a list of them, in a tenth of its memory: what it gives of an
    image are views that are made when they are asked for.

    Attributes:
        image_ids: what the data set calls each image.
        sizes: int64 `[N, 2]`, height and width of each image.
        starts: int64 `[N + 1]`; the objects of image i are those from `starts[i]` to
            `starts[i + 1]`.
        boxes, labels, difficult, crowd, area, ignored: of all objects, as in `GroundTruth`.
        paths: the file of each image, or None.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        sizes: np.ndarray,
        counts: np.ndarray,
        boxes: np.ndarray,
        paths: Sequence[str | None],
        **columns: np.ndarray,
    ):
        self.image_ids = list(image_ids)
        self.paths = list(paths)
        self.sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        for name, dtype in _OBJECT_COLUMNS:
            setattr(self, name, np.asarray(columns[name], dtype))

    @classmethod
    def of(cls, truth: Iterable[GroundTruth]) -> TruthTable:
        """From one `GroundTruth` an image."""
        truth = list(truth)
        columns = {
            name: np.concatenate([np.zeros(0, dtype), *(getattr(one, name) for one in truth)])
            for name, dtype in _OBJECT_COLUMNS
        }
        return cls(
            [one.image_id for one in truth],
            np.array([(one.height, one.width) for one in truth], np.int64),
            np.array([len(one) for one in truth], np.int64),
            np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in truth)]),
            [one.path for one in truth],
            **columns,
        )

    @property
    def is_object(self) -> np.ndarray:
        """bool `[objects]`: which are to be learned, neither crowds nor ignored."""
        return ~(self.crowd | self.ignored)

    @property
    def counts(self) -> np.ndarray:
        """int64 `[N]`, objects of each image."""
        return np.diff(self.starts)

    @property
    def image_of(self) -> np.ndarray:
        """int64 `[objects]`, the index of the image that an object is of."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        part = slice(self.starts[index], self.starts[index + 1])
        return GroundTruth(
            self.image_ids[index],
            int(self.sizes[index, 0]),
            int(self.sizes[index, 1]),
            self.boxes[part],
            path=self.paths[index],
            **{name: getattr(self, name)[part] for name, _ in _OBJECT_COLUMNS},
        )

    def take(self, indices: Sequence[int]) -> TruthTable:
        """The table of some of the images, in the order of `indices`."""
        counts = self.counts[indices]
        before = np.concatenate([[0], np.cumsum(counts)])[:-1]
        objects = np.repeat(self.starts[:-1][indices] - before, counts) + np.arange(counts.sum())
        return TruthTable(
            [self.image_ids[i] for i in indices],
            self.sizes[indices],
            counts,
            self.boxes[objects],
            [self.paths[i] for i in indices],
            **{name: getattr(self, name)[objects] for name, _ in _OBJECT_COLUMNS},
        )


def concatenate(tables: Sequence[TruthTable], **changes) -> TruthTable:
    """The images of several tables, one after the other; `changes` replace columns."""
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in ("sizes", "counts", "boxes", *(name for name, _ in _OBJECT_COLUMNS))
    }
    listed = {
        name: [value for table in tables for value in getattr(table, name)]
        for name in ("image_ids", "paths")
    }
    return TruthTable(**(columns | listed | changes))


def table_of(truth: Sequence[GroundTruth]) -> TruthTable:
    """The annotations of a source as a table, which most are already."""
    return truth if isinstance(truth, TruthTable) else TruthTable.of(truth)
