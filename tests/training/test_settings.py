"""What a run folder remembers of the settings of its run."""

import dataclasses
import json

import pytest

from ssd_keras.boxes import Suppression
from ssd_keras.errors import UserError
from ssd_keras.training import RunSettings
from ssd_keras.training.building import build


def test_settings_are_stored_as_json_gives_them_back():
    settings = RunSettings("SSD_MobileNet_96", "shapes#train", freeze=("backbone",))
    stored = settings.as_stored()
    assert json.loads(json.dumps(stored)) == stored
    assert (stored["model"], stored["freeze"]) == ("SSD_MobileNet_96", ["backbone"])
    assert stored["recipe"]["batch_size"] == settings.recipe.batch_size


def test_runs_of_before_losses_could_be_accepted_go_on():
    assert "accept_losses" not in RunSettings("SSD_MobileNet_96", "shapes#train").as_stored()
    knowingly = RunSettings("SSD_MobileNet_96", "shapes#train", accept_losses=True)
    assert knowingly.as_stored()["accept_losses"] is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objective", "atss"),
        ("min_negatives", 3),
        ("scale_jitter", 0.5),
        ("mirror", False),
        ("weak_end", 0.1),
        ("balance_classes", True),
        ("default_boxes", "auto"),
    ],
)
def test_runs_of_before_a_setting_was_one_go_on(name, value):
    assert name not in RunSettings("SSD_MobileNet_96", "shapes#train").as_stored()
    given = RunSettings("SSD_MobileNet_96", "shapes#train", **{name: value})
    assert given.as_stored()[name] == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "atts"}, "atss"),
        ({"scale_jitter": 1.0}, "scale_jitter must be from 0 to below 1"),
        ({"weak_end": -0.1}, "weak_end must be from 0 to below 1"),
        ({"seed": -5}, "seed must not be negative"),
        ({"seed": 2**33}, "seed must be below 4,294,967,296"),
        ({"min_negatives": -3}, "min_negatives must not be negative"),
        ({"model_options": {"width": 0.5}}, "'width' is no option of the box network"),
        ({"model_options": {"objective": "focal"}}, "give objective, not model_options"),
    ],
)
def test_settings_of_learning_that_make_no_sense_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        RunSettings("SSD_MobileNet_96", "shapes#train", **given)


def test_the_detector_of_a_run_learns_what_its_settings_say():
    settings = RunSettings(
        "SSD_MobileNet_96", "", width=0.25, objective="multibox_giou", min_negatives=5
    )
    objective = build(settings, ("cat", "dog")).box_network.objective
    assert (objective.box_loss, objective.min_negatives) == ("giou", 5)


def test_the_detector_of_a_run_suppresses_as_its_settings_say():
    settings = RunSettings("SSD_MobileNet_96", "", width=0.25, iou_threshold=0.6, max_detections=9)
    expected = Suppression(iou_threshold=0.6, max_detections=9)
    assert build(settings, ("cat", "dog")).suppression == expected


@pytest.mark.parametrize("value", [{"score_threshold": 1.5}, {"max_detections": 0}])
def test_suppression_that_makes_no_sense_is_refused(value):
    with pytest.raises(UserError, match=next(iter(value))):
        RunSettings("SSD_MobileNet_96", "shapes#train", **value)


def test_the_detector_of_a_run_resizes_as_its_settings_say():
    usual = RunSettings("SSD_MobileNet_96", "", width=0.25)
    assert "resize" not in usual.as_stored()
    assert build(usual, ("cat",)).resize == "half_pixel"
    chosen = dataclasses.replace(usual, resize="letterbox")
    assert chosen.as_stored()["resize"] == "letterbox"
    assert build(chosen, ("cat",)).resize == "letterbox"
    with pytest.raises(UserError, match="no way of resizing 'fit'"):
        build(dataclasses.replace(usual, resize="fit"), ("cat",))
