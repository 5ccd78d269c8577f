"""The table of the named models: what they cost, as it was measured for this release."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ssd_keras.complexity import count_macs
from ssd_keras.detector import Detector
from ssd_keras.display import number
from ssd_keras.weights.catalogue import list_weights

MODEL_TABLE = Path(__file__).with_name("models.csv")
TABLE_CLASSES = 20


# Columns that take an idle machine to measure, by `tests.benchmarks.tflite_models --write_table`.
MEASURED = ("int8_bytes", "int8_ms", "int8_noise")
# Up to how many GMACs, and what that is for.
GROUPS = ((1.0, "up to 1 GMAC: phones and boards"), (5.0, "1 to 5 GMACs: fast phones"),
          (math.inf, "more: desktops and servers"))  # fmt: skip
LEGEND = f"""\
{TABLE_CLASSES} classes. int8 MB, ms: the finished .tflite, one image on one thread, measured on one
x86-64 machine: compare them with each other. noise: what int8 does to raw outputs, as a multiple of
what noise of 2 grey levels in the image does (random weights); above 1 look at export-report before
you ship int8, and with the cores ResNet50, ResNet50V15 and EfficientNetV2B0: in int8 these place
boxes worse (0.07 to 0.11 of AP in trained miniatures, where the others lose 0.01 at most).
COCO AP: of published weights (list_weights), as their authors measured."""


class ModelList(tuple):
    """The names of the models; printed, or shown in a notebook, the table of their numbers.

    Attributes:
        rows: a dict for each model, see `table_row` and `MEASURED`.
    """

    def __new__(cls, rows: list[dict[str, str]]):
        names = super().__new__(cls, [row["name"] for row in rows])
        names.rows = rows
        return names

    def __repr__(self) -> str:
        head = (
            f"{'name':<36} {'GMACs':>7} {'int8 MB':>8} {'ms':>6} {'noise':>6} {'COCO AP':>8} "
            f"{'parameters':>12} {'default boxes':>14}  maps"
        )
        lines = [head]
        for rows, title in group_by_arithmetic(self.rows):
            lines += ["", title, *map(_line, rows)]
        return "\n".join([*lines, "", LEGEND])

    __str__ = __repr__


def group_by_arithmetic(rows: list[dict[str, str]]) -> list[tuple[list[dict[str, str]], str]]:
    """The rows by what their arithmetic is for, the cheapest first, and each group's title."""
    cheapest = sorted(rows, key=lambda row: int(row["macs"]))
    found, lowest = [], 0.0
    for highest, title in GROUPS:
        found.append(([r for r in cheapest if lowest < int(r["macs"]) / 1e9 <= highest], title))
        lowest = highest
    return [(members, title) for members, title in found if members]


def cells(row: dict[str, str]) -> dict[str, str]:
    """What is shown of a row: GMACs, MB, milliseconds, noise, AP; "-" where it is not known."""
    size, ms, noise = (float(row[key]) if row.get(key) else None for key in MEASURED)
    return {
        "gmacs": f"{int(row['macs']) / 1e9:.2f}",
        "int8_mb": number(None if size is None else size / 1e6, 1),
        "int8_ms": number(ms, 1),
        "int8_noise": number(noise, 2),
        "ap": number(_published_ap(row["name"]), 1),
        "parameters": f"{int(row['parameters']):,}",
        "default_boxes": f"{int(row['default_boxes']):,}",
    }


def _line(row: dict[str, str]) -> str:
    of = cells(row)
    return (
        f"{row['name']:<36} {of['gmacs']:>7} {of['int8_mb']:>8} {of['int8_ms']:>6} "
        f"{of['int8_noise']:>6} {of['ap']:>8} {of['parameters']:>12} {of['default_boxes']:>14}  "
        f"{row['maps']}"
    )


def _published_ap(name: str) -> float | None:
    """The best COCO AP of published weights of exactly this model."""
    found = [
        float(weights.accuracy.removeprefix("AP "))
        for weights in list_weights().entries
        if weights.architecture == name and weights.accuracy.startswith("AP ")
    ]
    return max(found, default=None)


def list_models() -> ModelList:
    """The names of the models that have pinned numbers; printed, the table of these numbers."""
    return ModelList(model_table())


def model_table() -> list[dict[str, str]]:
    """`table_row` of every named model, as it was measured for this release."""
    with MODEL_TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_row(detector: Detector) -> dict[str, str]:
    """One row of the table of models.

    Returns:
        name, parameters, non_trainable, macs, default_boxes (YOLO: boxes) and maps (side of each
        level, finest first, or rows x columns), as text.
    """
    frozen = sum(math.prod(weight.shape) for weight in detector.non_trainable_weights)
    return {
        "name": detector.name,
        "parameters": str(detector.count_params()),
        "non_trainable": str(frozen),
        "macs": str(count_macs(detector)),
        "default_boxes": str(detector.output["boxes"].shape[1]),
        "maps": " ".join(_sides(*cells) for cells in detector.box_network.level_maps),
    }


def _sides(rows: int, columns: int) -> str:
    return str(rows) if rows == columns else f"{rows}x{columns}"
