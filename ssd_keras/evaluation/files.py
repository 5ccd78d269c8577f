"""The files that an evaluation leaves: report.html, metrics.json, detections.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ssd_keras.boxes.tiles import Tiling
from ssd_keras.errors import UserError, one_line
from ssd_keras.evaluation.measuring import Evaluation, json_ready
from ssd_keras.evaluation.report import report
from ssd_keras.evaluation.results import to_results, write_results
from ssd_keras.files import replace, write_text

REPORT, METRICS, DETECTIONS = "report.html", "metrics.json", "detections.json"


def write_evaluation(
    out: str | Path,
    evaluation: Evaluation,
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    title: str,
    about: Mapping | None = None,
    image: Callable[[int], np.ndarray] | None = None,
    category_ids: Mapping[int, int] | None = None,
) -> dict[str, Path]:
    """Writes report, metrics and detections into the folder `out`, which is made if needed.

    Args:
        out: the folder.
        evaluation: from `measure`.
        ground_truth, detections, classes: what it was made from.
        title, image: see `report`.
        about: what was measured, see `of_detector.describe`; under that name in metrics.json.
        category_ids: see `to_results`.

    Returns:
        file name to path.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    out = Path(out)
    paths = {name: out / name for name in (REPORT, METRICS, DETECTIONS)}
    subtitle = "" if about is None else in_words(about)
    page = report(
        evaluation, ground_truth, detections, classes, title=title, subtitle=subtitle, image=image
    )
    numbers = evaluation.metrics | ({} if about is None else {"about": about})
    metrics = json.dumps(json_ready(numbers), indent=2, allow_nan=False)
    write_text(paths[REPORT], page)
    write_text(paths[METRICS], metrics + "\n")
    results = to_results(ground_truth, detections, category_ids)
    replace(paths[DETECTIONS], lambda path: write_results(path, results))
    return paths


def in_words(about: Mapping) -> str:
    """What was measured, as one line of a report."""
    tiling, left = Tiling.of(about["tiling"]), about["left_out"]
    rule = ", ".join(f"{name} {value}" for name, value in about["suppression"].items())
    return (
        f"on {about['data']}"
        + (f", by {tiling}" if tiling else "")
        + (f"; {rule}" if rule else "")
        + (f". Not measured on: {left}." if left else "")
    )


def make_folder(out: str | Path) -> None:
    """Makes the folder `out` if needed, so that a fault shows before hours of detecting.

    Raises:
        UserError: it cannot be made or written.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder '{out}' cannot be made: {one_line(error)}.") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"The folder '{out}' cannot be written.")
