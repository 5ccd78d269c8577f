"""The report of an evaluation: one HTML page with everything inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ssd_keras import display, drawing, figures, sheets
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.evaluation import page
from ssd_keras.evaluation.analysis import most_confused
from ssd_keras.evaluation.errors import KINDS, MEANING
from ssd_keras.evaluation.measuring import Evaluation
from ssd_keras.evaluation.metrics import DEFINITIONS
from ssd_keras.evaluation.text import below

_PICTURE_SIZE = (400, 552)  # two stand side by side on a page of 1116 pixels


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
    return page.whole(title, subtitle, sections)


def _head_numbers(metrics: dict) -> str:
    tiles = [
        ("mAP@0.5", metrics["voc"]["ap50"], "VOC, all points"),
        ("AP", metrics["coco"]["AP"], "COCO, IoU 0.50:0.95"),
        ("AP small", metrics["coco"]["APs"], "below 32 x 32 px"),
        ("AP medium", metrics["coco"]["APm"], "to 96 x 96 px"),
        ("AP large", metrics["coco"]["APl"], "above"),
    ]
    cells = "".join(page.tile(*tile) for tile in tiles)
    counts = (
        f"{metrics['images']:,} images, {metrics['objects']:,} objects that count, "
        f"{metrics['detections']:,} detections"
    )
    notes = ""
    if not metrics["objects"]:
        notes = "<p class='note'>There is no ground truth here, so nothing can be measured.</p>"
    elif not metrics["detections"]:
        notes = "<p class='note'>The detector found nothing at all, so every number is 0.</p>"
    notes += _unread_note(metrics)
    return f'<div class="tiles">{cells}</div><p class="quiet">{counts}</p>{notes}'


def _unread_note(metrics: dict, most: int = 20) -> str:
    unread = metrics["unread"]
    if not unread:
        return ""
    names = display.first_names([page.name(name) for name in unread], most)
    return (
        f"<p class='note'>{len(unread)} of {len(unread) + metrics['images']} images could not be "
        f"read and are left out of every number, with their objects: {names}.</p>"
    )


def _error_section(evaluation: Evaluation) -> str:
    errors, at = evaluation.errors, evaluation.metrics["errors"]["counts_at_best_f1"]
    rows = [
        [
            f"<b>{name}</b>",
            f"{errors.counts[name]:,}",
            f"{at[name]:,}",
            page.number(errors.cost[name]),
            page.number(errors.alone[name]),
        ]
        for name in KINDS
    ]
    whole = sum(errors.cost.values())
    rows.append(["<b>all of them</b>", "", "", f"<b>{page.number(whole)}</b>", ""])
    table = page.table(["error", "all", "from best-F1 score up", "cost in mAP", "alone"], rows)
    text = (
        "Cost: what mAP gains when the kinds are put right one after the other, from top to "
        "bottom; together they are the way from the mAP above to 1. Alone: the gain if only this "
        "kind were put right; these don't add up. Errors with a low score are many and cost "
        "little: &ldquo;all&rdquo; counts them all, &ldquo;from best-F1 score up&rdquo; "
        "counts those that remain at the score thresholds given below "
        "(for &ldquo;missed&rdquo;: all objects not found there). "
        + " ".join(f"<b>{n.capitalize()}</b>: {MEANING[n]}." for n in KINDS)
    )
    costs = figures.error_costs(errors.cost, errors.alone)
    figure = page.figure(costs, "cost of each kind of error")
    both = f'<div class="figures">{page.scroll(table)}<div>{figure}</div></div>'
    return page.section("Errors", both, text)


def _class_section(evaluation: Evaluation, classes: Sequence[str]) -> str:
    columns = ("voc_ap50", "coco_AP", "threshold", "best_f1", "precision", "recall")
    rows = []
    for name in classes:
        row = evaluation.metrics["per_class"][name]
        cells = [page.name(name), f"{row['objects']:,}", page.bar(row["voc_ap50"])]
        numbers = {**row, "threshold": below(row["threshold"])}
        rows.append(cells + [page.number(numbers[column]) for column in columns[1:]])
    head = ["class", "objects", "AP@0.5", "AP", "best score threshold", "F1", "precision", "recall"]
    text = (
        "F1, precision and recall are those at the score threshold that gives the class its best "
        "F1 (IoU 0.5). A dash: the class has no ground truth, or no detection hit. Click a column "
        "to sort by it."
    )
    return page.section("Classes", page.scroll(page.table(head, rows, sortable=True)), text)


def _curve_section(evaluation: Evaluation) -> str:
    drawn = [
        page.figure(figures.precision_recall(evaluation.curves), "precision over recall"),
        page.figure(
            figures.score_thresholds(evaluation.threshold_curves), "over the score threshold"
        ),
    ]
    return page.section("Curves", f'<div class="figures">{"".join(drawn)}</div>')


def _recall_section(evaluation: Evaluation) -> str:
    drawn = [
        page.figure(
            figures.recall_bars(evaluation.by_size, "By size of the object (root of its area)"),
            "recall by size",
        )
    ]
    if evaluation.by_level:
        figure = figures.recall_bars(evaluation.by_level, "By level of the best default box")
        drawn.append(page.figure(figure, "recall by level"))
    text = (
        "The share of objects that some detection hits: all detections, and only those from the "
        "best-F1 score threshold of their class up."
    )
    return page.section("Recall", f'<div class="figures">{"".join(drawn)}</div>', text)


def _confusion_section(evaluation: Evaluation, classes: Sequence[str]) -> str:
    matrix = evaluation.confusion
    between = matrix[:-1, :-1] * ~np.eye(len(classes), dtype=bool)
    pairs = np.argwhere(between > 0)
    pairs = sorted(pairs.tolist(), key=lambda pair: -between[pair[0], pair[1]])[:10]
    rows = [[page.name(classes[i]), page.name(classes[j]), f"{between[i, j]:,}"] for i, j in pairs]
    top = (
        page.scroll(page.table(["object", "found as", "times"], rows))
        if rows
        else "<p>No object was taken for one of another class.</p>"
    )
    shown, names = most_confused(matrix, classes)
    picture = page.figure(figures.confusion(shown, names), "confusion matrix")
    text = (
        f"Of {len(classes):,} classes the {len(names) - 1} with most mistakes. "
        if len(names) != len(classes)
        else ""
    ) + (
        "Detections from the best-F1 score threshold up, IoU 0.5. Row: what the object is; column: "
        "what it was found as; a row is darker where more of its objects went."
    )
    # Few classes shrink to the page; many would become too small to read and are scrolled.
    kind = "scroll natural" if len(classes) > 12 else "scroll"
    return page.section("Confusion", f'{top}<div class="{kind}">{picture}</div>', text)


def _worst_section(evaluation, ground_truth, detections, classes, image) -> str:
    if not evaluation.worst:
        return page.section(
            "Worst images", "<p>No image has an error at the best-F1 thresholds.</p>"
        )
    parts = []
    for row in evaluation.worst:
        i = row["index"]
        caption = (
            f"<b>{page.name(row['image_id'])}</b>: {row['missed']} missed, "
            f"{row['false']} false, {row['hits']} right"
        )
        pictures = ""
        if image is not None:
            try:
                shown = _above_thresholds(detections[i], evaluation.thresholds)
                pictures = _pair(image(i), ground_truth[i], shown, classes)
            except UserError as error:
                caption += f"<br>{page.text(error)}"
        parts.append(f'<figure class="pair"><div>{pictures}</div><figcaption>{caption}'
                     "</figcaption></figure>")  # fmt: skip
    text = "Most errors first, at the best-F1 thresholds. First the ground truth, then what was "
    text += "found. Objects in grey don't count."
    return page.section("Worst images", "".join(parts), text)


def _above_thresholds(found: Detections, thresholds: np.ndarray) -> Detections:
    """The detections from the score threshold of their class up."""
    keep = found.scores >= thresholds[found.labels]
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep], found.classes)


def _pair(pixels: np.ndarray, truth, found, classes) -> str:
    """The ground truth and what was found, side by side."""
    pixels = sheets.fit(pixels, _PICTURE_SIZE[0], max_width=_PICTURE_SIZE[1])
    left = drawing.draw_truth(pixels, truth, classes)
    right = drawing.draw_boxes(pixels, found.boxes, found.labels, classes, found.scores)
    return page.jpeg(left, "ground truth") + page.jpeg(right, "found")


def _definition_section(metrics: dict) -> str:
    rows = []
    for key, meaning in DEFINITIONS.items():
        group, name = key.split(".")
        rows.append(
            [f"<code>{key}</code>", page.number(metrics[group][name], 4), page.text(meaning)]
        )
    return page.section(
        "Every number and what it means", page.scroll(page.table(["", "", "meaning"], rows))
    )
