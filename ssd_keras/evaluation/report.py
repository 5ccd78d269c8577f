"""The report of an evaluation: one HTML page with everything inside."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from ssd_keras import plots
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.evaluation import analysis
from ssd_keras.evaluation.errors import KINDS, MEANING, Errors, table_errors
from ssd_keras.evaluation.metrics import DEFINITIONS, evaluate_table
from ssd_keras.evaluation.tables import Table, tabulate
from ssd_keras.evaluation.voc import table_ap

_PICTURE_SIZE = (400, 552)  # two stand side by side on a page of 1116 pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was measured in one evaluation.

    Attributes:
        metrics: as `evaluation.evaluate`, and under `per_class` also the working point
            (`threshold`, `best_f1`, `precision`, `recall`), and under `errors` the counts and
            costs; ready for JSON but for nan.
        errors: the error analysis.
        curves: precision and recall of each class.
        threshold_curves: precision, recall and F1 over the score threshold.
        thresholds: float64 `[C]`, the score threshold of each class used below.
        confusion: int `[C + 1, C + 1]`.
        by_size, by_level: rows of recall, "all detections" and "at best F1"; `by_level` is empty
            without default boxes.
        worst: rows of the images with most errors.
    """

    metrics: dict
    errors: Errors
    curves: dict
    threshold_curves: dict
    thresholds: np.ndarray
    confusion: np.ndarray
    by_size: dict
    by_level: dict
    worst: list[dict]


def measure(
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    level_anchors: Sequence[np.ndarray] = (),
    worst: int = 12,
) -> Evaluation:
    """Measures everything that `report` shows.

    Args:
        ground_truth, detections, classes: as in `evaluation.evaluate`.
        level_anchors: normalised default boxes of each level, where there is a model.
        worst: how many of the worst images to name.
    """
    table = tabulate(ground_truth, detections, classes)
    points = analysis.working_points(table)
    limits = analysis.thresholds(table, points)
    errors = table_errors(table)
    found = {
        "all detections": analysis.objects_found(table),
        "at best F1": analysis.objects_found(table, limits),
    }
    by_size = {name: analysis.recall_by_size(table, f) for name, f in found.items()}
    by_level = {}
    if level_anchors:
        by_level = {n: analysis.recall_by_level(table, f, level_anchors) for n, f in found.items()}
    metrics = evaluate_table(table)
    for name, point in points.items():
        metrics["per_class"][name] |= {
            "threshold": point.threshold,
            "best_f1": point.f1,
            "precision": point.precision,
            "recall": point.recall,
        }
    metrics["errors"] = {
        "counts": errors.counts,
        "counts_at_best_f1": _counts_at(table, errors, limits),
        "cost": errors.cost,
        "alone": errors.alone,
    }
    metrics["recall_by_size"] = by_size
    if by_level:
        metrics["recall_by_level"] = by_level
    return Evaluation(
        metrics=metrics,
        errors=errors,
        curves=table_ap(table)["curves"],
        threshold_curves=analysis.threshold_curves(table),
        thresholds=limits,
        confusion=analysis.confusion_matrix(table, limits),
        by_size=by_size,
        by_level=by_level,
        worst=analysis.worst_images(table, limits, worst),
    )


