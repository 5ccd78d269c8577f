"""Every picture: boxes on images, ground truth beside predictions, curves, default boxes, features.

Functions return an RGB array `[H, W, 3]` uint8 (drawn with Pillow, fast) or a matplotlib `Figure`
(never pyplot, so nothing is shown, kept open or shared); `save` writes either.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito, "Color Universal Design" (2008): colours that people with any kind of colour vision
# tell apart; violet in the place of black, because boxes have a black rim.
_PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0),
    (204, 121, 167), (240, 228, 66), (30, 120, 200), (140, 80, 200),
)  # fmt: skip
_SMALLEST_TEXT = 8
_BACKGROUND = 255


def class_color(label: int) -> tuple[int, int, int]:
    """The RGB colour of a class, the same in every picture.

    The first eight are the palette of Okabe and Ito. Further ones go round the hues by the golden
    angle and alternate in lightness, because lightness is what every eye tells apart.
    """
    if label < len(_PALETTE):
        return _PALETTE[label]
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

    Lines and letters grow with the image. A name stands above its box, else wherever there is
    room for it: never past the border, and not on another name where that can be helped. An image
    too small for letters gets boxes alone. Boxes with a higher score lie on top.

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
    picture = Image.fromarray(_uint8(image))
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    labels = np.asarray(labels, np.int64).reshape(-1)
    width, height = picture.size
    order = np.arange(len(labels)) if scores is None else np.argsort(-np.asarray(scores))
    order = [i for i in order if labels[i] >= 0 and np.isfinite(boxes[i]).all()]
    thickness = max(1 if min(width, height) < 100 else 2, round(min(width, height) / 200))
    font = _font(max(_SMALLEST_TEXT + 3, round(min(width, height) / 30)))
    draw = ImageDraw.Draw(picture)
    places, taken = [], []
    for i in order:
        corners = _corners(boxes[i], width, height)
        color = class_color(labels[i]) if colors is None else tuple(colors[i])
        text = _caption(i, labels, classes, scores) if captions is None else captions[i]
        label = _place(text, corners, thickness, font, (width, height), taken) if text else None
        if label is not None:
            taken.append(label[0])
        places.append((corners, color, label))
    for corners, color, _ in reversed(places):
        _frame(draw, corners, color, thickness)
    for _, color, label in reversed(places):
        if label is not None:
            _write(draw, label, color)
    return np.asarray(picture)


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
    captions = [classes[i] + r if i >= 0 else "" for i, r in zip(labels, remarks, strict=True)]
    colors = [
        (150, 150, 150) if r else class_color(max(i, 0))
        for i, r in zip(labels, remarks, strict=True)
    ]
    return draw_boxes(image, truth.boxes, labels, classes, colors=colors, captions=captions)


def fit(image: np.ndarray, height: int, *, max_width: int) -> np.ndarray:
    """The image scaled to `height` pixels, or to less if it were wider than `max_width`."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, max_width / columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(_uint8(image)).resize(size, method))


