"""The table of the named models: what they cost, as it was measured for this release."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ssd_keras.complexity import count_macs
from ssd_keras.detector import Detector

MODEL_TABLE = Path(__file__).with_name("models.csv")
TABLE_CLASSES = 20


class ModelList(tuple):
    """The names of the models; printed, or shown in a notebook, the table of their numbers.

    Attributes:
        rows: a dict for each model, see `table_row`.
    """

    def __new__(cls, rows: list[dict[str, str]]):
        names = super().__new__(cls, [row["name"] for row in rows])
        names.rows = rows
        return names

    def __repr__(self) -> str:
        head = (
            f"Models, with the numbers of {TABLE_CLASSES} classes:\n"
            f"{'name':<36} {'parameters':>12} {'GMACs':>8} {'default boxes':>14}  maps"
        )
        return "\n".join([head, *map(_line, self.rows)])

    __str__ = __repr__


def _line(row: dict[str, str]) -> str:
    return (
        f"{row['name']:<36} {int(row['parameters']):>12,} {int(row['macs']) / 1e9:>8.2f} "
        f"{int(row['default_boxes']):>14,}  {row['maps']}"
    )


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