def json_ready(value):
    """The same nested dictionaries and lists with None for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): json_ready(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def report(
    evaluation: Evaluation,
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    title: str,
    subtitle: str = "",
    image: Callable[[int], np.ndarray] | None = None,
) -> str:
    """An HTML page that needs nothing beside itself.

    Args:
        evaluation: from `measure`.
        ground_truth, detections, classes: what it was made from.
        title, subtitle: head of the page, as plain text.
        image: gives image `i` as `[H, W, 3]` 0..255, for the pictures of the worst images; None
            leaves them out.
    """
    sections = [
        _head_numbers(evaluation.metrics),
        _error_section(evaluation),
        _class_section(evaluation, classes),
        _curve_section(evaluation),
        _recall_section(evaluation),
        _confusion_section(evaluation, classes),
        _worst_section(evaluation, ground_truth, detections, classes, image),
        _definition_section(evaluation.metrics),
    ]
    return _PAGE.format(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        style=_STYLE,
        script=_SCRIPT,
        body="\n".join(sections),
    )


def _counts_at(table: Table, errors: Errors, limits: np.ndarray) -> dict[str, int]:
    """Errors that a user sees who shows detections from the best-F1 thresholds up."""
    keep = table.score >= limits[table.label]
    counts = {name: int(((errors.kind == i) & keep).sum()) for i, name in enumerate(KINDS)}
    found = analysis.objects_found(table, limits)
    counts["missed"] = int((~found & ~table.object_ignored).sum())
    return counts


def _head_numbers(metrics: dict) -> str:
    tiles = [
        ("mAP@0.5", metrics["voc"]["ap50"], "VOC, all points"),
        ("AP", metrics["coco"]["AP"], "COCO, IoU 0.50:0.95"),
        ("AP small", metrics["coco"]["APs"], "below 32 x 32 px"),
        ("AP medium", metrics["coco"]["APm"], "to 96 x 96 px"),
        ("AP large", metrics["coco"]["APl"], "above"),
    ]
    cells = "".join(
        f'<div class="tile"><span>{name}</span><b>{_number(value)}</b><small>{note}</small></div>'
        for name, value, note in tiles
    )
    counts = (
        f"{metrics['images']:,} images, {metrics['objects']:,} objects that count, "
        f"{metrics['detections']:,} detections"
    )
    notes = ""
    if not metrics["objects"]:
        notes = "<p class='note'>There is no ground truth here, so nothing can be measured.</p>"
    elif not metrics["detections"]:
        notes = "<p class='note'>The detector found nothing at all, so every number is 0.</p>"
    return f'<div class="tiles">{cells}</div><p class="quiet">{counts}</p>{notes}'


def _error_section(evaluation: Evaluation) -> str:
    errors, at = evaluation.errors, evaluation.metrics["errors"]["counts_at_best_f1"]
    rows = [
        [
            f"<b>{name}</b>",
            f"{errors.counts[name]:,}",
            f"{at[name]:,}",
            _number(errors.cost[name]),
            _number(errors.alone[name]),
        ]
        for name in KINDS
    ]
    whole = sum(errors.cost.values())
    rows.append(["<b>all of them</b>", "", "", f"<b>{_number(whole)}</b>", ""])
    table = _table(["error", "all", "from best-F1 score up", "cost in mAP", "alone"], rows)
    text = (
        "Cost: what mAP gains when the kinds are put right one after the other, from top to "
        "bottom; together they are the way from the mAP above to 1. Alone: the gain if only this "
        "kind were put right; these don't add up. Errors with a low score are many and cost "
        "little: &ldquo;all&rdquo; counts them all, &ldquo;from best-F1 score up&rdquo; "
        "counts those that remain at the score thresholds given below "
        "(for &ldquo;missed&rdquo;: all objects not found there). "
        + " ".join(f"<b>{n.capitalize()}</b>: {MEANING[n]}." for n in KINDS)
    )
    figure = _figure(plots.error_costs(errors.cost, errors.alone), "cost of each kind of error")
    both = f'<div class="figures">{_scroll(table)}<div>{figure}</div></div>'
    return _section("Errors", both, text)


def _class_section(evaluation: Evaluation, classes: Sequence[str]) -> str:
    columns = ("voc_ap50", "coco_AP", "threshold", "best_f1", "precision", "recall")
    rows = []
    for name in classes:
        row = evaluation.metrics["per_class"][name]
        cells = [html.escape(name), f"{row['objects']:,}", _bar(row["voc_ap50"])]
        rows.append(cells + [_number(row[column]) for column in columns[1:]])
    head = ["class", "objects", "AP@0.5", "AP", "best score threshold", "F1", "precision", "recall"]
    text = (
        "F1, precision and recall are those at the score threshold that gives the class its best "
        "F1 (IoU 0.5). A dash: the class has no ground truth, or no detection hit. Click a column "
        "to sort by it."
    )
    return _section("Classes", _scroll(_table(head, rows, sortable=True)), text)


def _curve_section(evaluation: Evaluation) -> str:
    figures = [
        _figure(plots.precision_recall(evaluation.curves), "precision over recall"),
        _figure(plots.score_thresholds(evaluation.threshold_curves), "over the score threshold"),
    ]
    return _section("Curves", f'<div class="figures">{"".join(figures)}</div>')


def _recall_section(evaluation: Evaluation) -> str:
    figures = [
        _figure(
            plots.recall_bars(evaluation.by_size, "By size of the object (root of its area)"),
            "recall by size",
        )
    ]
    if evaluation.by_level:
        figure = plots.recall_bars(evaluation.by_level, "By level of the best default box")
        figures.append(_figure(figure, "recall by level"))
    text = (
        "The share of objects that some detection hits: all detections, and only those from the "
        "best-F1 score threshold of their class up."
    )
    return _section("Recall", f'<div class="figures">{"".join(figures)}</div>', text)


def _confusion_section(evaluation: Evaluation, classes: Sequence[str]) -> str:
    matrix = evaluation.confusion
    between = matrix[:-1, :-1] * ~np.eye(len(classes), dtype=bool)
    pairs = np.argwhere(between > 0)
    pairs = sorted(pairs.tolist(), key=lambda pair: -between[pair[0], pair[1]])[:10]
    rows = [
        [html.escape(classes[i]), html.escape(classes[j]), f"{between[i, j]:,}"] for i, j in pairs
    ]
    top = (
        _scroll(_table(["object", "found as", "times"], rows))
        if rows
        else "<p>No object was taken for one of another class.</p>"
    )
    picture = _figure(plots.confusion(matrix, classes), "confusion matrix")
    text = (
        "Detections from the best-F1 score threshold up, IoU 0.5. Row: what the object is; column: "
        "what it was found as; a row is darker where more of its objects went."
    )
    # Few classes shrink to the page; many would become too small to read and are scrolled.
    kind = "scroll natural" if len(classes) > 12 else "scroll"
    return _section("Confusion", f'{top}<div class="{kind}">{picture}</div>', text)


def _worst_section(evaluation, ground_truth, detections, classes, image) -> str:
    if not evaluation.worst:
        return _section("Worst images", "<p>No image has an error at the best-F1 thresholds.</p>")
    parts = []
    for row in evaluation.worst:
        i = row["index"]
        caption = (
            f"<b>{html.escape(str(row['image_id']))}</b>: {row['missed']} missed, "
            f"{row['false']} false, {row['hits']} right"
        )
        pictures = ""
        if image is not None:
            try:
                shown = _shown(detections[i], evaluation.thresholds)
                pictures = _pair(image(i), ground_truth[i], shown, classes)
            except UserError as error:
                caption += f"<br>{html.escape(str(error))}"
        parts.append(f'<figure class="pair"><div>{pictures}</div><figcaption>{caption}'
                     "</figcaption></figure>")  # fmt: skip
    text = "Most errors first, at the best-F1 thresholds. First the ground truth, then what was "
    text += "found. Objects in grey don't count."
    return _section("Worst images", "".join(parts), text)


def _shown(found: Detections, thresholds: np.ndarray) -> Detections:
    """The detections from the score threshold of their class up."""
    keep = found.scores >= thresholds[found.labels]
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep], found.classes)


def _pair(pixels: np.ndarray, truth, found, classes) -> str:
    """The ground truth and what was found, side by side."""
    pixels = plots.fit(pixels, _PICTURE_SIZE[0], max_width=_PICTURE_SIZE[1])
    left = plots.draw_truth(pixels, truth, classes)
    right = plots.draw_boxes(pixels, found.boxes, found.labels, classes, found.scores)
    return _jpeg(left, "ground truth") + _jpeg(right, "found")


def _definition_section(metrics: dict) -> str:
    rows = []
    for key, meaning in DEFINITIONS.items():
        group, name = key.split(".")
        rows.append([f"<code>{key}</code>", _number(metrics[group][name], 4), html.escape(meaning)])
    return _section("Every number and what it means", _scroll(_table(["", "", "meaning"], rows)))


def _section(title: str, content: str, text: str = "") -> str:
    intro = f'<p class="quiet">{text}</p>' if text else ""
    return f"<section><h2>{title}</h2>{intro}{content}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], sortable: bool = False) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    kind = "sortable" if sortable else "words" if head[-1] == "meaning" else "plain"
    return f'<table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'


def _scroll(content: str) -> str:
    return f'<div class="scroll">{content}</div>'


def _number(value: float, digits: int = 3) -> str:
    return "&ndash;" if not math.isfinite(value) else f"{value:.{digits}f}"


def _bar(value: float) -> str:
    if not math.isfinite(value):
        return "&ndash;"
    return f'<span class="bar"><i style="width:{100 * value:.0f}%"></i></span>{value:.3f}'


def _figure(figure, alt: str) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    width = round(figure.get_size_inches()[0] * 96)
    return _image(data.getvalue(), "png", alt, width)


def _jpeg(pixels: np.ndarray, alt: str) -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=85)
    return _image(data.getvalue(), "jpeg", alt, pixels.shape[1])


def _image(data: bytes, kind: str, alt: str, width: int) -> str:
    code = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{code}" alt="{alt}" width="{width}">'


_STYLE = """
:root { color-scheme: light; --ink: #1d2530; --quiet: #5c6773; --line: #dde2e8; --blue: #1e78c8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(0.8rem, 3vw, 2rem) 3rem; max-width: 1180px;
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.4rem; padding-top: 0.9rem;
  border-top: 1px solid var(--line); }
