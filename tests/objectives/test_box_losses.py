"""Losses of boxes themselves: the peers' numbers and gradients, the papers' rules, edges."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.objectives.box_losses import BOX_LOSSES, ciou_loss, iou_loss
from tests import oracles
from tests.boxes.reference import random_boxes

# Ours, and the peers' keys that it has to equal.
PEERS = {
    "iou": (iou_loss, ("mmdet_iou_linear",)),
    "giou": (BOX_LOSSES["giou"], ("mmdet_giou", "tv_giou")),
    "diou": (BOX_LOSSES["diou"], ("mmdet_diou", "tv_diou")),
    "ciou": (ciou_loss, ("tv_ciou",)),
    "later ciou": (lambda a, b: ciou_loss(a, b, aspect_from=0.5), ("mmdet_ciou",)),
}
# Rows where the peers' epsilon decides, or where two coordinates are equal.
DEGENERATE = ("pred_flat", "pred_point", "target_flat", "target_point", "both_points", "inverted")


def with_gradient(loss, boxes, wanted):
    boxes = tf.Variable(boxes)
    with tf.GradientTape() as tape:
        values = loss(boxes, wanted)
    return np.array(values), np.array(tape.gradient(values, boxes))


@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients_are_the_peers(shared, name):
    vectors = np.load(shared("vectors/objectives.npz"))
    loss, keys = PEERS[name]
    values, gradients = with_gradient(loss, vectors["box/pred"], vectors["box/target"])
    plain = ~np.isin(vectors["box/kind"], DEGENERATE)
    comparable = vectors["box/grad_comparable"]
    assert comparable.sum() == 56
    for key in keys:
        theirs = vectors[f"box/{key}_px300"]
        known = plain & np.isfinite(theirs)
        np.testing.assert_allclose(values[known], theirs[known], atol=1e-6, err_msg=key)
        expected = vectors[f"box/{key}_px300_grad"][comparable]
        largest = np.abs(expected).max(axis=1, keepdims=True)
        error = np.abs(gradients[comparable] - expected) / np.maximum(largest, 1e-30)
        assert error.max() <= 1e-5, key
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_values_are_the_papers(name):
    a, b = random_boxes(np.random.default_rng(0), 2, 60)
    expected = [oracles.overlap_losses(*pair)[name] for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(BOX_LOSSES[name](a, b), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", BOX_LOSSES)
@pytest.mark.parametrize(
    "box", [[0.5, 0.5, 0.5, 0.5], [0.5, 0.2, 0.5, 0.8], [0.2, 0.5, 0.8, 0.5], [0.2, 0.2, 0.8, 0.8]]
)
def test_boxes_without_area_and_equal_boxes_have_finite_gradients(name, box):
    for wanted in (box, [0.2, 0.2, 0.8, 0.8], [0.9, 0.9, 1.0, 1.0]):
        values, gradients = with_gradient(BOX_LOSSES[name], np.float32([box]), np.float32([wanted]))
        assert np.isfinite(values).all()
        assert np.isfinite(gradients).all()


@pytest.mark.parametrize(("name", "least"), [("iou", 0.0), ("giou", 0), ("diou", 0), ("ciou", 0)])
def test_equal_boxes_cost_nothing(name, least):
    box = random_boxes(np.random.default_rng(1), 20)
    np.testing.assert_allclose(BOX_LOSSES[name](box, box), least, atol=1e-6)


def test_only_iou_does_not_pull_boxes_that_are_apart_together():
    box, wanted = np.float32([[0.1, 0.1, 0.2, 0.2]]), np.float32([[0.6, 0.6, 0.8, 0.8]])
    pulled = {
        name: bool(with_gradient(loss, box, wanted)[1].any()) for name, loss in BOX_LOSSES.items()
    }
    assert pulled == {"iou": False, "giou": True, "diou": True, "ciou": True}
