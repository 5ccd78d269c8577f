"""Ground truth and detections of a whole data set as flat arrays, and the overlaps between them.

Everything that is measured (average precision, error analysis, curves) starts from one `Table`, so
that all of it sees the same boxes, the same order and the same overlaps.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from ssd_keras.boxes.numpy_boxes import inclusive_iou, inclusive_share_inside
from ssd_keras.data.source import GroundTruth
from ssd_keras.detections import Detections

# Boxes are stored as float32 fractions of the image. A thousandth of a pixel is finer than any
# annotation and coarser than the rounding of float32, so whole pixels come back as whole pixels
# and an overlap of exactly 0.5 stays one.
_DECIMALS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """All objects and all detections of a data set, image after image.

    Attributes:
        classes: class names.
        sizes: int `[I, 2]`, height and width of each image in pixels.
        image_ids: the ids of the images.
        object_image, object_label: int `[G]`.
        object_box: float64 `[G, 4]` in pixels, `[ymin, xmin, ymax, xmax]`.
        object_difficult, object_crowd: bool `[G]`.
        object_area: float64 `[G]` in square pixels: the annotated area where the ground truth has
            one, else that of the box.
        read: bool `[I]`, False for an image that could not be read; it has no objects here.
        image, label: int `[D]`; score: float64 `[D]`; box: float64 `[D, 4]` in pixels.
            Detections are in order of image and, within one, of falling score.
    """

    classes: tuple[str, ...]
    sizes: np.ndarray
    image_ids: tuple
    object_image: np.ndarray
    object_label: np.ndarray
    object_box: np.ndarray
    object_difficult: np.ndarray
    object_crowd: np.ndarray
    object_area: np.ndarray
    read: np.ndarray
    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    box: np.ndarray

    @property
    def object_ignored(self) -> np.ndarray:
        """Bool `[G]`: difficult and crowd objects, which neither help nor hurt a detector."""
        return self.object_difficult | self.object_crowd

    def objects_per_class(self) -> np.ndarray:
        """How many objects count, int `[C]`."""
        labels = self.object_label[~self.object_ignored]
        return np.bincount(labels, minlength=len(self.classes))

    @functools.cached_property
    def object_slices(self) -> list[slice]:
        """Where the objects of each image lie."""
        return _slices(self.object_image, len(self.sizes))

    @functools.cached_property
    def detection_slices(self) -> list[slice]:
        """Where the detections of each image lie."""
        return _slices(self.image, len(self.sizes))

    @functools.cached_property
    def best(self) -> dict[str, np.ndarray]:
        """The object that each detection overlaps most, among its own and among other classes.

        Returns:
            `own`, `other`: int `[D]`, index of an object or -1; `own_iou`, `other_iou`: float64
            `[D]` in the pixel-inclusive convention of VOC. Of objects that overlap equally the
            first counts. Crowd regions are no objects here: `in_crowd`, float64 `[D]`, is the
            share of the detection that lies in one of its class.
        """
        count = len(self.score)
        found = {
            "own": np.full(count, -1),
            "own_iou": np.zeros(count),
            "other": np.full(count, -1),
            "other_iou": np.zeros(count),
            "in_crowd": np.zeros(count),
        }
        for objects, detections in zip(self.object_slices, self.detection_slices, strict=True):
            if objects.start == objects.stop or detections.start == detections.stop:
                continue
            overlaps = inclusive_iou(self.box[detections], self.object_box[objects])
            same = self.label[detections][:, None] == self.object_label[objects][None]
            crowd = self.object_crowd[objects]
            if crowd.any():
                regions = self.object_box[objects][crowd]
                shares = inclusive_share_inside(self.box[detections], regions)
                found["in_crowd"][detections] = np.where(same[:, crowd], shares, 0.0).max(1)
            for name, allowed in (("own", same & ~crowd), ("other", ~same & ~crowd)):
                candidates = np.where(allowed, overlaps, 0.0)
                index = candidates.argmax(1)
                overlap = candidates[np.arange(len(index)), index]
                found[name][detections] = np.where(overlap > 0, index + objects.start, -1)
                found[f"{name}_iou"][detections] = overlap
        return found


def tabulate(ground_truth: Sequence, detections: Sequence, classes: Sequence[str]) -> Table:
    """Lays ground truth and detections out as one `Table`.

    Args:
        ground_truth: one record per image with `image_id`, `height`, `width`, `boxes` `[n, 4]`
            normalised, `labels` `[n]`, `difficult` `[n]` and `crowd` `[n]`, and optionally `area`
            `[n]` in square pixels, nan where it is that of the box.
        detections: `Detections` of the same images in the same order; None for an image that
            could not be read, whose objects are left out as well.
        classes: class names, index = label.

    Raises:
        ValueError: if the two lists differ in length, a label has no class, or the detections
            were made for other classes.
    """
    classes = tuple(classes)
    if len(ground_truth) != len(detections):
        raise ValueError(
            f"{len(ground_truth)} images of ground truth but {len(detections)} of detections: "
            "give one Detections per image, empty where nothing was found."
        )
    read = np.array([found is not None for found in detections], bool)
    ground_truth, detections = _without_unread(ground_truth, detections, classes)
    _check_classes(ground_truth, detections, classes)
    sizes = np.array([(t.height, t.width) for t in ground_truth], np.int64).reshape(-1, 2)
    truth_boxes = _pixels([t.boxes for t in ground_truth], sizes)
    found_boxes = _pixels([d.boxes for d in detections], sizes)
    table = Table(
        classes=classes,
        sizes=sizes,
        image_ids=tuple(t.image_id for t in ground_truth),
        object_image=_image_of(truth_boxes),
        object_label=_join([t.labels for t in ground_truth], np.int64),
        object_box=_join(truth_boxes, np.float64, 4),
        object_difficult=_join([_flags(t, "difficult") for t in ground_truth], bool),
        # What is to be ignored is treated as a crowd: detections that lie in it count for nothing.
        object_crowd=_join([_flags(t, "crowd") | _flags(t, "ignored") for t in ground_truth], bool),
        object_area=_join(list(map(_areas, ground_truth, truth_boxes)), np.float64),
        read=read,
        image=_image_of(found_boxes),
        label=_join([d.labels for d in detections], np.int64),
        score=_join([d.scores for d in detections], np.float64),
        box=_join(found_boxes, np.float64, 4),
    )
    _check_labels("ground truth", table.object_label, len(classes))
    _check_labels("detections", table.label, len(classes))
    return table


def _check_classes(ground_truth: Sequence, detections: Sequence, classes: tuple[str, ...]):
    for truth, found in zip(ground_truth, detections, strict=True):
        known = tuple(getattr(found, "classes", classes))
        if known != classes:
            raise ValueError(
                f"The detections of image '{truth.image_id}' have the classes {_short(known)}, "
                f"the ground truth has {_short(classes)}. Load the data with the detector's "
                "classes, or evaluate on data with the same classes in the same order."
            )


def _check_labels(what: str, labels: np.ndarray, count: int):
    if len(labels) and not 0 <= labels.min() <= labels.max() < count:
        raise ValueError(
            f"Labels of the {what} run from {labels.min()} to {labels.max()}, "
            f"but there are {count} classes: labels must be 0..{count - 1}."
        )


def _areas(truth, boxes: np.ndarray) -> np.ndarray:
    """The annotated areas of an image's objects, else those of their boxes in pixels."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    given = np.asarray(getattr(truth, "area", area), np.float64)
    return np.where(np.isnan(given), area, given)


