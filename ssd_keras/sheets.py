"""Pictures, RGB arrays `[H, W, 3]` uint8: scaled, laid out side by side, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras.display import printable
from ssd_keras.fonts import Line

_BACKGROUND = 255


def fit(image: np.ndarray, height: int, *, max_width: int) -> np.ndarray:
    """The image scaled to `height` pixels, or to less if it were wider than `max_width`."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, max_width / columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(as_uint8(image)).resize(size, method))


def legible(image: np.ndarray, side: int = 240) -> np.ndarray:
    """A small image enlarged by a whole factor, so that names can be written on it."""
    rows, columns = image.shape[:2]
    factor = max(1, min(-(-side // min(rows, columns)), 4 * side // max(rows, columns)))
    return as_uint8(image).repeat(factor, 0).repeat(factor, 1)


def grid(
    columns: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = (), *, gap: int = 8
) -> np.ndarray:
    """Pictures laid out in columns on white, a title over each column."""
    rows = max((len(column) for column in columns), default=0)
    heights = [max(c[r].shape[0] for c in columns if r < len(c)) for r in range(rows)]
    lines = [Line(printable(title), 16) if title else None for title in titles]
    widths = [
        max([p.shape[1] for p in column] + [line.width if line else 0])
        for column, line in zip(columns, lines or [None] * len(columns), strict=True)
    ]
    top = (30 if titles else 0) + gap
    size = (sum(widths) + gap * (len(widths) + 1), top + sum(h + gap for h in heights))
    sheet = Image.new("RGB", size, (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(sheet)
    x = gap
    for i, column in enumerate(columns):
        if lines and lines[i]:
            lines[i].draw(draw, x, gap, (30, 30, 30))
        y = top
        for picture, row in zip(column, heights, strict=False):
            sheet.paste(Image.fromarray(picture), (x, y))
            y += row + gap
        x += widths[i] + gap
    return np.asarray(sheet)


def save(picture: np.ndarray, path: str | Path) -> Path:
    """Writes a picture `[H, W, 3]` in the format that the file's name says; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(as_uint8(picture)).save(path, **quality)
    return path


def as_uint8(image: np.ndarray) -> np.ndarray:
    """An image `[H, W, 3]` of RGB 0..255 as uint8; what is no number is black.

    Raises:
        ValueError: another shape.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"A picture is [height, width, 3] in RGB, got the shape {image.shape}.")
    if image.dtype != np.uint8:
        image = np.clip(np.nan_to_num(np.rint(image)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)
