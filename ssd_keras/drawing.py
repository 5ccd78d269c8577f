"""Boxes on pictures: RGB arrays `[H, W, 3]` uint8, drawn with Pillow.

Names are drawn in whatever script they are, see `fonts`, and never do anything but be shown, see
`display.printable`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras.display import printable
from ssd_keras.fonts import Line
from ssd_keras.sheets import as_uint8, fit, grid

# Okabe and Ito, "Color Universal Design" (2008): colours that people with any kind of colour vision
# tell apart; violet in the place of black, because boxes have a black rim.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0),
    (204, 121, 167), (240, 228, 66), (30, 120, 200), (140, 80, 200),
)  # fmt: skip
_SMALLEST_TEXT = 8
_LONGEST_NAME = 48
# Lines and letters are those of a picture of so many sides of the usual object at most: letters as
# high as two fifths of it.
_ROOM = 12


def class_color(label: int) -> tuple[int, int, int]:
    """The RGB colour of a class, the same in every picture.

    The first eight are the palette of Okabe and Ito. Further ones go round the hues by the golden
    angle and alternate in lightness, because lightness is what every eye tells apart.
    """
    if label < len(PALETTE):
        return PALETTE[label]
    hue = (label * 0.61803398875) % 1
    lightness = (0.62, 0.40, 0.78)[label % 3]
    return tuple(round(255 * c) for c in colorsys.hls_to_rgb(hue, lightness, 0.75))


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    scores: np.ndarray | None = None,
    *,
    colors: Sequence[tuple[int, int, int]] | None = None,
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws boxes with their names on a copy of an image.

    Lines and letters grow with the image, as far as its objects leave room for them. A name stands
    above its box, else wherever there is room for it: never past the border, and not on another
    name where that can be helped. An image too small for letters gets boxes alone. Boxes with a
    higher score lie on top.

    Args:
        image: `[H, W, 3]`, 0..255.
        boxes: `[N, 4]` normalised `[ymin, xmin, ymax, xmax]`.
        labels: `[N]`, indices into `classes`; rows with a negative label are padding and left out.
        classes: class names.
        scores: `[N]` or None.
        colors: an RGB colour for each box instead of that of its class.
        captions: a text for each box instead of its class and score.

    Returns:
        uint8 `[H, W, 3]`.
    """
    picture = Image.fromarray(as_uint8(image))
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    labels = np.asarray(labels, np.int64).reshape(-1)
    width, height = picture.size
    order = np.arange(len(labels)) if scores is None else np.argsort(-np.asarray(scores))
    order = [i for i in order if labels[i] >= 0 and np.isfinite(boxes[i]).all()]
    side = min(min(width, height), _ROOM * usual_side(boxes[order], (height, width)))
    thickness = max(1 if min(width, height) < 100 else 2, round(side / 200))
    size = max(_SMALLEST_TEXT + 3, round(side / 30))
    draw = ImageDraw.Draw(picture)
    framed, taken = [], []
    for i in order:
        corners = _corners(boxes[i], width, height)
        color = class_color(labels[i]) if colors is None else tuple(colors[i])
        text = _caption(i, labels, classes, scores) if captions is None else captions[i]
        label = _place(text, corners, size, (width, height), taken) if text else None
        if label is not None:
            taken.append(label[0])
        framed.append((corners, color, label))
    for corners, color, _ in reversed(framed):
        _frame(draw, corners, color, thickness)
    for _, color, label in reversed(framed):
        if label is not None:
            _write(draw, label, color)
    return np.asarray(picture)


def usual_side(boxes: np.ndarray, size: tuple[int, int]) -> float:
    """Median of the objects' sides in pixels of an image of (height, width); inf without objects.

    Args:
        boxes: `[N, 4]`, in shares of the image.
        size: of the image.
    """
    if not len(boxes):
        return float("inf")
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0, 1) * size
    return float(np.median(np.sqrt(sides.prod(1))))


def side_by_side(
    images: Sequence[np.ndarray],
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    score_threshold: float = 0.3,
    height: int = 320,
) -> np.ndarray:
    """One row per image: what is there on the left, what was found on the right.

    Args:
        images: arrays `[H, W, 3]` of any size.
        ground_truth: records with `boxes`, `labels` and, where there are any, `difficult` and
            `crowd`, which are drawn in grey and said so.
        detections: `Detections` of the same images.
        classes: class names.
        score_threshold: lower scores are not drawn.
        height: of each picture in pixels; the images are scaled to it.

    Returns:
        uint8 `[rows, columns, 3]`.
    """
    left, right = [], []
    for image, truth, found in zip(images, ground_truth, detections, strict=True):
        scaled = fit(image, height, max_width=2 * height)
        found = found.above(score_threshold)
        left.append(draw_truth(scaled, truth, classes))
        right.append(draw_boxes(scaled, found.boxes, found.labels, classes, found.scores))
    titles = ("Ground truth", f"Found (score {score_threshold:.2g} and up)")
    return grid([left, right], titles)


def draw_truth(image: np.ndarray, truth, classes: Sequence[str]) -> np.ndarray:
    """`draw_boxes` of a ground truth record; objects that don't count are grey and say why."""
    labels = np.asarray(truth.labels, np.int64)
    remarks = [""] * len(labels)
    for name in ("difficult", "crowd"):
        flags = getattr(truth, name, None)
        if flags is not None:
            remarks = [f" ({name})" if f else r for f, r in zip(flags, remarks, strict=True)]
    captions = [
        printable(classes[i], _LONGEST_NAME) + r if i >= 0 else ""
        for i, r in zip(labels, remarks, strict=True)
    ]
    colors = [
        (150, 150, 150) if r else class_color(max(i, 0))
        for i, r in zip(labels, remarks, strict=True)
    ]
    return draw_boxes(image, truth.boxes, labels, classes, colors=colors, captions=captions)