def _image_of(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """For each box of all images the index of its image."""
    return np.repeat(np.arange(len(boxes)), [len(one) for one in boxes])


def _without_unread(ground_truth, detections, classes) -> tuple[list, list]:
    """The same with nothing in the images that could not be read, which keep their places."""
    nothing = Detections([], [], [], classes)
    truth = [
        t if found is not None else GroundTruth(t.image_id, t.height, t.width, [], [])
        for t, found in zip(ground_truth, detections, strict=True)
    ]
    return truth, [nothing if found is None else found for found in detections]


def _pixels(boxes: Sequence, sizes: np.ndarray) -> list[np.ndarray]:
    return [
        np.round(np.asarray(b, np.float64).reshape(-1, 4) * np.tile(size, 2), _DECIMALS)
        for b, size in zip(boxes, sizes, strict=True)
    ]


def _flags(truth, name: str) -> np.ndarray:
    flags = getattr(truth, name, None)
    return np.zeros(len(truth.labels), bool) if flags is None else np.asarray(flags, bool)


def _join(parts: Sequence, dtype, columns: int | None = None) -> np.ndarray:
    shape = (-1,) if columns is None else (-1, columns)
    if not parts:
        return np.zeros((0,) if columns is None else (0, columns), dtype)
    return np.concatenate([np.asarray(part, dtype).reshape(shape) for part in parts])


def _slices(image: np.ndarray, count: int) -> list[slice]:
    edges = np.searchsorted(image, np.arange(count + 1))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _short(names: Sequence[str]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}; {len(names)} in all)"
