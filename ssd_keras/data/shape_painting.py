"""How pictures of shapes are painted: backgrounds, clutter, fills and light."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from PIL import Image


@dataclasses.dataclass
class Shape:
    """Where an object lies, and what it covers."""

    label: int
    top: int
    left: int
    alpha: np.ndarray  # float32 [h, w], share of each pixel that the shape covers


def _enlarge(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolates float32 `[c, h, w]` to `[height, width, c]`.

    Pillow, unlike a matrix product, starts no threads, which matters inside a parallel pipeline.
    """
    planes = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in grid
    ]
    return np.stack([np.asarray(plane) for plane in planes], -1)


@functools.lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(1 << 20, np.float32)


def _noise(rng, height: int, width: int, channels: int, cells: int) -> np.ndarray:
    grid = rng.standard_normal((channels, cells, cells), np.float32)
    return _enlarge(grid, height, width)


def background(rng, size: int) -> np.ndarray:
    """A textured ground with clutter, float32 `[size, size, 3]` around 0..255."""
    # The scales are added on the finest grid, so that only one large array is interpolated.
    finest = 53
    grid = np.zeros((finest, finest, 3), np.float32)
    colourful = rng.uniform(0.1, 0.4)
    for cells in (3, 7, 17, finest):
        strength = 14 * rng.random() ** 1.5
        grey = rng.standard_normal((1, cells, cells), np.float32)
        grid += strength * _enlarge(grey, finest, finest)
        if cells < finest:
            colour = rng.standard_normal((3, cells, cells), np.float32)
            grid += colourful * strength * _enlarge(colour, finest, finest)
    grid += rng.uniform(30, 225, 3).astype(np.float32)
    image = _enlarge(np.moveaxis(grid, -1, 0), size, size)
    for _ in range(rng.integers(0, 5)):
        stroke(rng, image, width=float(np.exp(rng.uniform(0, 1.6))))
    for _ in range(rng.integers(0, 3)):
        _smudge(rng, image)
    return image


def stroke(rng, image, width: float) -> None:
    """A line across the picture: clutter of no class."""
    size = len(image)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45) * size
    at = np.arange(size, dtype=np.float32) - size / 2
    distance = at[:, None] * np.float32(np.cos(angle)) + at * np.float32(np.sin(angle))
    distance += np.float32(rng.uniform(-8, 8)) * np.sin(at / np.float32(rng.uniform(8, 40)))
    rows, columns = np.nonzero(np.abs(distance - offset) < width / 2 + 1)
    alpha = np.clip(width / 2 + 0.5 - np.abs(distance[rows, columns] - offset), 0, 1)[:, None]
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    pixels = image[rows, columns]
    image[rows, columns] = pixels + alpha * np.float32(rng.uniform(0.4, 1)) * (colour - pixels)


def _smudge(rng, image) -> None:
    """A lobed blob with a soft edge: clutter of no class."""
    size = len(image)
    radius = size * np.exp(rng.uniform(-3.2, -1.6))
    centre = rng.uniform(0, size, 2)
    low = np.clip(centre - 2 * radius, 0, size - 1).astype(int)
    high = np.clip(centre + 2 * radius, low + 1, size).astype(int)
    ys = ((np.arange(low[0], high[0]) - centre[0]) / radius).astype(np.float32)[:, None]
    xs = ((np.arange(low[1], high[1]) - centre[1]) / radius).astype(np.float32)
    angle = np.arctan2(ys, xs)
    lobes, phase = int(rng.integers(2, 6)), rng.uniform(0, 6.28, 2).astype(np.float32)
    edge = (
        1 + 0.35 * np.sin(lobes * angle + phase[0]) + 0.25 * np.sin((lobes + 1) * angle + phase[1])
    )
    alpha = np.clip((edge - np.hypot(ys, xs)) * rng.uniform(1.0, 3.0), 0, 1)[..., None]
    alpha *= rng.uniform(0.3, 0.9)
    patch = image[low[0] : high[0], low[1] : high[1]]
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    patch += alpha * (colour - patch)


def paint(rng, image, shape: Shape) -> None:
    """Fills a shape with a colour and texture that differ from what is around it."""
    height, width = shape.alpha.shape
    patch = image[shape.top : shape.top + height, shape.left : shape.left + width]
    around = patch.mean((0, 1))
    side = max(height, width)
    # Small objects need more contrast to be told apart by eye; none is below what an eye needs.
    least = 110 + 30 * max(0.0, 1 - side / 60)
    direction = rng.standard_normal(3)
    direction += np.sign(direction.sum()) * 0.8  # mostly lightness, some hue
    direction /= np.linalg.norm(direction)
    contrast = rng.uniform(least, 210)
    colour = around + contrast * direction
    if (np.clip(colour, 0, 255) - around) @ direction < 0.75 * contrast:
        colour = around - contrast * direction
    fill = np.clip(colour, 0, 255).astype(np.float32)
    texture = rng.integers(5)
    strength = np.float32(min(contrast, 90) * rng.uniform(0.1, 0.25))
    if texture == 0:
        fill = fill + strength * _noise(rng, height, width, 1, int(rng.integers(3, 9)))
    elif texture == 1:
        fill = fill + strength * _noise(rng, height, width, 3, int(rng.integers(2, 6)))
    elif texture == 2 and side >= 24:
        ys = np.arange(height, dtype=np.float32)[:, None] * np.float32(rng.uniform(-1, 1))
        xs = np.arange(width, dtype=np.float32) * np.float32(rng.uniform(-1, 1))
        fill = fill + (strength * np.sign(np.sin(ys + xs)))[..., None]
    elif texture == 3:
        slope = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.choice([-1, 1]))
        fill = fill + 1.5 * strength * slope[:, None, None]
    alpha = shape.alpha[..., None]
    if rng.random() < 0.2 and side >= 24:
        border = np.float32(rng.uniform(0, 255))
        fill = np.broadcast_to(fill, patch.shape).copy()
        fill[shape.alpha < 1] = border
    patch += alpha * (fill - patch)


def light(rng, image) -> None:
    """Uneven light over the whole picture, and grain."""
    size = len(image)
    at = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    image *= (rng.uniform(0.85, 1.1) + slope[0] * at[:, None] + slope[1] * at)[..., None]
    grain = _grain()
    if len(grain) <= size * size * 3:  # a picture larger than it: the grain repeats
        grain = np.resize(grain, size * size * 3 + len(grain))
    start = rng.integers(0, len(grain) - size * size * 3)
    noise = grain[start : start + size * size * 3].reshape(image.shape)
    image += np.float32(rng.uniform(0, 9)) * noise