def legible(image: np.ndarray, side: int = 240) -> np.ndarray:
    """A small image enlarged by a whole factor, so that names can be written on it."""
    rows, columns = image.shape[:2]
    factor = max(1, min(-(-side // min(rows, columns)), 4 * side // max(rows, columns)))
    return _uint8(image).repeat(factor, 0).repeat(factor, 1)


def grid(
    columns: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = (), *, gap: int = 8
) -> np.ndarray:
    """Pictures laid out in columns on white, a title over each column."""
    rows = max((len(column) for column in columns), default=0)
    heights = [max(c[r].shape[0] for c in columns if r < len(c)) for r in range(rows)]
    font = _font(16)
    widths = [
        max([p.shape[1] for p in column] + [_extent(t, font)[0]])
        for column, t in zip(columns, titles or [""] * len(columns), strict=True)
    ]
    top = (30 if titles else 0) + gap
    size = (sum(widths) + gap * (len(widths) + 1), top + sum(h + gap for h in heights))
    sheet = Image.new("RGB", size, (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(sheet)
    x = gap
    for i, column in enumerate(columns):
        if titles:
            draw.text((x, gap), titles[i], font=font, fill=(30, 30, 30))
        y = top
        for picture, row in zip(column, heights, strict=False):
            sheet.paste(Image.fromarray(picture), (x, y))
            y += row + gap
        x += widths[i] + gap
    return np.asarray(sheet)


def training_curves(rows: Sequence[Mapping]) -> Figure:
    """Losses, measures and learning rate over the epochs of a run.

    Args:
        rows: one mapping per epoch, `epoch` (else the row's number) and any named numbers. Names
            with "loss" share the first panel, with "rate" (or `lr`) the last, and the rest, such
            as average precisions, the one between. Missing numbers leave a gap.
    """
    series = _series(rows)
    panels = {"Loss": {}, "On the evaluation data": {}, "Learning rate": {}}
    for name, points in series.items():
        kind = (
            "Loss" if "loss" in name
            else "Learning rate" if "rate" in name or name == "lr"
            else "On the evaluation data"
        )  # fmt: skip
        panels[kind][name] = points
    panels = {title: lines for title, lines in panels.items() if lines} or {"No epoch yet": {}}
    figure = _figure(4.6 * len(panels), 3.6)
    for axes, (title, lines) in zip(_row(figure, len(panels)), panels.items(), strict=True):
        for i, (name, (x, y)) in enumerate(lines.items()):
            marker = "o" if len(x) < 30 else None
            axes.plot(x, y, color=_rgb(i), marker=marker, markersize=3, label=name)
        axes.set(title=title, xlabel="epoch")
        if title == "Loss" and lines:
            low = min(np.nanmin(y) for _, y in lines.values())
            high = max(np.nanpercentile(y, 98) for _, y in lines.values())
            if np.isfinite(high) and high > 0:
                axes.set_ylim(min(0, low), 1.1 * high)
        elif title == "Learning rate":
            axes.set_ylim(bottom=0)
        if lines:
            axes.legend(fontsize=8)
    return figure


def compared_curves(histories: Mapping[str, Sequence[Sequence[Mapping]]]) -> Figure:
    """Training loss and average precision of several models, a colour each, a line each run.

    Args:
        histories: name of a model to the histories of its runs, rows of `step`, `loss` and, where
            it was measured, `ap50`.
    """
    figure = _figure(9.6, 3.9)
    panels = (("loss", "Training loss"), ("ap50", "mAP@0.5 on the evaluation data"))
    steps = [row["step"] for runs in histories.values() for rows in runs for row in rows]
    for axes, (key, title) in zip(_row(figure, 2), panels, strict=True):
        top = []
        for i, (name, runs) in enumerate(histories.items()):
            for j, rows in enumerate(runs):
                points = [(row["step"], row[key]) for row in rows if key in row]
                if points:
                    x, y = zip(*points, strict=True)
                    top.append(np.percentile(y, 90))
                    marker = "o" if len(x) < 30 else None
                    axes.plot(x, y, color=_rgb(i), marker=marker, markersize=3, linewidth=1.3)
                if not j and key == "loss":
                    axes.plot([], [], color=_rgb(i), label=name)
        # The same in both panels, where a single evaluation would have an axis of its own.
        axes.set(title=title, xlabel="step", xlim=(0, 1.05 * max(steps)))
        if top:
            axes.set_ylim(0, 1.15 * max([*top, 1e-3]))
    figure.legend(fontsize=8, loc="outside lower center", ncols=min(3, len(histories)))
    return figure


def precision_recall(curves: Mapping[str, Mapping], *, highlight: int = 8) -> Figure:
    """Precision over recall, a line per class and their mean.

    Args:
        curves: class name to `recall` and `precision`, as `evaluation.voc_ap` returns them.
        highlight: with more classes than this, only the mean has a colour and the rest are grey.
    """
    figure = _figure(5.2, 4.2)
    axes = _row(figure, 1)[0]
    points = np.linspace(0, 1, 101)
    means = []
    many = len(curves) > highlight
    for i, (name, line) in enumerate(curves.items()):
        recall = np.concatenate([[0], line["recall"]])
        precision = np.concatenate([line["precision"][:1], line["precision"]])
        if len(line["recall"]):
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(recall, points)
            means.append(np.append(envelope, 0)[np.minimum(at, len(envelope))])
            color, weight = ((0.75,) * 3, 0.7) if many else (_rgb(i), 1.3)
            axes.plot(recall, precision, color=color, linewidth=weight, label=_once(name, many))
        else:
            means.append(np.zeros_like(points))
    if len(means) > 1:
        label = f"mean of {len(means)} classes"
        axes.plot(points, np.mean(means, 0), color="black", linewidth=2, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
    axes.set_title("Precision and recall, IoU 0.5")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="lower left")
    return figure


def score_thresholds(curves: Mapping[str, np.ndarray]) -> Figure:
    """Precision, recall and F1 over the score threshold.

    Args:
        curves: `threshold`, `precision`, `recall`, `f1`, as `evaluation.threshold_curves` returns.
    """
    figure = _figure(5.2, 4.2)
    axes = _row(figure, 1)[0]
    for i, name in enumerate(("precision", "recall", "f1")):
        label = "F1" if name == "f1" else name
        axes.plot(curves["threshold"], curves[name], color=_rgb((2, 6, 3)[i]), label=label)
    if np.isfinite(curves["f1"]).any() and np.nanmax(curves["f1"]) > 0:
        best = int(np.nanargmax(curves["f1"]))
        at = curves["threshold"][best]
        axes.axvline(at, color="0.4", linewidth=1, linestyle=":", label=f"best F1 at {at:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="score threshold")
    axes.set_title("All classes over the score threshold")
    axes.legend(fontsize=8)
    return figure


def error_costs(cost: Mapping[str, float], alone: Mapping[str, float]) -> Figure:
    """What each kind of error costs in mAP: in sequence (adds up), and alone."""
    figure = _figure(5.2, 3.2)
    axes = _row(figure, 1)[0]
    y = np.arange(len(cost))
    axes.barh(y - 0.2, np.nan_to_num(list(cost.values())), 0.38, color=_rgb(3), label="in turn")
    axes.barh(y + 0.2, np.nan_to_num(list(alone.values())), 0.38, color="0.75", label="alone")
    axes.set_yticks(y, list(cost))
    axes.invert_yaxis()
    axes.set(xlim=(0, max(0.05, 1.1 * np.nanmax([*cost.values(), *alone.values(), 0]))))
    axes.set(xlabel="mAP gained by putting it right", title="What the errors cost")
    axes.legend(fontsize=8)
    return figure


def recall_bars(groups: Mapping[str, Sequence[Mapping]], title: str) -> Figure:
    """Recall in groups of objects, such as sizes or levels of default boxes.

    Args:
        groups: name of a series to its rows of `name`, `objects`, `recall`
            (`evaluation.recall_by_size`); all series have the same rows.
        title: of the figure.
    """
    names = [f"{row['name']}\n{row['objects']} objects" for row in next(iter(groups.values()))]
    figure = _figure(5.2, 0.9 + 0.5 * len(names))
    axes = _row(figure, 1)[0]
    thick = 0.8 / len(groups)
    for i, (label, rows) in enumerate(groups.items()):
        values = np.array([row["recall"] for row in rows], float)
        y = np.arange(len(rows)) + (i - (len(groups) - 1) / 2) * thick
        bars = axes.barh(y, np.nan_to_num(values), 0.92 * thick, color=_rgb((6, 1)[i % 2]))
        bars.set_label(label)
        texts = ["" if np.isnan(v) else f"{v:.2f}" for v in values]
        axes.bar_label(bars, texts, padding=2, fontsize=7)
    axes.set_yticks(np.arange(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.08), xlabel="recall, IoU 0.5", title=title)
    figure.legend(fontsize=8, loc="outside lower right", ncols=len(groups))
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """The confusion matrix as a picture; each row is shaded by its shares.

    Args:
        matrix: int `[C + 1, C + 1]`, from `evaluation.confusion_matrix`.
        classes: class names.
    """
    count = len(matrix)
    side = max(4.2, min(1.6 + 0.55 * count, 1.6 + 0.2 * max(count, 22)))
    figure = _figure(side, side)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    # The root, because the confusions, which one looks for, are small shares of a row.
    shades = np.sqrt(shares)
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    small = 9 if count <= 12 else 7
    names = [_short(name) for name in classes]
    axes.set_xticks(range(count), [*names, "(missed)"], rotation=90, fontsize=small)
    axes.set_yticks(range(count), [*names, "(background)"], fontsize=small)
    axes.set(xlabel="found as", ylabel="object")
    for row, column in np.argwhere(matrix > 0):
        if count <= 40 or matrix[row, column] > 1 or row == column:
            color = "white" if shades[row, column] > 0.6 else "0.15"
            size = small if count <= 40 else 5
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    return figure


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
    picture = Image.fromarray(_uint8(image))
    draw = ImageDraw.Draw(picture)
    height, width = np.asarray(image).shape[:2]
    thin = max(1, round(min(width, height) / 500))
    for anchor in np.flatnonzero(matched >= 0):
        y0, x0, y1, x1 = np.asarray(anchors[anchor]) * (height, width, height, width)
        color = class_color(int(matched[anchor]))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=color, width=thin)
    counts = np.bincount(matched[matched >= 0], minlength=len(boxes))
    captions = [f"{classes[k]}: {n}" if k >= 0 else "" for k, n in zip(labels, counts, strict=True)]
    colors = [class_color(i) for i in range(len(boxes))]
    return draw_boxes(picture, boxes, labels, classes, colors=colors, captions=captions)


def coverage(sides: np.ndarray, overlaps: np.ndarray, levels: np.ndarray) -> Figure:
    """How well the default boxes cover the objects of a data set.

    Args:
        sides: `[G]`, root of each object's area as a fraction of the image.
        overlaps: `[G]`, IoU with its best default box.
        levels: int `[G]`, the level of that box (`evaluation.best_default_boxes` gives both).
    """
    sides, overlaps, levels = (np.asarray(a) for a in (sides, overlaps, levels))
    figure = _figure(6.2, 4.2)
    axes = _row(figure, 1)[0]
    for level in np.unique(levels):
        of = levels == level
        label = f"level {level + 1}: {of.sum()} objects"
        color = _rgb(int(level))
        axes.scatter(sides[of], overlaps[of], s=9, alpha=0.6, lw=0, color=color, label=label)
    axes.axhline(0.5, color="0.3", linewidth=1, linestyle="--")
    share = f"{(overlaps >= 0.5).mean():.0%} of {len(overlaps)}" if len(overlaps) else "no"
    axes.set_title(f"Default boxes reach IoU 0.5 with {share} objects")
    axes.set(ylim=(0, 1), ylabel="IoU with the best default box")
    axes.set_xlabel("side of the object / side of the image")
    if len(sides):
        axes.set_xscale("log")
        ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if t > sides.min() / 2]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.legend(fontsize=8, markerscale=2)
    return figure


def feature_pyramids(
    pyramids: Mapping[str, Sequence[np.ndarray]], image: np.ndarray | None = None
) -> Figure:
    """Feature maps of one or more models, a row each, finest level first.

    Args:
        pyramids: name, such as "SSD" and "DSSD", to its maps `[H, W, C]` of one image. Shown is
            the mean absolute value over the channels, each map scaled to its own greatest.
        image: `[H, W, 3]`, 0..255, shown in front.
    """
    columns = max(len(maps) for maps in pyramids.values()) + (image is not None)
    figure = _figure(1.9 * columns, 2.2 * len(pyramids))
    grid_axes = figure.subplots(len(pyramids), columns, squeeze=False)
    for row, (name, maps) in zip(grid_axes, pyramids.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        cells = list(row)
        if image is not None:
            cells[0].imshow(_uint8(image), aspect="auto")
            cells[0].set_title(name, fontsize=10, weight="bold")
            cells = cells[1:]
        for i, (axes, level) in enumerate(zip(cells, maps, strict=False)):
            strength = np.abs(np.asarray(level, np.float32)).mean(-1)
            axes.imshow(strength, cmap="viridis", aspect="auto", vmin=0)
            size = "x".join(str(n) for n in strength.shape)
            title = size if image is not None or i else f"{name}  {size}"
            axes.set_title(title, fontsize=9)
    return figure


def save(picture: np.ndarray | Figure, path: str | Path) -> Path:
    """Writes a picture, array or Figure, in the format that the file's name says."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Figure):
        picture.savefig(path)
    else:
        quality = {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg") else {}
        Image.fromarray(_uint8(picture)).save(path, **quality)
    return path


def _uint8(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"A picture is [height, width, 3] in RGB, got the shape {image.shape}.")
    if image.dtype != np.uint8:
        image = np.clip(np.nan_to_num(np.rint(image)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings DejaVu Sans along: Latin, Greek and Cyrillic names without a system font.
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def _extent(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    return int(np.ceil(font.getlength(text))), sum(font.getmetrics())


def _caption(i: int, labels: np.ndarray, classes: Sequence[str], scores) -> str:
    return classes[labels[i]] + ("" if scores is None else f" {scores[i]:.2f}")


def _corners(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The box as `x0, y0, x1, y1`, inclusive pixels inside the picture."""
    y0, x0, y1, x1 = np.clip(box, 0, 1) * (height, width, height, width)
    x0, y0 = min(int(x0), width - 1), min(int(y0), height - 1)
    return x0, y0, min(max(x0, round(x1) - 1), width - 1), min(max(y0, round(y1) - 1), height - 1)


def _place(text: str, corners, thickness: int, font, size, taken):
    """Where a name goes: `((x0, y0, x1, y1), text, font)`, or None if the picture is too small."""
    width, height = size
    pad = max(1, font.size // 6)
    w, h = _extent(text, font)
    if w + 2 * pad > width or h > height:
        smaller = int(font.size * min((width - 2 * pad) / w, height / h))
        if smaller < _SMALLEST_TEXT:
            return None
        font = _font(smaller)
        w, h = _extent(text, font)
        pad = max(0, min(pad, (width - w) // 2))
    w, h = min(w + 2 * pad, width), min(h, height)
    x0, y0, x1, y1 = corners
    right = x1 - w + 1
    spots = [(x0, y0 - h), (x0, y0), (x0, y1 + 1), (x0, y1 - h + 1)]
    spots += [(right, y0 - h), (right, y0), (right, y1 + 1), (right, y1 - h + 1)]
    best, least = None, None
    for rank, (x, y) in enumerate(spots):
        inside = min(max(x, 0), width - w), min(max(y, 0), height - h)
        moved = abs(inside[1] - y)
        area = (*inside, inside[0] + w - 1, inside[1] + h - 1)
        cost = sum(_shared(area, other) for other in taken) / (w * h) + moved / h + rank / 1000
        if least is None or cost < least:
            best, least = area, cost
    return best, text, font


def _shared(a, b) -> int:
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(w, 0) * max(h, 0)


def _frame(draw: ImageDraw.ImageDraw, corners, color, thickness: int) -> None:
    x0, y0, x1, y1 = corners
    # A dark line round the coloured one keeps it visible on a ground of its own colour.
    if thickness > 1 and min(x1 - x0, y1 - y0) > 6 * thickness:
        edge = max(1, thickness // 3)
        draw.rectangle((x0 - edge, y0 - edge, x1 + edge, y1 + edge), outline=(0, 0, 0), width=edge)
    inner = max(1, min(thickness, (min(x1 - x0, y1 - y0) + 1) // 3))
    draw.rectangle((x0, y0, x1, y1), outline=color, width=inner)


def _write(draw: ImageDraw.ImageDraw, label, color) -> None:
    area, text, font = label
    draw.rectangle(area, fill=color)
    # Of black and white, the letters that contrast more with the ground (WCAG 2 luminance).
    linear = (np.array(color) / 255) ** 2.2
    light = linear @ (0.2126, 0.7152, 0.0722) > 0.179
    middle = (area[0] + area[2] + 1) / 2
    draw.text(
        (middle, (area[1] + area[3] + 1) / 2),
        text,
        font=font,
        anchor="mm",
        fill=(0, 0, 0) if light else (255, 255, 255),
    )


def _series(rows: Sequence[Mapping]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name to epochs and values, for every number that some row has."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "epoch"))
    series = {}
    for name in names:
        points = [
            (float(row.get("epoch", i + 1)), float(row[name]))
            for i, row in enumerate(rows)
            if isinstance(row.get(name), int | float | np.number) and np.isfinite(row[name])
        ]
        if points:
            series[name] = tuple(np.array(points).T)
    return series


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _row(figure: Figure, count: int) -> list:
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for a in axes:
        a.grid(alpha=0.3)
        a.spines[["top", "right"]].set_visible(False)
    return axes


def _rgb(i: int) -> tuple[float, ...]:
    # Yellow is fine under black letters but not as a thin line on white.
    colors = [c for c in _PALETTE if c != (240, 228, 66)]
    return tuple(c / 255 for c in (colors[i] if i < len(colors) else class_color(i + 1)))


def _once(name: str, many: bool) -> str | None:
    return None if many else _short(name)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
