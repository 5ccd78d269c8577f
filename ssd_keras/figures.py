"""Curves and diagrams: matplotlib figures, never pyplot's, so that none is shown or kept open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np
from matplotlib.text import Text

from ssd_keras import fonts, sheets
from ssd_keras.display import named_size, printable
from ssd_keras.drawing import PALETTE, class_color
from ssd_keras.sheets import as_uint8


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
            axes.plot(x, y, color=_rgb(i), marker=marker, markersize=3, label=_in_legend(name))
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
                    axes.plot([], [], color=_rgb(i), label=_in_legend(name))
        # The same in both panels, where a single evaluation would have an axis of its own.
        axes.set(title=title, xlabel="step", xlim=(0, 1.05 * max(steps)))
        if top:
            axes.set_ylim(0, 1.15 * max([*top, 1e-3]))
    figure.legend(fontsize=8, loc="outside lower center", ncols=min(3, len(histories)))
    return figure


def accuracy_and_cost(rows: Sequence[Mapping]) -> Figure:
    """AP of several models against what they cost, a point each, with the spread of its seeds.

    Args:
        rows: one mapping per model, from `comparison.summarize`: `variant`, `ap` as (mean, lowest,
            highest), `gmacs` and `ms_int8`. What is None is left out.
    """
    figure = _figure(9.6, 3.9)
    panels = (("gmacs", "GMACs"), ("ms_int8", "milliseconds of the int8 file, one thread"))
    for axes, (key, title) in zip(_row(figure, 2), panels, strict=True):
        for i, row in enumerate(rows):
            known = row.get(key) is not None and row.get("ap") is not None
            mean, lowest, highest = row["ap"] if known else [np.nan] * 3
            axes.errorbar(
                [row[key] if known else np.nan],
                [mean],
                yerr=[[mean - lowest], [highest - mean]],
                color=_rgb(i),
                marker="o",
                markersize=5,
                capsize=4,
                label=_in_legend(row["variant"]) if key == "gmacs" else None,
            )
        axes.set(xlabel=title, ylabel="AP, mean and range of the seeds")
        axes.margins(0.1)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    if rows:
        figure.legend(fontsize=8, loc="outside lower center", ncols=min(4, len(rows)))
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
            label = None if many else _in_legend(name)
            axes.plot(recall, precision, color=color, linewidth=weight, label=label)
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
    names = [_label(name) for name in classes]
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
            cells[0].imshow(as_uint8(image), aspect="auto")
            cells[0].set_title(_label(name), fontsize=10, weight="bold")
            cells = cells[1:]
        for i, (axes, level) in enumerate(zip(cells, maps, strict=False)):
            strength = np.abs(np.asarray(level, np.float32)).mean(-1)
            axes.imshow(strength, cmap="viridis", aspect="auto", vmin=0)
            size = "x".join(str(n) for n in strength.shape)
            title = size if image is not None or i else f"{_label(name)}  {size}"
            axes.set_title(title, fontsize=9)
    return figure


def class_counts(summary, most: int = 40) -> Figure:
    """Bars of the objects of each class, of an `inspection.Summary`."""
    rows = sorted(summary.per_class, key=lambda row: row[1])[-most:]
    figure = _figure(7, 1.2 + 0.24 * len(rows))
    axes = figure.subplots()
    bars = axes.barh(range(len(rows)), [count for _, count, _ in rows])
    axes.set_yticks(range(len(rows)), [_label(name, 40) for name, _, _ in rows])
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_xlabel("objects")
    left = len(summary.per_class) - len(rows)
    axes.set_title("Objects of each class" + (f" ({left} rarer classes left out)" if left else ""))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def box_sizes(
    boxes: np.ndarray, anchors: np.ndarray | None = None, image_size: tuple[int, int] = (300, 300)
) -> Figure:
    """Width against height of objects and default boxes `[N, 4]`, in pixels of the input."""
    scale = np.asarray(image_size, np.float32)
    sides = (boxes[:, 2:] - boxes[:, :2]) * scale
    figure = _figure(6.2, 5.6)
    axes = figure.subplots()
    axes.scatter(sides[:, 1], sides[:, 0], s=8, alpha=0.35, linewidths=0, label="objects")
    if anchors is not None:
        kinds = np.unique(np.round((anchors[:, 2:] - anchors[:, :2]) * scale, 1), axis=0)
        axes.scatter(kinds[:, 1], kinds[:, 0], marker="+", s=70, c="tab:red", label="default boxes")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="width in pixels", ylabel="height in pixels", aspect="equal")
    axes.set_title(f"Box sizes at {named_size(image_size)}")
    axes.legend()
    axes.grid(alpha=0.25)
    return figure


def save(picture: np.ndarray | Figure, path: str | Path) -> Path:
    """Writes a figure or a picture `[H, W, 3]` in the format that the file's name says."""
    if not isinstance(picture, matplotlib.figure.Figure):
        return sheets.save(picture, path)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)
    return path


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


class Figure(matplotlib.figure.Figure):
    """A figure whose texts are drawn in fonts that have their signs, wherever it is drawn."""

    def draw(self, renderer):
        for axes in self.axes:
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_ticklabels()  # else they have no text yet
        texts = [text for text in self.findobj(Text) if not text.get_text().isascii()]
        for text in texts:
            text.set_fontfamily(fonts.families([text.get_text()]))
        super().draw(renderer)


def _row(figure: Figure, count: int) -> list:
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for a in axes:
        a.grid(alpha=0.3)
        a.spines[["top", "right"]].set_visible(False)
    return axes


def _rgb(i: int) -> tuple[float, ...]:
    # Yellow is fine under black letters but not as a thin line on white.
    colors = [c for c in PALETTE if c != (240, 228, 66)]
    return tuple(c / 255 for c in (colors[i] if i < len(colors) else class_color(i + 1)))


def _label(name: str, most: int = 22) -> str:
    """A name as text of a figure, where `$` would begin a formula."""
    return fonts.drawable(printable(name, most)).replace("$", r"\$")


def _in_legend(name: str) -> str:
    """The same for a legend, which leaves out names that begin with an underscore."""
    shown = _label(name)
    return f" {shown}" if shown.startswith("_") else shown
