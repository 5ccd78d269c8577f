"""Small sets with their exact answers, which travel with the tests; our NumPy oracles, too."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_keras import boxes as box_ops
from tests.boxes.reference import numpy_match, numpy_suppress

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
MATCHING, SUPPRESSION = VECTORS["matching"], VECTORS["suppression"]


def sixteenths(values):
    return np.float32(values) / 16


ANCHORS = sixteenths(VECTORS["default_boxes"])
BOXES, SCORES = sixteenths(SUPPRESSION["boxes"]), sixteenths(SUPPRESSION["scores"])


@pytest.mark.parametrize("name", MATCHING)
def test_default_boxes_are_matched(name):
    case = MATCHING[name]
    boxes = sixteenths(case["boxes"])
    for match in (numpy_match, box_ops.match):
        found = match(boxes, ANCHORS, case["threshold"])
        np.testing.assert_array_equal(found, case["matched"], err_msg=match.__name__)


@pytest.mark.parametrize("name", SUPPRESSION["cases"])
def test_the_best_are_kept(name):
    settings = dict(SUPPRESSION["cases"][name])
    kept = [tuple(pair) for pair in settings.pop("kept")]
    assert numpy_suppress(BOXES, SCORES, **settings) == kept
    found = box_ops.suppress(BOXES[None], SCORES[None], **settings)
    count = int(found["count"][0])
    assert count == len(kept)
    labels, indices = zip(*kept, strict=True)
    np.testing.assert_array_equal(found["labels"][0, :count], labels)
    np.testing.assert_array_equal(found["boxes"][0, :count], BOXES[list(indices)])
    expected = [SCORES[index, label] for label, index in kept]
    np.testing.assert_array_equal(found["scores"][0, :count], expected)


def test_codes_and_back():
    anchors = ANCHORS[[case["default_box"] for case in VECTORS["codes"]]]
    boxes = sixteenths([case["box"] for case in VECTORS["codes"]])
    codes = np.float32([case["code"] for case in VECTORS["codes"]])
    np.testing.assert_allclose(box_ops.encode(boxes, anchors), codes, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(box_ops.decode(codes, anchors), boxes, atol=1e-6)
