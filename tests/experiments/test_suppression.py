"""The flags of suppression, which detect, evaluate, train and the exports share."""

import pytest
from absl.testing import flagsaver

from ssd_keras.boxes import Suppression
from ssd_keras.commands import _suppression
from ssd_keras.errors import UserError

OWN = dict.fromkeys(_suppression.SETTINGS)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"max_detections": 9, "class_agnostic": True},
        {"class_agnostic": False, "iou_threshold": 0.5, "score_threshold": 0.0},
    ],
)
def test_what_is_not_said_is_the_detectors(given):
    with flagsaver.flagsaver(**given):
        assert _suppression.suppression() == OWN | given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score_threshold": 1.0}, "score_threshold must be in 0..1, got 1"),
        ({"iou_threshold": -0.1}, "iou_threshold must be in 0..1, got -0.1"),
        ({"max_detections": 0}, "max_detections must be at least 1"),
    ],
)
def test_values_that_make_no_sense_are_refused(given, message):
    with flagsaver.flagsaver(**given), pytest.raises(UserError, match=message):
        _suppression.suppression()


@pytest.mark.parametrize(
    ("own", "given", "score"),
    [(0.01, None, 0.4), (0.5, None, 0.5), (0.5, 0.2, 0.2), (0.01, 0.0, 0.0)],
)
def test_pictures_show_what_is_likely_unless_told_otherwise(own, given, score):
    rule = Suppression(score_threshold=own, iou_threshold=0.6, max_detections=7)
    chosen = _suppression.for_pictures(rule, OWN | {"score_threshold": given})
    assert chosen == rule.replace(score_threshold=score)
