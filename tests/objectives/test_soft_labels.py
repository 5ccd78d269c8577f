"""Class losses of soft labels: the peers' numbers and gradients, and the papers' rules."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.objectives.focal import focal_cross_entropy
from ssd_keras.objectives.soft_labels import quality_focal, soft_focal, varifocal

# Ours, the peers' key, what is wanted, and whether the peer summed over the classes.
PEERS = {
    "quality focal": (quality_focal, "mmdet_qfl", "soft", True),
    "quality focal, soft target": (quality_focal, "mmdet_qfl_soft", "soft", True),
    "varifocal": (varifocal, "mmdet_vfl", "soft", False),
    "focal": (soft_focal, "mmdet_focal", "onehot", False),
    "focal, soft target": (soft_focal, "mmdet_focal_soft", "soft", False),
    "torchvision's focal": (soft_focal, "tv_focal", "onehot", False),
}


@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients_are_the_peers(shared, name):
    vectors = np.load(shared("vectors/objectives.npz"))
    loss, key, target, summed = PEERS[name]
    logits = tf.Variable(vectors["cls/logits"])
    with tf.GradientTape() as tape:
        values = loss(vectors[f"cls/{target}"], logits)
    gradients = tape.gradient(values, logits)
    values = np.array(values).sum(-1) if summed else np.array(values)
    np.testing.assert_allclose(values, vectors[f"cls/{key}"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients, vectors[f"cls/{key}_grad"], atol=2e-6)


def _wanted():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40, 4)).astype(np.float32)
    wanted = np.where(rng.random((40, 4)) < 0.2, rng.random((40, 4)), 0).astype(np.float32)
    return wanted, logits


def test_the_losses_are_the_papers():
    wanted, logits = _wanted()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    entropy = -wanted * np.log(p) - (1 - wanted) * np.log(1 - p)
    np.testing.assert_allclose(
        quality_focal(wanted, logits), (wanted - p) ** 2 * entropy, rtol=1e-4, atol=1e-6
    )
    weight = np.where(wanted > 0, wanted, 0.75 * p**2)
    np.testing.assert_allclose(varifocal(wanted, logits), weight * entropy, rtol=1e-4, atol=1e-6)


def test_with_yes_and_no_the_soft_focal_loss_is_the_published_one():
    _, logits = _wanted()
    classes = np.random.default_rng(1).integers(0, 5, 40)
    wanted = np.eye(5, dtype=np.float32)[classes][:, 1:]
    published = focal_cross_entropy(classes[None], logits[None])[0]
    np.testing.assert_allclose(np.sum(soft_focal(wanted, logits), -1), published, rtol=1e-5)


@pytest.mark.parametrize("loss", [quality_focal, varifocal, soft_focal])
def test_extreme_logits_give_finite_losses_and_gradients(loss):
    wanted, logits = _wanted()
    logits = tf.Variable(logits * 1e4)
    with tf.GradientTape() as tape:
        values = loss(wanted, logits)
    assert np.isfinite(values).all()
    assert np.isfinite(tape.gradient(values, logits)).all()


def test_a_score_that_is_as_wanted_costs_a_quality_focal_loss_nothing():
    quality = np.float32([[0.3, 0.9]])
    logits = np.log(quality / (1 - quality))
    np.testing.assert_allclose(quality_focal(quality, logits), 0.0, atol=1e-9)
