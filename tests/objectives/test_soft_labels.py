"""Class losses of soft labels: the peers' numbers and gradients, and the papers' rules."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.objectives.focal import focal_cross_entropy
from ssd_keras.objectives.soft_labels import quality_focal, varifocal

# Ours, the peers' key, what is wanted, and whether the peer summed over the classes.
PEERS = {
    "quality focal": (quality_focal, "mmdet_qfl", "soft", True),
    "quality focal, soft target": (quality_focal, "mmdet_qfl_soft", "soft", True),
    "varifocal": (varifocal, "mmdet_vfl", "soft", False),
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


@pytest.mark.parametrize("key", ["mmdet_focal", "tv_focal"])
def test_the_focal_loss_and_its_gradients_are_the_peers(shared, key):
    vectors = np.load(shared("vectors/objectives.npz"))
    onehot, logits = vectors["cls/onehot"], tf.Variable(vectors["cls/logits"])
    classes = np.where(onehot.any(-1), onehot.argmax(-1) + 1, 0)
    with tf.GradientTape() as tape:
        values = focal_cross_entropy(classes[None], logits[None])[0]
    wanted = vectors[f"cls/{key}"].sum(-1)
    np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(values, logits), vectors[f"cls/{key}_grad"], atol=2e-6)


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


@pytest.mark.parametrize("loss", [quality_focal, varifocal])
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
