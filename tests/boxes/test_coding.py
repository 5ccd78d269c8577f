"""Box codes against the references, both ways, and at the ends of the range."""

import numpy as np
import pytest

from ssd_keras import boxes as box_ops
from tests.boxes import reference
from tests.boxes.reference import corners, random_boxes, y_first

PEERS = ["caffe", "lufficc", "amdegroot", "torchvision"]


@pytest.fixture(scope="module")
def vectors(shared):
    return np.load(shared("vectors/codec.npz"))


@pytest.mark.parametrize("peer", PEERS)
def test_encode_equals(vectors, peer):
    anchors = corners(y_first(vectors["prior_cxcywh"]))
    ours = box_ops.encode(y_first(vectors["gt_xyxy"]), anchors)
    np.testing.assert_allclose(ours, y_first(vectors[f"enc_{peer}"]), atol=1e-4)


@pytest.mark.parametrize("peer", PEERS)
def test_decode_equals(vectors, peer):
    anchors = corners(y_first(vectors["prior_cxcywh"]))
    ours = np.array(box_ops.decode(y_first(vectors["loc"]), anchors))
    if peer == "torchvision":
        # torchvision clamps the extreme codes of the last rows; the others don't, nor do we.
        expected = vectors["dec_torchvision_xyxy_px300"][:-16] / 300
        ours = ours[:-16]
    else:
        expected = vectors[f"dec_{peer}_xyxy"]
    np.testing.assert_allclose(ours, y_first(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variances", [(0.1, 0.1, 0.2, 0.2), (1, 1, 1, 1), (0.2, 0.1, 1, 2)])
def test_decode_inverts_encode(variances):
    anchors = box_ops.default_boxes(reference.ssd300())[::7]
    boxes = random_boxes(np.random.default_rng(0), 3, len(anchors))
    codes = box_ops.encode(boxes, anchors, variances)
    np.testing.assert_allclose(box_ops.decode(codes, anchors, variances), boxes, atol=2e-6)


def test_order_and_variances():
    # Half an anchor down, a quarter to the right; twice as high, half as wide.
    ours = box_ops.encode([[0.3, 0.55, 0.7, 0.65]], [[0.3, 0.45, 0.5, 0.65]])
    np.testing.assert_allclose(
        ours, [[5.0, 2.5, np.log(2) / 0.2, np.log(0.5) / 0.2]], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("box", [[-1, -1, -1, -1], [0.5, 0.5, 0.5, 0.5], [0.9, 0.9, 0.1, 0.1]])
def test_boxes_without_area_have_finite_codes(box):
    assert np.isfinite(box_ops.encode([box], [[0.1, 0.1, 0.2, 0.2]])).all()


@pytest.mark.parametrize("code", [1e3, -1e3, 1e38, -1e38, float("inf"), float("-inf")])
def test_extreme_codes_give_finite_boxes_and_overlaps(code):
    boxes = box_ops.decode(np.full((1, 4), code, np.float32), [[0.1, 0.1, 0.2, 0.2]])
    assert np.isfinite(boxes).all()
    assert np.isfinite(box_ops.iou(boxes, boxes)).all()
