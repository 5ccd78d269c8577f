"""Measuring a detector on a data source."""

from __future__ import annotations

from ssd_keras.data import verdict
from ssd_keras.data.source import Source
from ssd_keras.data.specs import load_source
from ssd_keras.display import listed
from ssd_keras.errors import UserError
from ssd_keras.evaluation.detecting import detect_source
from ssd_keras.evaluation.measuring import Evaluation, measure


def measure_detector(
    detector, source: Source, batch_size: int = 16, *, worst: int = 12, **suppression
) -> Evaluation:
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
    anchors = getattr(detector.box_network, "level_anchors", ())
    truth = source.ground_truth()
    return measure(truth, found, source.classes, level_anchors=anchors, worst=worst)


def check_measurable(source: Source) -> str:
    """What of the data is not measured on, as one line; "" if nothing is lost.

    Raises:
        UserError: nothing is left, or nothing that the classes of the detector cover.
    """
    left = verdict.judge(source)
    if not left.kept and "unknown_class" in left.lost:
        theirs, ours = listed(load_source(source.spec).classes, 5), listed(source.classes, 5)
        raise UserError(
            f"No object of '{source.spec}' is of a class that the detector knows: the data have "
            f"{theirs}; the detector {ours}."
        )
    if not left.kept:
        raise UserError(f"'{source.spec}' has nothing to measure on: {left.why()}")
    return left.losses()
