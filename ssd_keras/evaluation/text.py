"""Measured numbers as text for a terminal."""

from __future__ import annotations

import math

from ssd_keras import display
from ssd_keras.display import column
from ssd_keras.evaluation.metrics import DEFINITIONS

SHOWN_CLASSES = 25


def numbers(metrics: dict) -> str:
    """Every number with its definition, and what the errors cost."""
    lines = []
    for key, meaning in DEFINITIONS.items():
        group, name = key.split(".")
        lines.append(f"{key:<18}{number(metrics[group][name])}  {meaning}")
    errors = metrics["errors"]
    lines.append(
        "\nErrors: how many, and their cost in mAP if put right in turn (1 - voc.ap50 in all)"
    )
    for name, cost in errors["cost"].items():
        lines.append(f"{name:<18}{number(cost)}  {errors['counts'][name]} in all")
    return "\n".join(lines)


def class_lines(metrics: dict, most: int = SHOWN_CLASSES) -> str:
    """A line for each class: AP and the score threshold of the best F1."""
    rows = metrics["per_class"]
    head, *cells = column(["class", *list(rows)[:most]])
    lines = ["", f"{head}  objects  AP@0.5    AP  best score threshold    F1"]
    for cell, row in zip(cells, rows.values(), strict=False):
        lines.append(
            f"{cell}  {row['objects']:>7}{number(row['voc_ap50']):>8}"
            f"{number(row['coco_AP']):>6}{number(below(row['threshold'])):>22}{number(row['best_f1']):>6}"
        )
    if len(rows) > most:
        lines.append(f"... {len(rows) - most} more classes in the report")
    return "\n".join(lines)


def below(score: float) -> float:
    """The largest number of three digits that scores from this one up are higher than."""
    return (math.ceil(score * 1000) - 1) / 1000 if math.isfinite(score) else score


def number(value: float) -> str:
    """Three digits, or a dash for what cannot be measured."""
    return display.number(value, 3, "    -")
