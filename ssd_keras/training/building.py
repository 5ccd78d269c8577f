"""The detector of a run, before training."""

from __future__ import annotations

from ssd_keras import zoo
from ssd_keras.detector import Detector
from ssd_keras.training.settings import RunSettings


def build(settings: RunSettings, classes: tuple[str, ...]) -> Detector:
    """The detector that the settings name, with its weights of the start."""
    weights = settings.backbone_weights
    detector = zoo.create(
        settings.model,
        classes,
        backbone_weights=None if weights in ("none", "") else weights,
        backbone=settings.backbone,
        weights=settings.weights or None,
        width=settings.width,
        box_scale=settings.box_scale or None,
        smallest_box=settings.smallest_box,
        finest_stride=settings.finest_stride,
        resize=settings.resize or None,
        **_objective(settings),
        **settings.model_options,
    )
    detector.suppression = detector.suppression.replace(**settings.suppression)
    detector.tiling = settings.tiling
    return detector


def _objective(settings: RunSettings) -> dict:
    """What is said of the objective, as options of the box network."""
    given = {"objective": settings.objective or None, "min_negatives": settings.min_negatives}
    return {name: value for name, value in given.items() if value is not None}
