"""Pictures of shapes, drawn on the fly: a detection task that needs no file.

Objects of four outlines with random size, aspect, tilt, fill and contrast overlap on textured
backgrounds with clutter. Colour says nothing about the class or about being an object.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib

import numpy as np

from ssd_keras.data.shape_painting import Shape, background, light, paint, stroke
from ssd_keras.data.source import GroundTruth, Source

CLASSES = ("circle", "rectangle", "triangle", "star")
DEFAULT_COUNTS = {"train": 2000, "val": 300, "test": 300}
MAX_OBJECTS = 8
SMALLEST, LARGEST = 12.0, 240.0  # longer side in pixels of a 300-pixel image
LEAST_VISIBLE = 0.7  # share of an object that later ones must leave uncovered
LEAST_INSIDE = 0.8  # share of an object that must lie inside the image


class ShapesSource(Source):
    """`count` drawn images; each is a pure function of the split's name and its index."""

    def __init__(self, spec: str, split: str, count: int, size: int = 300):
        self.split, self.count, self.size = split, count, size
        super().__init__(spec, CLASSES, ())

    def __len__(self) -> int:
        return self.count

    def ground_truth(self) -> list[GroundTruth]:
        if not self._examples:
            self._examples = [self._ground_truth(i) for i in range(self.count)]
        return self._examples

    def image(self, index: int) -> np.ndarray:
        return draw(_seed(self.split, index), self.size)[0]

    def _ground_truth(self, index: int) -> GroundTruth:
        layout = _layout(np.random.default_rng(_seed(self.split, index)), self.size)
        boxes, labels = _visible_boxes(layout, self.size)
        return GroundTruth(f"{self.split}-{index:06d}", self.size, self.size, boxes, labels)


def _seed(split: str, index: int) -> tuple[int, int]:
    return zlib.crc32(split.encode()), index


