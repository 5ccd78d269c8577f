"""What a detector saw in one image."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError, unknown
from ssd_keras.files import replace, write_text
from ssd_keras.resizing import LETTERBOX, boxes_in_image

PICTURES = (".jpg", ".jpeg", ".png")
_SIDES = ("ymin", "xmin", "ymax", "xmax")


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
    """One object.

    Attributes:
        box: float32 `[4]`, `[ymin, xmin, ymax, xmax]` normalised to the image.
        score: 0..1.
        label: index of the class.
        name: name of the class.
        image_size: (height, width) of the image in pixels, or None.
    """

    box: np.ndarray
    score: float
    label: int
    name: str
    image_size: tuple[int, int] | None = None

    def pixels(self, image=None) -> np.ndarray:
        """The box in pixels, float32 `[4]`; see `Detections.pixels`."""
        return self.box * np.tile(_size(image, self.image_size), 2).astype(np.float32)

    def to_dict(self) -> dict:
        """Class, label, score and box; also the box in pixels where the image's size is known."""
        found = {
            "class": self.name,
            "label": self.label,
            "score": self.score,
            "box": _floats(self.box),
        }
        if self.image_size is None:
            return found
        return found | {"box_pixels": [round(side, 1) for side in self.pixels().tolist()]}


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Boxes, scores and labels of one image, best score first.

    `found[0]` is one `Detection`; `found[:3]` and `found[found.scores > 0.5]` are `Detections`.

    Attributes:
        boxes: float32 `[N, 4]`, `[ymin, xmin, ymax, xmax]` normalised to the image.
        scores: float32 `[N]` in 0..1, descending.
        labels: int32 `[N]`, indices into `classes`.
        classes: names of all classes the detector knows.
        image_size: (height, width) in pixels of the image that was looked at, or None.
        image_path: its file, or None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    image_size: tuple[int, int] | None = None
    image_path: str | None = None

    def __post_init__(self):
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        labels = np.asarray(self.labels, np.int32).reshape(-1)
        if not len(boxes) == len(scores) == len(labels):
            raise ValueError(
                f"Detections need one score and one label per box, got {len(boxes)} boxes, "
                f"{len(scores)} scores and {len(labels)} labels."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"Labels must be 0..{len(self.classes) - 1}, got {labels.min()}..{labels.max()}."
            )
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "boxes", boxes[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "labels", labels[order])
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, which) -> Detection | Detections:
        """One by its number; some by a slice, a mask or numbers."""
        if isinstance(which, (int, np.integer)) and not isinstance(which, (bool, np.bool_)):
            label = int(self.labels[which])
            return Detection(
                self.boxes[which],
                _shortest(self.scores[which]),
                label,
                self.classes[label],
                self.image_size,
            )
        if not isinstance(which, slice):
            which = np.asarray(which, None if len(which) else np.int64)
        rows = (self.boxes[which], self.scores[which], self.labels[which])
        return Detections(*rows, self.classes, self.image_size, self.image_path)

    def __iter__(self) -> Iterator[Detection]:
        return (self[i] for i in range(len(self)))

    @property
    def names(self) -> list[str]:
        """The class name of each detection."""
        return [self.classes[label] for label in self.labels]

    def above(self, threshold: float) -> Detections:
        """Only the detections whose score is at least `threshold`."""
        return self[self.scores >= threshold]

    def of(self, *names: str) -> Detections:
        """Only the detections of these classes.

        Raises:
            UserError: the detector knows no such class.
        """
        for name in names:
            if name not in self.classes:
                raise unknown("class", name, self.classes)
        return self[np.isin(self.labels, [self.classes.index(name) for name in names])]

    def from_canvas(self, size: tuple[int, int], canvas: tuple[int, int], way: str) -> Detections:
        """What was found on the canvas of a network, as found in an image of `size`.

        Of a letterboxed image what lies on the edges alone is left out: no object is there.

        Args:
            size: (height, width) of the image.
            canvas: (height, width) of what the network looked at.
            way: in which the image came to that size, one of `resizing.WAYS`.
        """
        moved = dataclasses.replace(self, boxes=boxes_in_image(self.boxes, size, canvas, way))
        if way != LETTERBOX:
            return moved
        return moved[np.all(moved.boxes[:, 2:] > moved.boxes[:, :2], axis=1)]

    def of_image(self, size: tuple[int, int], path: str | os.PathLike | None = None) -> Detections:
        """The same, knowing the (height, width) and the file of the image."""
        path = None if path is None else os.fspath(path)
        return dataclasses.replace(self, image_size=tuple(map(int, size)), image_path=path)

    def pixels(self, image=None) -> np.ndarray:
        """The boxes in pixels, float32 `[N, 4]`, `[ymin, xmin, ymax, xmax]`.

        Args:
            image: the image `[H, W, 3]` or its (height, width); None: the image looked at.

        Raises:
            UserError: the size of the image is not known.
        """
        return self.boxes * np.tile(_size(image, self.image_size), 2).astype(np.float32)

    def draw(self, image=None) -> np.ndarray:
        """The image with boxes, names and scores, uint8 `[H, W, 3]`.

        Args:
            image: the image `[H, W, 3]`, RGB 0..255, or its path; None: the file looked at.

        Raises:
            UserError: there is no image, or it cannot be read.
        """
        from ssd_keras import drawing

        image = _pixels_of(self.image_path if image is None else image)
        return drawing.draw_boxes(image, self.boxes, self.labels, self.classes, self.scores)

    def to_dict(self) -> dict:
        """What was found, ready for JSON: the image and a list of `Detection.to_dict`."""
        height, width = self.image_size or (None, None)
        return {
            "image": self.image_path,
            "height": height,
            "width": width,
            "detections": [found.to_dict() for found in self],
        }

    def rows(self) -> list[dict]:
        """A flat dict for each detection, as `pandas.DataFrame` and csv want them.

        Image, class, label, score and the sides of the box, as shares of the image (`ymin`) and,
        where its size is known, in pixels (`ymin_px`).
        """
        return [self._row(found) for found in self]

    def _row(self, found: Detection) -> dict:
        row = {"image": self.image_path, **found.to_dict()}
        sides = dict(zip(_SIDES, row.pop("box"), strict=True))
        pixels = row.pop("box_pixels", None)
        if pixels is not None:
            sides |= {f"{side}_px": value for side, value in zip(_SIDES, pixels, strict=True)}
        return row | sides

    def save(self, path: str | os.PathLike, image=None) -> Path:
        """Writes what was found: .json (`to_dict`), .csv (`rows`), .jpg or .png (`draw`).

        Args:
            path: the file; its ending says what is written.
            image: see `draw`; for pictures.

        Raises:
            UserError: another ending, no image to draw on, or a file that cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending == ".json":
            return write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")
        if ending == ".csv":
            return write_text(path, _as_csv(self.rows()))
        if ending in PICTURES:
            from ssd_keras import sheets

            picture = self.draw(image)
            return replace(path, lambda temporary: sheets.save(picture, temporary))
        raise unknown("kind of file", ending or path.name, (".json", ".csv", *PICTURES))

    def __repr__(self) -> str:
        seen = ", ".join(
            f"{name} {score:.2f}" for name, score in zip(self.names[:5], self.scores, strict=False)
        )
        return f"Detections({len(self)}: {seen}{', ...' if len(self) > 5 else ''})"


def _size(image, known: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of what was given for an image, else what is known of it."""
    if image is None:
        if known is None:
            raise UserError(
                "The size of the image is not known here: give the image or its (height, width)."
            )
        return known
    shape = np.shape(image)
    if shape == (2,):
        return tuple(image)
    if len(shape) != 3:
        raise UserError(f"An image is an array [H, W, 3] or a (height, width), got {shape}.")
    return shape[:2]


def _pixels_of(image) -> np.ndarray:
    if image is None:
        raise UserError("The image itself is not kept: give it, or its path, to draw on.")
    if isinstance(image, (str, os.PathLike)):
        from ssd_keras.data.images import read_image

        return read_image(image)
    return np.asarray(image)


def _shortest(value: np.float32) -> float:
    """The float with the fewest digits that is this float32: 0.1, not 0.10000000149."""
    return float(str(value))


def _floats(values: np.ndarray) -> list[float]:
    return [_shortest(value) for value in values]


def _as_csv(rows: list[dict]) -> str:
    text = io.StringIO()
    columns = list(rows[0]) if rows else ["image", "class", "label", "score", *_SIDES]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
