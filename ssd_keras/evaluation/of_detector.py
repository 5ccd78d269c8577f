"""Measuring a detector on a data source."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ssd_keras.data import verdict
from ssd_keras.data.source import Source
from ssd_keras.data.specs import load_source
from ssd_keras.detections import Detections
from ssd_keras.display import join_names
from ssd_keras.errors import UserError
from ssd_keras.evaluation.detecting import detect_source
from ssd_keras.evaluation.files import make_folder, write_evaluation
from ssd_keras.evaluation.measuring import Evaluation, measure


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DetectorEvaluation(Evaluation):
    """What was measured of a detector, with what it was measured on.

    Attributes:
        source: the data.
        detections: those of each image; None for one that could not be read.
        title: heading of the report.
        how: what else is said of it; ", by tiles ...", or "".
    """

    source: Source
    detections: Sequence[Detections | None]
    title: str
    how: str = ""

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Writes report.html, metrics.json and detections.json; returns file name to path.

        Raises:
            UserError: the folder or a file cannot be written.
        """
        make_folder(folder)
        return write_evaluation(
            folder,
            self,
            self.source.ground_truth(),
            self.detections,
            self.source.classes,
            title=self.title,
            subtitle=f"on {self.source.spec}{self.how}",
            image=self.source.image,
            category_ids=self.source.category_ids,
        )


def measure_detector(
    detector, source: Source, batch_size: int = 16, *, worst: int = 12, **suppression
) -> DetectorEvaluation:
    """Detects in all images of a source and measures what was found.

    Args:
        detector: a `Detector`.
        source: a data source with the detector's classes.
        batch_size: images per step.
        worst: how many of the worst images to name.
        **suppression: values instead of the detector's own.

    Raises:
        UserError: no object to measure on, or no image that can be read.
    """
    check_measurable(source)
    found = detect_source(detector, source, batch_size, **suppression)
    truth, levels = source.ground_truth(), levels_of(detector)
    measured = measure(truth, found, source.classes, **levels, worst=worst)
    title = f"Evaluation of {detector.name}"
    return DetectorEvaluation(
        **vars(measured), source=source, detections=found, title=title, how=by_tiles(detector)
    )


def by_tiles(detector) -> str:
    """What a report says of a detector that looks at tiles: ", by ..."; else nothing."""
    tiling = getattr(detector, "tiling", None)
    return "" if tiling is None else f", by {tiling}"


def levels_of(detector) -> dict:
    """What `measure` takes of a detector's levels; nothing of one that looks at tiles.

    On tiles its objects have other sizes than in the image, and other levels fit them.
    """
    anchors = getattr(detector.box_network, "level_anchors", ())
    if not anchors or getattr(detector, "tiling", None) is not None:
        return {}
    return {
        "level_anchors": anchors,
        "image_size": detector.image_size,
        "resize": detector.resize,
    }


def check_measurable(source: Source) -> str:
    """What of the data is not measured on, as one line; "" if nothing is lost.

    Raises:
        UserError: nothing is left, or nothing that the classes of the detector cover.
    """
    left = verdict.judge(source)
    if not left.kept and "unknown_class" in left.lost:
        theirs, ours = (
            join_names(load_source(source.spec).classes, 5),
            join_names(source.classes, 5),
        )
        raise UserError(
            f"No object of '{source.spec}' is of a class that the detector knows: the data have "
            f"{theirs}; the detector {ours}."
        )
    if not left.kept:
        raise UserError(f"'{source.spec}' has nothing to measure on: {left.why()}")
    return left.losses()
