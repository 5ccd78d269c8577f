"""The files that an evaluation leaves: report.html, metrics.json, detections.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.evaluation.report import Evaluation, json_ready, report
from ssd_keras.evaluation.results import to_results, write_results

REPORT, METRICS, DETECTIONS = "report.html", "metrics.json", "detections.json"


def write_evaluation(
    out: str | Path,
    evaluation: Evaluation,
    ground_truth: Sequence,
    detections: Sequence,
    classes: Sequence[str],
    *,
    title: str,
    subtitle: str = "",
    image: Callable[[int], np.ndarray] | None = None,
    category_ids: Mapping[int, int] | None = None,
) -> dict[str, Path]:
    """Writes report, metrics and detections into the folder `out`, which is made if needed.

    Args:
        out: the folder.
        evaluation: from `measure`.
        ground_truth, detections, classes: what it was made from.
        title, subtitle, image: see `report`.
        category_ids: see `to_results`.

    Returns:
        file name to path.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    out = Path(out)
    paths = {name: out / name for name in (REPORT, METRICS, DETECTIONS)}
    page = report(
        evaluation, ground_truth, detections, classes, title=title, subtitle=subtitle, image=image
    )
    metrics = json.dumps(json_ready(evaluation.metrics), indent=2, allow_nan=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths[REPORT].write_text(page, encoding="utf-8")
        paths[METRICS].write_text(metrics + "\n", encoding="utf-8")
        write_results(paths[DETECTIONS], to_results(ground_truth, detections, category_ids))
    except OSError as error:
        raise UserError(
            f"'{error.filename or out}' cannot be written: {error.strerror}."
        ) from error
    return paths
