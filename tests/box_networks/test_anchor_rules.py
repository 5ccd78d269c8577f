"""Rules that lay default boxes on maps."""

import json

import numpy as np
import pytest

from ssd_keras import boxes
from ssd_keras.box_networks import ListedAnchors, ScaleAnchors
from ssd_keras.box_networks.anchor_rules import rule_config, rule_from_config

SIZES = (((0.1, 0.2), (0.3, 0.3)), ((0.5, 0.4),))


def test_listed_boxes_stand_in_the_middle_of_even_cells():
    levels = ListedAnchors(SIZES).levels([(2, 2), (1, 1)], (100, 200))
    found = boxes.default_boxes(levels)
    assert len(found) == 2 * 2 * 2 + 1
    np.testing.assert_allclose(found[0], [0.2, 0.15, 0.3, 0.35], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.1, 0.1, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(found[-1], [0.25, 0.3, 0.75, 0.7], atol=1e-6)


def test_listed_steps_and_starts_are_pixels():
    rule = ListedAnchors(SIZES, steps=(40.0, 100.0), starts=(10.0, 50.0))
    found = boxes.default_boxes(rule.levels([(2, 2), (1, 1)], (100, 200)))
    centers = (found[:, :2] + found[:, 2:]) / 2
    np.testing.assert_allclose(centers[0], [0.1, 0.05], atol=1e-6)
    np.testing.assert_allclose(centers[-2], [0.5, 0.25], atol=1e-6)


def test_another_number_of_levels_is_refused():
    with pytest.raises(ValueError, match="listed for 2 levels, but there are 3"):
        ListedAnchors(SIZES).levels([(4, 4), (2, 2), (1, 1)], (100, 100))


def test_finer_levels_halve_the_boxes_and_leave_the_other_levels_alone():
    maps, size = [(38, 38), (19, 19), (10, 10), (5, 5)], (300, 300)
    usual = ScaleAnchors(smallest=0.12).levels(maps[1:], size)
    finer, *others = ScaleAnchors(smallest=0.12, finer_levels=1).levels(maps, size)
    assert tuple(others) == usual
    np.testing.assert_allclose(
        finer.sizes, [(0.06, 0.06), (0.1 * 0.5**0.5, 0.1 * 2**0.5), (0.1 * 2**0.5, 0.1 * 0.5**0.5)]
    )
    np.testing.assert_allclose((*finer.step, *finer.start), [1 / 38, 1 / 38, 0.5 / 38, 0.5 / 38])


@pytest.mark.parametrize(
    "rule",
    [
        ScaleAnchors(smallest=0.07),
        ScaleAnchors(finer_levels=1),
        ListedAnchors(SIZES, steps=(8.0, 16.0)),
    ],
)
def test_a_rule_comes_back_from_plain_values(rule):
    again = rule_from_config(json.loads(json.dumps(rule_config(rule))))
    maps = [(2, 2), (1, 1)]
    np.testing.assert_array_equal(
        boxes.default_boxes(again.levels(maps, (100, 100))),
        boxes.default_boxes(rule.levels(maps, (100, 100))),
    )
