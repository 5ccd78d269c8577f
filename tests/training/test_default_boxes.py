"""Default boxes are chosen by the objects that they meet, the same way each time."""

import json
import types

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import RunSettings, default_boxes
from ssd_keras.training.default_boxes import Fit, boxes_of_start, choose, fit_default_boxes


def fit(stride, smallest, met, macs):
    return Fit(stride, smallest, met, macs)


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        # The published ones are left only for what is worth it.
        ([fit(None, None, 0.90, 1), fit(8, None, 0.94, 2)], (None, None)),
        ([fit(None, None, 0.90, 1), fit(8, None, 0.96, 2)], (8, None)),
        ([fit(None, None, 0.90, 1), fit(None, 0.05, 0.91, 1)], (None, None)),
        ([fit(None, None, 0.90, 1), fit(None, 0.05, 0.93, 1), fit(None, 0.07, 0.935, 1)],
         (None, 0.07)),
        # A finer map with its own boxes against cheap boxes that meet nearly as many.
        ([fit(None, None, 0.5, 1), fit(None, 0.05, 0.9, 1), fit(8, None, 0.93, 2)], (None, 0.05)),
        ([fit(8, None, 0.99, 2), fit(None, None, 0.5, 1)], (8, None)),
        ([fit(None, None, 0.0, 1), fit(8, None, 0.0, 2)], (None, None)),
    ],
)  # fmt: skip
def test_what_is_chosen(fits, expected):
    best = choose(fits)
    assert (best.finest_stride, best.smallest_box) == expected


def source_of(side, count=40):
    """One image of squares of this side, as shares of the image."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0.05, 0.9 - side, (count, 2))
    boxes = np.concatenate([low, low + side], 1).astype(np.float32)
    truth = types.SimpleNamespace(
        boxes=boxes,
        height=96,
        width=96,
        labels=np.zeros(count, int),
        is_object=np.ones(count, bool),
    )
    return types.SimpleNamespace(ground_truth=lambda: [truth], classes=["a"], spec="drawn")


def test_small_objects_get_a_finer_map_and_large_ones_keep_the_models_own():
    settings = RunSettings("SSD_MobileNet_128", "drawn", width=0.25)
    small, tried = fit_default_boxes(settings, source_of(0.06))
    assert small.finest_stride == 8
    published = next(one for one in tried if (one.finest_stride, one.smallest_box) == (None, None))
    assert tried[0].met > published.met + 0.1
    assert tried[0].met == max(one.met for one in tried)
    assert "GMACs" in str(tried[0])
    assert fit_default_boxes(settings, source_of(0.06))[0] == small
    large, _ = fit_default_boxes(settings, source_of(0.3))
    assert large.finest_stride is None


def test_a_pyramid_keeps_its_maps_and_gets_boxes_of_the_objects_size():
    settings = RunSettings("PANLite_MobileNetV2_128", "drawn", width=0.25)
    small, tried = fit_default_boxes(settings, source_of(0.1))
    assert small.finest_stride is None
    assert small.smallest_box == pytest.approx(0.1, abs=0.01)
    published = next(one for one in tried if one.smallest_box is None)
    # Its own smallest box is a quarter of the image, the objects are a tenth.
    assert published.met == 0.0
    assert tried[0].met > 0.5


@pytest.mark.slow
def test_what_is_given_stays():
    settings = RunSettings(
        "SSD_MobileNet_96", "drawn", width=0.25, finest_stride=16, smallest_box=0.2
    )
    assert fit_default_boxes(settings, source_of(0.06))[0] == settings


@pytest.mark.parametrize(
    ("given", "source", "message"),
    [
        ({"weights": "runs/coco"}, source_of(0.1), "--weights brings its own"),
        ({}, source_of(0.1, count=0), "'drawn' has no object"),
    ],
)
def test_where_nothing_can_be_chosen_it_says_so(given, source, message):
    settings = RunSettings("SSD_MobileNet_96", "drawn", width=0.25, **given)
    with pytest.raises(UserError, match=message):
        fit_default_boxes(settings, source)


@pytest.mark.parametrize(("size", "side"), [((300, 300), 0.1), ((192, 320), 0.129)])
def test_sides_are_shares_of_the_shorter_side(size, side):
    """Of objects of a tenth of the height and of the width."""
    objects = np.float32([[0.2, 0.2, 0.3, 0.3]] * 4)
    assert default_boxes._sides(objects, size) == [side]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"objective": "atss"}, {"smallest_box": 0.04}),
        ({"objective": "atss", "smallest_box": 0.1}, {}),
        ({"default_boxes": "published"}, "other default boxes than the published ones"),
        ({"default_boxes": "published", "objective": "atss"}, "smallest_box=0.04"),
    ],
)
def test_default_boxes_of_the_run_that_is_started_from(tmp_path, given, expected):
    settings = RunSettings("SSD_MobileNet_96", "drawn", smallest_box=0.04)
    (tmp_path / "settings.json").write_text(json.dumps(settings.as_stored()))
    given = {"weights": str(tmp_path), **given}
    if isinstance(expected, dict):
        assert boxes_of_start("SSD_MobileNet_96", given) == expected
    else:
        with pytest.raises(UserError, match=expected):
            boxes_of_start("SSD_MobileNet_96", given)
