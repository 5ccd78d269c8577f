"""Default boxes against caffe-ssd, the PyTorch ports and the published counts."""

import numpy as np
import pytest

from ssd_keras import boxes as box_ops
from tests.boxes import reference
from tests.boxes.reference import corners, y_first

CONFIGS = {
    "ssd300_voc": reference.ssd300(),
    "ssd300_coco": reference.ssd300((15, 90, 7)),
    "ssd512_voc": reference.ssd512(),
    "ssd512_coco": reference.ssd512((10, 90, 4)),
}
TRUNCATED = {
    **CONFIGS,
    "ssd512_voc": reference.ssd512(truncate=True),
    "ssd512_coco": reference.ssd512((10, 90, 4), truncate=True),
}


@pytest.fixture(scope="module")
def priors(shared):
    return np.load(shared("vectors/priors.npz"))


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_caffe(priors, config):
    expected = y_first(priors[f"caffe_{config}_xyxy_noclip"])
    np.testing.assert_allclose(box_ops.default_boxes(TRUNCATED[config]), expected, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_clipped_equal_caffe(priors, config):
    expected = y_first(priors[f"caffe_{config}_xyxy_clip"])
    ours = box_ops.clip(box_ops.default_boxes(TRUNCATED[config]))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_lufficc(priors, config):
    expected = corners(y_first(priors[f"lufficc_{config}_cxcywh_noclip"]))
    np.testing.assert_allclose(box_ops.default_boxes(_port_sizes(config)), expected, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_torchvision(priors, config):
    # torchvision clips width and height to the image; centres and the other sides are equal.
    image = int(config[3:6])
    expected = y_first(priors[f"torchvision_{config}_xyxy_px"]) / image
    ours = np.array(box_ops.corners_to_centers(box_ops.default_boxes(_port_sizes(config))))
    ours[:, 2:] = np.minimum(ours[:, 2:], 1)
    np.testing.assert_allclose(corners(ours), expected, atol=2e-6)


def _port_sizes(config):
    """The PyTorch ports write 537.65 for the last size of SSD512 where the rule gives 537.6."""
    if config != "ssd512_voc":
        return CONFIGS[config]
    low, high = box_ops.ssd_scale_sizes(512, 7, 15, 90, 7)
    return box_ops.ssd_levels(
        reference.MAPS_512,
        512,
        low,
        [*high[:-1], 537.65],
        reference.RATIOS_512,
        steps=reference.STEPS_512,
    )


# name: levels, level starts, sums of (cx, cy, w, h), {index: (cx, cy, w, h)}
PINNED = {
    "ssd300_voc": (
        CONFIGS["ssd300_voc"],
        (0, 5776, 7942, 8542, 8692, 8728),
        (4443.9467, 4443.9467, 1510.4293, 1510.4293),
        {
            0: (0.013333, 0.013333, 0.1, 0.1),
            1: (0.013333, 0.013333, 0.141421, 0.141421),
            2: (0.013333, 0.013333, 0.141421, 0.070711),
            5776: (0.026667, 0.026667, 0.2, 0.2),
            8692: (0.166667, 0.166667, 0.71, 0.71),
            8731: (0.5, 0.5, 0.622254, 1.244508),
        },
    ),
    "ssd300_coco": (
        CONFIGS["ssd300_coco"],
        (0, 5776, 7942, 8542, 8692, 8728),
        (4443.9467, 4443.9467, 1172.1980, 1172.1980),
        {0: (0.013333, 0.013333, 0.07, 0.07)},
    ),
    "ssd512_voc": (
        CONFIGS["ssd512_voc"],
        (0, 16384, 22528, 24064, 24448, 24544, 24560),
        (12282, 12282, 3146.1417, 3146.1417),
        {},
    ),
    "ssd512_voc_truncated": (
        TRUNCATED["ssd512_voc"],
        (0, 16384, 22528, 24064, 24448, 24544, 24560),
        (12282, 12282, 3105.5545, 3105.5545),
        {},
    ),
    "ssd512_coco": (
        CONFIGS["ssd512_coco"],
        (0, 16384, 22528, 24064, 24448, 24544, 24560),
        (12282, 12282, 2192.4711, 2192.4711),
        {},
    ),
    "dssd321": (
        reference.dssd321(),
        (0, 12800, 16000, 16800, 17000, 17072),
        (8380.3988, 8380.3988, 2649.9186, 2649.9186),
        {
            0: (0.007788, 0.007788, 0.1, 0.1),
            2: (0.007788, 0.007788, 0.126491, 0.079057),
            16000: (0.03271, 0.03271, 0.38, 0.38),
            17079: (0.5, 0.5, 0.531162, 1.593487),
        },
    ),
    "dssd321_center": (
        reference.dssd321(starts=None),
        (0, 12800, 16000, 16800, 17000, 17072),
        (8540, 8540, 2649.9186, 2649.9186),
        {0: (0.0125, 0.0125, 0.1, 0.1)},
    ),
    "dssd513": (
        reference.dssd513(),
        (0, 32768, 40960, 43008, 43520, 43648, 43680),
        (21588.6238, 21588.6238, 3389.1369, 3389.1369),
        {0: (0.004873, 0.004873, 0.04, 0.04), 43687: (0.5, 0.5, 0.548483, 1.645448)},
    ),
    "dssd513_center": (
        reference.dssd513(starts=None),
        (0, 32768, 40960, 43008, 43520, 43648, 43680),
        (21844, 21844, 3389.1369, 3389.1369),
        {},
    ),
    "mobilenet300": (
        reference.mobilenet300(),
        (0, 1083, 1683, 1833, 1887, 1911),
        (958.5, 958.5, 568.5611, 568.5678),
        {
            0: (0.026316, 0.026316, 0.1, 0.1),
            1: (0.026316, 0.026316, 0.282843, 0.141421),
            1083: (0.05, 0.05, 0.35, 0.35),
            1916: (0.5, 0.5, 0.974679, 0.974679),
        },
    ),
    "chuanqi305": (
        box_ops.ssd_levels(
            (19, 10, 5, 3, 2, 1),
            300,
            (60, 105, 150, 195, 240, 285),
            (None, 150, 195, 240, 285, 300),
            ((2,), *((2, 3),) * 5),
        ),
        (0, 1083, 1683, 1833, 1887, 1911),
        (958.5, 958.5, 604.6628, 604.6628),
        {0: (0.026316, 0.026316, 0.2, 0.2), 1916: (0.5, 0.5, 0.548483, 1.645448)},
    ),
    "inception500": (
        reference.inception500(),
        (0, 14400, 19446, 20622, 20916, 21012, 21028),
        (10516, 10516, 2634.8011, 2634.8011),
        {0: (0.008333, 0.008333, 0.07, 0.07), 21031: (0.5, 0.5, 0.636396, 1.272792)},
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_level_starts(name):
    levels, starts, _, _ = PINNED[name]
    assert tuple(np.cumsum([0] + [level.count for level in levels])[:-1]) == starts


@pytest.mark.parametrize("name", PINNED)
def test_column_sums(name):
    levels, _, sums, _ = PINNED[name]
    boxes = box_ops.default_boxes(levels).astype(np.float64)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    ours = [*centers.sum(0)[::-1], *(boxes[:, 2:] - boxes[:, :2]).sum(0)[::-1]]
    np.testing.assert_allclose(ours, sums, atol=1e-3)


@pytest.mark.parametrize("name", PINNED)
def test_single_boxes(name):
    levels, _, _, expected = PINNED[name]
    boxes = box_ops.default_boxes(levels)
    for index, center in expected.items():
        np.testing.assert_allclose(boxes[index], corners(y_first(center)), atol=1e-6)


def test_non_square_image_and_map():
    levels = box_ops.ssd_levels([(2, 4)], (100, 200), [20], [None], [(4,)])
    boxes = box_ops.default_boxes(levels)
    assert boxes.shape == (24, 4)
    assert boxes.dtype == np.float32
    # Second cell of the first row: centre (25, 75) px; boxes 20x20, 10x40 and 40x10 px.
    np.testing.assert_allclose(boxes[3], [0.15, 0.325, 0.35, 0.425], atol=1e-7)
    np.testing.assert_allclose(boxes[4], [0.2, 0.275, 0.3, 0.475], atol=1e-7)
    np.testing.assert_allclose(boxes[5], [0.05, 0.35, 0.45, 0.4], atol=1e-7)


def test_lists_of_unequal_length_are_named():
    with pytest.raises(ValueError, match="max_sizes has 1 entries for 2 feature maps"):
        box_ops.ssd_levels((2, 1), 300, (30, 60), (60,), ((2,), (2,)))


def test_scale_rule_needs_three_levels():
    with pytest.raises(ValueError, match="at least 3 levels, got 2"):
        box_ops.ssd_scale_sizes(300, 2, 20, 90, 10)
