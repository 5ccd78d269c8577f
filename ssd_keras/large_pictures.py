"""Pictures of large images with small objects: all of it made smaller, and where most is, as it is.

A photograph of 12,000 x 9,000 pixels with a thousand objects is drawn so that both can be seen:
where they lie, and what each of them is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras import drawing, fonts, sheets
from ssd_keras.detections import Detections
from ssd_keras.display import printable

# Sides that a picture has at most, on its own and with parts beside it; the side of a part, and how
# many there are. Images over `LARGE` are drawn smaller than they are.
ALONE, BESIDE, PART, MOST_PARTS = (4096, 4096), (1568, 2200), 520, 6
LARGE = 1600
# In the whole, names are written where the usual object has as many pixels; in a part, it has so
# many where it can.
READABLE, WANTED = 24, 48
_MOST_ENLARGED, _MOST_READ = 4.0, 1 << 22


def draw_large(picture, found: Detections) -> np.ndarray:
    """A picture of what was found in a large image, uint8 `[H, W, 3]`.

    Where names can be read in the whole, that is all. Else it has boxes alone, and the parts of the
    image with most objects stand beside it, numbered as in the whole, over a list of the classes.

    Args:
        picture: has a `size` and `window`, see `tiled_detection.Picture`.
        found: in shares of it.
    """
    if is_readable(found, picture.size):
        whole = shrunk(picture, ALONE)
        return drawing.draw_boxes(whole, found.boxes, found.labels, found.classes, found.scores)
    whole = shrunk(picture, BESIDE)
    side = part_side(found, picture.size)
    parts = densest_parts(found.of_image(picture.size).pixels(), picture.size, side, MOST_PARTS)
    details = [_detail(picture, found, part, n) for n, part in enumerate(parts, start=1)]
    beside = sheets.grid([details[::2], details[1::2]], gap=4)
    sheet = sheets.grid([[_overview(whole, found, parts, picture.size)], [beside]], gap=4)
    return np.concatenate([sheet, _legend(found, sheet.shape[1])])


def is_readable(found: Detections, size: tuple[int, int]) -> bool:
    """Whether names can be read in a picture of all of an image of (height, width)."""
    scale = LARGE / max(size)
    return scale >= 1 or drawing.usual_side(found.boxes, size) * scale >= READABLE


def part_side(found: Detections, size: tuple[int, int]) -> int:
    """Side of a part, in pixels of the image, in which the usual object can be seen well."""
    scale = np.clip(WANTED / max(drawing.usual_side(found.boxes, size), 1e-9), 0.25, _MOST_ENLARGED)
    return round(PART / scale)


def shrunk(picture, most: tuple[int, int]) -> np.ndarray:
    """All of a picture in pixels that are means of its own, read strip by strip.

    Args:
        picture: has a `size` and `window`.
        most: (height, width) at most; smaller pictures stay as they are.
    """
    height, width = picture.size
    scale = min(1.0, most[0] / height, most[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    if (rows, columns) == (height, width):
        return np.asarray(picture.window((0, 0, height, width)))
    strip = max(1, int(_MOST_READ / width * rows / height))
    out = np.empty((rows, columns, 3), np.uint8)
    for first in range(0, rows, strip):
        last = min(first + strip, rows)
        low, high = first * height / rows, last * height / rows
        # A pixel may take something of the rows next to its own.
        top, bottom = max(0, int(low) - 1), min(height, int(np.ceil(high)) + 1)
        read = Image.fromarray(sheets.as_uint8(picture.window((top, 0, bottom, width))))
        box = (0, low - top, width, min(high - top, bottom - top))
        out[first:last] = read.resize((columns, last - first), Image.Resampling.BOX, box)
    return out


def densest_parts(
    boxes: np.ndarray, size: tuple[int, int], side: int, most: int
) -> list[tuple[int, int, int, int]]:
    """Squares of an image with most objects, which share no object; top, left, bottom, right.

    Args:
        boxes: `[N, 4]` in pixels.
        size: (height, width) of the image.
        side: of a square; the image may be smaller.
        most: how many.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    extent = np.minimum(side, size)
    parts: list[tuple[int, int, int, int]] = []
    left = np.ones(len(boxes), bool)
    while left.any() and len(parts) < most:
        start = _densest(centers[left], extent, np.array(size))
        parts.append((*start.tolist(), *(start + extent).tolist()))
        left &= ~((centers >= start) & (centers <= start + extent)).all(1)
    return parts


def _densest(centers: np.ndarray, extent: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Top and left of the square, of those around an object, that holds most objects' centers."""
    # Of many objects only some are tried.
    tried = centers[:: max(1, len(centers) // 500)]
    starts = np.clip(np.round(tried - extent / 2), 0, size - extent).astype(np.int64)
    near = (centers[None] >= starts[:, None]) & (centers[None] <= (starts + extent)[:, None])
    return starts[near.all(2).sum(1).argmax()]


def _detail(picture, found: Detections, part: Sequence[int], number: int) -> np.ndarray:
    """A part of the image with the boxes on it and its number."""
    top, left, bottom, right = part
    start, extent = np.array([top, left] * 2), np.array([bottom - top, right - left] * 2)
    boxes = (found.boxes.astype(np.float64) * np.tile(picture.size, 2) - start) / extent
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((center >= 0) & (center <= 1)).all(1)
    pixels = sheets.fit(picture.window(part), PART, max_width=PART)
    drawn = drawing.draw_boxes(
        pixels, boxes[inside], found.labels[inside], found.classes, found.scores[inside]
    )
    return _draw_numbered_frames(drawn, [(0, 0, *(side - 1 for side in drawn.shape[:2]))], [number])


def _overview(whole: np.ndarray, found: Detections, parts, size) -> np.ndarray:
    """The whole with boxes alone and the frames of the parts."""
    names = [""] * len(found)
    drawn = drawing.draw_boxes(whole, found.boxes, found.labels, found.classes, captions=names)
    scale = np.tile(np.divide(whole.shape[:2], size), 2)
    frames = [tuple(np.round(np.array(part) * scale).astype(int).tolist()) for part in parts]
    return _draw_numbered_frames(drawn, frames, range(1, len(frames) + 1))


def _draw_numbered_frames(image: np.ndarray, frames, numbers) -> np.ndarray:
    """White frames with a dark rim and a number in their corner."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for (top, left, bottom, right), number in zip(frames, numbers, strict=True):
        draw.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=2)
        line = fonts.Line(str(number), 20)
        draw.rectangle((left, top, left + line.width + 10, top + line.height + 4), fill=(0, 0, 0))
        line.draw(draw, left + 5, top + 2, (255, 255, 255))
    return np.asarray(picture)


def _legend(found: Detections, width: int) -> np.ndarray:
    """The classes that were found, each in its colour and with its count, most first."""
    counts = Counter(found.labels.tolist()).most_common()
    sheet = Image.new("RGB", (width, 36), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    x = 8
    for shown, (label, count) in enumerate(counts):
        line = fonts.Line(f"{printable(found.classes[label], 40)} {count:,}", 16)
        if x + line.width + 220 > width:
            more = fonts.Line(f"and {len(counts) - shown} more classes", 16)
            more.draw(draw, x, 6, (30, 30, 30))
            break
        draw.rectangle((x, 8, x + 16, 24), fill=drawing.class_color(label), outline=(0, 0, 0))
        line.draw(draw, x + 22, 6, (30, 30, 30))
        x += line.width + 44
    return np.asarray(sheet)