p { margin: 0.4rem 0 0.8rem; max-width: 75ch; }
.quiet, small { color: var(--quiet); }
.quiet { font-size: 0.92rem; }
small { font-size: 0.82rem; }
.note { background: #fff4d6; border-left: 4px solid #e69f00; padding: 0.6rem 0.8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 0.7rem;
  margin: 1.2rem 0 0.6rem; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 0.8rem;
  display: flex; flex-direction: column; }
.tile b { font-size: 1.7rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 0.4rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 0.35rem 0 0.35rem 1.1rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { font-weight: 600; vertical-align: bottom; line-height: 1.25; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words th:last-child, .words td:last-child { text-align: left; min-width: 16rem; }
.sortable th { cursor: pointer; }
.sortable th:hover { color: var(--blue); }
.sortable td { white-space: nowrap; }
.bar { display: inline-block; width: 70px; height: 0.6rem; margin-right: 0.5rem;
  background: #edf1f5; border-radius: 3px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--blue); }
img { max-width: 100%; height: auto; display: block; }
.natural img { max-width: none; }
.figures { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.pair { margin: 1rem 0 1.4rem; }
.pair div { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.pair img { flex: 0 1 auto; }
@media (min-width: 720px) { .pair div { flex-wrap: nowrap; } .pair img { min-width: 0; } }
@media (max-width: 560px) {
  th, td { padding-left: 0.7rem; } table { font-size: 0.84rem; } .sortable .bar { width: 36px; }
  .sortable th:first-child, .sortable td:first-child { position: sticky; left: 0;
    background: #fff; white-space: normal; padding-right: 0.3rem; }
}
figcaption { font-size: 0.92rem; margin-top: 0.3rem; }
code { font-size: 0.92em; white-space: nowrap; }
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    let falling = column > 0;
    head.addEventListener("click", () => {
      const value = row => row.cells[column].textContent.replaceAll(",", "");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
        if (column === 0) return x.localeCompare(y);
        return (isNaN(p) ? -1 : p) - (isNaN(q) ? -1 : q);
      });
      if (falling) rows.reverse();
      falling = !falling;
      table.tBodies[0].append(...rows);
    });
  });
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
  script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="quiet">{subtitle}</p>
{body}
<script>{script}</script>
</body>
</html>
"""
