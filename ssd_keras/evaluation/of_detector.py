"""Measuring a detector on a data source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssd_keras.data import verdict
from ssd_keras.data.source import Source, unread_notice
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
        about: what was measured, see `describe`.
    """

    source: Source
    detections: Sequence[Detections | None]
    title: str
    about: Mapping

    def __str__(self) -> str:
        left = self.about["left_out"]
        lines = [super().__str__(), left and f"\nNot measured on: {left}."]
        return "\n".join(filter(None, [*lines, unread_notice(self.source)]))

    __repr__ = __str__

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
            about=self.about,
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
    left_out = check_measurable(source)
    found = detect_source(detector, source, batch_size, **suppression)
    truth, levels = source.ground_truth(), levels_of(detector)
    measured = measure(truth, found, source.classes, **levels, worst=worst)
    title = f"Evaluation of {detector.name}"
    of = describe(source, detector, suppression, left_out)
    return DetectorEvaluation(
        **vars(measured), source=source, detections=found, title=title, about=of
    )


def describe(
    source: Source, detector=None, rule: Mapping | None = None, left_out: str = ""
) -> dict:
    """What a measurement is one of, ready for JSON.

    Args:
        source: the data.
        detector: the detector; None where detections came from a file.
        rule: values in the place of the detector's own rule of suppression; None: its own.
        left_out: what of the data is not measured on, from `check_measurable`.

    Returns:
        `data`, `left_out`, `detector` (its name, or None), `suppression` (values by their names)
        and `tiling` (None for whole images).
    """
    given = {name: value for name, value in (rule or {}).items() if value is not None}
    tiling = getattr(detector, "tiling", None)
    if detector is not None:
        given = detector.suppression.replace(**given).as_dict()
    return {
        "data": source.spec,
        "left_out": left_out,
        "detector": None if detector is None else detector.name,
        "suppression": given,
        "tiling": None if tiling is None else tiling.as_dict(),
    }


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