def draw(seed, size: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws one picture.

    Args:
        seed: anything `numpy.random.default_rng` takes.
        size: side of the picture in pixels.

    Returns:
        image uint8 `[size, size, 3]`; boxes float32 `[n, 4]` `[ymin, xmin, ymax, xmax]`
        normalised, tight to the visible pixels; labels int32 `[n]`, indices into `CLASSES`.
    """
    rng = np.random.default_rng(seed)
    layout = _layout(rng, size)
    image = background(rng, size)
    for shape in layout.shapes:
        paint(rng, image, shape)
    if rng.random() < 0.3:
        stroke(rng, image, width=rng.uniform(0.8, 1.6))
    light(rng, image)
    boxes, labels = _visible_boxes(layout, size)
    return np.clip(image, 0, 255, out=image).astype(np.uint8), boxes, labels


@dataclasses.dataclass
class _Layout:
    shapes: list[Shape]
    owner: np.ndarray  # int16 [size, size], index of the topmost shape or -1


def _layout(rng, size: int) -> _Layout:
    layout = _Layout([], np.full((size, size), -1, np.int16))
    drawn, visible = [], []
    for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
        label = int(rng.integers(len(CLASSES)))
        for _ in range(6):
            shape, area = _place(rng, label, size)
            mask = shape.alpha >= 0.5
            inside = int(mask.sum())
            h, w = mask.shape
            patch = layout.owner[shape.top : shape.top + h, shape.left : shape.left + w]
            covered = np.bincount(patch[mask] + 1, minlength=len(drawn) + 1)[1:]
            fair = all(
                v - c >= LEAST_VISIBLE * d for v, c, d in zip(visible, covered, drawn, strict=True)
            )
            if fair and inside >= max(LEAST_INSIDE * area, 20):
                visible = [v - c for v, c in zip(visible, covered, strict=True)]
                patch[mask] = len(drawn)
                layout.shapes.append(shape)
                drawn.append(inside)
                visible.append(inside)
                break
    return layout


def _visible_boxes(layout: _Layout, size: int) -> tuple[np.ndarray, np.ndarray]:
    boxes = []
    for index, shape in enumerate(layout.shapes):
        h, w = shape.alpha.shape
        seen = layout.owner[shape.top : shape.top + h, shape.left : shape.left + w] == index
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        boxes.append(
            [
                shape.top + rows[0],
                shape.left + columns[0],
                shape.top + rows[-1] + 1,
                shape.left + columns[-1] + 1,
            ]
        )
    labels = np.array([shape.label for shape in layout.shapes], np.int32)
    return (np.array(boxes, np.float32).reshape(-1, 4) / size).astype(np.float32), labels


def _place(rng, label: int, size: int) -> tuple[Shape, float]:
    """A shape at a random place, cut to the image, and its whole area in pixels."""
    low, high = np.sqrt(SMALLEST), np.sqrt(LARGEST)
    long_side = size / 300 * rng.uniform(low, high) ** 2
    aspect = np.exp(rng.uniform(-0.6, 0.0)) if label != 1 else np.exp(rng.uniform(-0.9, 0.0))
    angle = rng.uniform(-0.35, 0.35)
    # Columns of `axes` carry the unit square's axes to pixels (y, x): stretch, then rotation.
    cos, sin = np.cos(angle), np.sin(angle)
    axes = 0.5 * long_side * np.array([[cos, -sin * aspect], [sin, cos * aspect]])
    centre = rng.uniform(0.02, 0.98, 2) * size
    reach = np.ceil(np.abs(axes).sum(1)) + 2
    low = np.clip(np.floor(centre - reach), 0, size - 1).astype(int)
    high = np.clip(np.ceil(centre + reach), low + 1, size).astype(int)
    ys = (np.arange(low[0], high[0]) + 0.5 - centre[0]).astype(np.float32)[:, None]
    xs = (np.arange(low[1], high[1]) + 0.5 - centre[1]).astype(np.float32)[None, :]
    distance, unit_area = _OUTLINES[CLASSES[label]](axes, ys, xs, rng)
    alpha = np.clip(0.5 - distance, 0, 1, out=distance)
    area = unit_area * abs(np.linalg.det(axes))
    return Shape(label, int(low[0]), int(low[1]), alpha), area


# Outlines give the signed distance in pixels to the outline (negative inside, exact near edges)
# and the area of the shape inside the square -1..1.


def _half_planes(axes, ys, xs, corners):
    """Distances to the lines through consecutive corners, positive outside."""
    points = np.asarray(corners) @ axes.T
    sign = np.sign(np.linalg.det(axes))
    for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, 0), strict=True):
        dy, dx = y1 - y0, x1 - x0
        length = sign * max(np.hypot(dy, dx), 1e-6)
        yield (ys - y0) * np.float32(dx / length) - (xs - x0) * np.float32(dy / length)


def _convex(axes, ys, xs, corners):
    return functools.reduce(np.maximum, _half_planes(axes, ys, xs, corners))


def _rectangle(axes, ys, xs, rng):
    return _convex(axes, ys, xs, [(-1, -1), (1, -1), (1, 1), (-1, 1)]), 4.0


def _triangle(axes, ys, xs, rng):
    tip = rng.uniform(-0.6, 0.6)
    return _convex(axes, ys, xs, [(-1, tip), (1, -1), (1, 1)]), 2.0


def _star(axes, ys, xs, rng):
    # Inside a pentagram a point is on the inner side of at least four of its five lines, so
    # the second largest of the five distances is its outline.
    turn = np.arange(5) * (4 * np.pi / 5)
    planes = list(_half_planes(axes, ys, xs, np.stack([-np.cos(turn), -np.sin(turn)], 1)))
    first = np.maximum(planes[0], planes[1])
    second = np.minimum(planes[0], planes[1])
    for plane in planes[2:]:
        second = np.maximum(second, np.minimum(first, plane))
        first = np.maximum(first, plane)
    return second, 1.1226


def _circle(axes, ys, xs, rng):
    inverse = np.linalg.inv(axes).astype(np.float32)
    u = inverse[0, 0] * ys + inverse[0, 1] * xs
    v = inverse[1, 0] * ys + inverse[1, 1] * xs
    value = np.sqrt(u * u + v * v)
    # |gradient| of `value` turns it into pixels near the outline.
    gy = inverse[0, 0] * u + inverse[1, 0] * v
    gx = inverse[0, 1] * u + inverse[1, 1] * v
    slope = np.sqrt(gy * gy + gx * gx) / np.maximum(value, 1e-3)
    return (value - 1) / np.maximum(slope, 1e-6), np.pi


_OUTLINES = {
    "circle": _circle,
    "rectangle": _rectangle,
    "triangle": _triangle,
    "star": _star,
}