def matched_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    anchors: np.ndarray,
    matched: np.ndarray,
) -> np.ndarray:
    """The default boxes that learn each object, thin, under the object's own box.

    Args:
        image: `[H, W, 3]`, 0..255.
        boxes: `[N, 4]` normalised objects; labels: `[N]`.
        classes: class names.
        anchors: `[A, 4]` normalised default boxes.
        matched: int `[A]`, index of the object that each default box is matched to, or -1.

    Returns:
        uint8 `[H, W, 3]`.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    matched = np.asarray(matched)
    picture = Image.fromarray(as_uint8(image))
    draw = ImageDraw.Draw(picture)
    height, width = np.asarray(image).shape[:2]
    thin = max(1, round(min(width, height) / 500))
    for anchor in np.flatnonzero(matched >= 0):
        y0, x0, y1, x1 = np.asarray(anchors[anchor]) * (height, width, height, width)
        color = class_color(int(matched[anchor]))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=color, width=thin)
    counts = np.bincount(matched[matched >= 0], minlength=len(boxes))
    captions = [
        f"{printable(classes[k], _LONGEST_NAME)}: {n}" if k >= 0 else ""
        for k, n in zip(labels, counts, strict=True)
    ]
    colors = [class_color(i) for i in range(len(boxes))]
    return draw_boxes(picture, boxes, labels, classes, colors=colors, captions=captions)


def _caption(i: int, labels: np.ndarray, classes: Sequence[str], scores) -> str:
    name = printable(classes[labels[i]], _LONGEST_NAME)
    return name + ("" if scores is None else f" {scores[i]:.2f}")


def _corners(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The box as `x0, y0, x1, y1`, inclusive pixels inside the picture."""
    y0, x0, y1, x1 = np.clip(box, 0, 1) * (height, width, height, width)
    x0, y0 = min(int(x0), width - 1), min(int(y0), height - 1)
    return x0, y0, min(max(x0, round(x1) - 1), width - 1), min(max(y0, round(y1) - 1), height - 1)


def _place(text: str, corners, font_size: int, size, taken):
    """Where a name goes: `((x0, y0, x1, y1), line)`, or None if the picture is too small."""
    width, height = size
    pad = max(1, font_size // 6)
    line = Line(text, font_size)
    if line.width + 2 * pad > width or line.height > height:
        smaller = int(font_size * min((width - 2 * pad) / line.width, height / line.height))
        if smaller < _SMALLEST_TEXT:
            return None
        line = Line(text, smaller)
        pad = max(0, min(pad, (width - line.width) // 2))
    w, h = min(line.width + 2 * pad, width), min(line.height, height)
    x0, y0, x1, y1 = corners
    right = x1 - w + 1
    spots = [(x0, y0 - h), (x0, y0), (x0, y1 + 1), (x0, y1 - h + 1)]
    spots += [(right, y0 - h), (right, y0), (right, y1 + 1), (right, y1 - h + 1)]
    best, least, others = None, None, np.array(taken, np.int64).reshape(-1, 4)
    for rank, (x, y) in enumerate(spots):
        inside = min(max(x, 0), width - w), min(max(y, 0), height - h)
        moved = abs(inside[1] - y)
        area = (*inside, inside[0] + w - 1, inside[1] + h - 1)
        cost = _overlap(area, others) / (w * h) + moved / h + rank / 1000
        if least is None or cost < least:
            best, least = area, cost
    return best, line


def _overlap(area, others: np.ndarray) -> int:
    """Pixels that an area shares with others `[N, 4]`, all inclusive."""
    w = np.minimum(area[2], others[:, 2]) - np.maximum(area[0], others[:, 0]) + 1
    h = np.minimum(area[3], others[:, 3]) - np.maximum(area[1], others[:, 1]) + 1
    return int((w.clip(0) * h.clip(0)).sum())


def _frame(draw: ImageDraw.ImageDraw, corners, color, thickness: int) -> None:
    x0, y0, x1, y1 = corners
    # A dark line round the coloured one keeps it visible on a ground of its own colour.
    if thickness > 1 and min(x1 - x0, y1 - y0) > 6 * thickness:
        edge = max(1, thickness // 3)
        draw.rectangle((x0 - edge, y0 - edge, x1 + edge, y1 + edge), outline=(0, 0, 0), width=edge)
    inner = max(1, min(thickness, (min(x1 - x0, y1 - y0) + 1) // 3))
    draw.rectangle((x0, y0, x1, y1), outline=color, width=inner)


def _write(draw: ImageDraw.ImageDraw, label, color) -> None:
    area, line = label
    draw.rectangle(area, fill=color)
    # Of black and white, the letters that contrast more with the ground (WCAG 2 luminance).
    linear = (np.array(color) / 255) ** 2.2
    light = linear @ (0.2126, 0.7152, 0.0722) > 0.179
    x = (area[0] + area[2] + 1 - line.width) / 2
    y = (area[1] + area[3] + 1 - line.height) / 2
    line.draw(draw, x, y, (0, 0, 0) if light else (255, 255, 255))
