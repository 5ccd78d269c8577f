"""Rules that lay default boxes on maps."""

import json

import numpy as np
import pytest

from ssd_keras import boxes
from ssd_keras.box_networks import (
    ListedAnchors,
    MultiscaleAnchors,
    PercentAnchors,
    ScaleAnchors,
)
from ssd_keras.box_networks.anchor_rules import rule_config, rule_from_config
from ssd_keras.box_networks.extras import resnet_extras, vgg_extras
from ssd_keras.box_networks.published_anchors import Pyramid, resnet_anchors, vgg_anchors

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


# Image side, cells, first and second centre in pixels, sides of the first two boxes.
MULTISCALE = [
    (320, 40, (4, 12), (32, 32 * 2**0.5)),
    (320, 3, (0, 128), (512, 512 * 2**0.5)),
    (640, 5, (64, 192), (512, 512 * 2**0.5)),
    (300, 19, (0, 16), (64, 64 * 2**0.5)),
    # A convolution without padding left fewer cells.
    (500, 29, (500 / 58, 1500 / 58), (64, 64 * 2**0.5)),
]


@pytest.mark.parametrize(("side", "cells", "centres", "sides"), MULTISCALE)
def test_multiscale_boxes_follow_from_the_stride(side, cells, centres, sides):
    levels = MultiscaleAnchors().levels([(cells, cells)], (side, side))
    found = boxes.default_boxes(levels).astype("float64") * side
    found = found.reshape(cells, cells, 6, 4)
    middle = (found[..., :2] + found[..., 2:]) / 2
    np.testing.assert_allclose(middle[:2, 0, 0, 0], centres, atol=1e-3)
    np.testing.assert_allclose(middle[0, :2, 0, 1], centres, atol=1e-3)
    size = (found[..., 2:] - found[..., :2])[0, 0]
    first, second = sides
    root = 2**0.5
    wanted = [(s / r, s * r) for r in (1, root, 1 / root) for s in (first, second)]
    np.testing.assert_allclose(size, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"scales_per_octave": 0},
        {"scales_per_octave": 10**9},
        {"scale": float("inf")},
        {"ratios": (1.0, -2.0)},
        {"smallest": 0.0},
    ],
)
def test_multiscale_boxes_beyond_reason_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        MultiscaleAnchors(**values)


def test_multiscale_boxes_are_square_in_the_pixels_of_a_rectangle():
    (level,) = MultiscaleAnchors().levels([(24, 40)], (192, 320))
    assert level.sizes[0] == (32 / 192, 32 / 320)
    assert (level.step, level.start) == ((8 / 192, 8 / 320), (4 / 192, 4 / 320))


@pytest.mark.parametrize(
    ("size", "maps", "smallest", "scale"),
    [
        ((320, 320), [(40, 40), (20, 20)], 0.05, 2.0),
        ((192, 320), [(24, 40), (12, 20)], 0.1, 2.4),
        # As a share of the shorter side, at a stride of 16.
        ((100, 50), [(7, 4), (4, 2)], 0.64, 2.0),
    ],
)
def test_multiscale_boxes_grow_from_the_smallest(size, maps, smallest, scale):
    found = MultiscaleAnchors().with_smallest(smallest).levels(maps, size)
    wanted = MultiscaleAnchors(scale=scale).levels(maps, size)
    for level, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(level.sizes, other.sizes, rtol=1e-12)
    assert min(level.sizes[0][0] * size[0] for level in found) == pytest.approx(
        smallest * min(size)
    )


@pytest.mark.parametrize(
    "rule",
    [
        ScaleAnchors(smallest=0.07),
        ScaleAnchors(finer_levels=1),
        ListedAnchors(SIZES, steps=(8.0, 16.0)),
        MultiscaleAnchors(scale=3.0, ratios=(1.0, 3.0), scales_per_octave=3),
        MultiscaleAnchors(smallest=0.07),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_rule_comes_back_from_plain_values(rule):
    again = rule_from_config(json.loads(json.dumps(rule_config(rule))))
    maps = [(2, 2), (1, 1)]
    np.testing.assert_array_equal(
        boxes.default_boxes(again.levels(maps, (100, 100))),
        boxes.default_boxes(rule.levels(maps, (100, 100))),
    )


# === Rectangles ===

MAPS = [(20, 12), (10, 6), (5, 3)]
THIRD = (1.0, 2.0, 0.5, 3.0, 1 / 3)
RULES = [ScaleAnchors(ratios=THIRD), ScaleAnchors(ratios=THIRD, finer_levels=1), PercentAnchors()]


@pytest.mark.parametrize("rule", RULES)
def test_boxes_are_those_of_the_square_of_the_shorter_side_in_pixels(rule):
    square = rule.levels([(12, 12), (6, 6), (3, 3)], (192, 192))
    for mine, theirs in zip(rule.levels(MAPS, (320, 192)), square, strict=True):
        np.testing.assert_allclose(
            np.multiply(mine.sizes, (320, 192)), np.multiply(theirs.sizes, 192)
        )


@pytest.mark.parametrize("rule", RULES)
def test_a_picture_on_its_side_has_the_boxes_on_their_side(rule):
    upright = boxes.default_boxes(rule.levels(MAPS, (320, 192)))
    lying = boxes.default_boxes(rule.levels([size[::-1] for size in MAPS], (192, 320)))
    turned = lying[:, [1, 0, 3, 2]]
    assert {tuple(np.round(box, 4)) for box in turned} == {tuple(np.round(b, 4)) for b in upright}


@pytest.mark.parametrize(
    ("family", "extras_of", "starts", "last"),
    [
        (vgg_anchors, vgg_extras, (4.0, 8.0), (19, 11)),
        (resnet_anchors, resnet_extras, (2.5, 2.5), (20, 12)),
    ],
)
def test_centres_stand_in_the_middle_of_what_a_cell_sees(family, extras_of, starts, last):
    """Measured by hand: which cells of the map before each window covers."""
    extras, image = extras_of(min(last)), (last[0] * 16 - 4, last[1] * 16 - 8)
    centres = [start + 8 * k * np.arange(999) for k, start in zip((1, 2), starts, strict=True)]
    sizes, axis_maps = [last], [centres[1][: last[0]], centres[1][: last[1]]]
    for extra in extras:
        padding = 0 if extra.padding == "valid" else extra.padding
        axis_maps = [_windowed(axis, extra, padding) for axis in axis_maps]
        sizes.append(tuple(map(len, axis_maps)))
    assert min(sizes[-1]) == 1 < max(sizes[-1])
    pyramid = Pyramid(image, len(sizes) + 1, extras, last_map=sizes[-1])
    first = (2 * last[0], 2 * last[1])
    level = family(pyramid).levels([first, *sizes], image)[-1]
    rows = (level.start[0] + level.step[0] * np.arange(sizes[-1][0])) * image[0]
    np.testing.assert_allclose(rows, axis_maps[0])
    assert level.start[1] == 0.5


def _windowed(centres, extra, padding):
    """Means of the places of the cells under each window, those of the padding too."""
    step = centres[1] - centres[0] if len(centres) > 1 else 0.0
    places = centres[0] + step * np.arange(-padding, len(centres) + padding)
    count = (len(places) - extra.kernel) // extra.stride + 1
    return np.array([np.mean(places[k * extra.stride :][: extra.kernel]) for k in range(count)])
