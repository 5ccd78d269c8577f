"""The Box Network of SSD."""

import keras
import numpy as np
import pytest

from ssd_keras.box_networks import SSD
from ssd_keras.box_networks.anchor_rules import ScaleAnchors


def small_ssd(classes=3):
    """An SSD on two random maps of a 64 px image, without a core network."""
    box_network = SSD(classes, anchors=ScaleAnchors(), extras=((8, 16),))
    features = {
        "fine": keras.Input((8, 8, 4), name="fine"),
        "coarse": keras.Input((4, 4, 4), name="coarse"),
    }
    predictions = box_network(features, (64, 64))
    return box_network, keras.Model(features, predictions)


def test_default_boxes_follow_from_the_maps():
    box_network, model = small_ssd()
    assert [len(level) for level in box_network.level_anchors] == [8 * 8 * 3, 4 * 4 * 6, 2 * 2 * 6]
    assert model.output["boxes"].shape == (None, 312, 4)
    assert model.output["classes"].shape == (None, 312, 4)


def test_predictions_stay_with_their_cell():
    """A spot in one cell of the finest map must move only the predictions of that cell."""
    box_network, model = small_ssd()
    features = {"fine": np.zeros((1, 8, 8, 4)), "coarse": np.zeros((1, 4, 4, 4))}
    before = model(features)["classes"]
    features["fine"][0, 5, 2] = 1.0
    after = model(features)["classes"]
    changed = np.flatnonzero(np.any(np.asarray(before) != np.asarray(after), axis=-1)[0])
    anchors = box_network.anchors[changed]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_allclose(centres, [[5.5 / 8, 2.5 / 8]] * 3, atol=1e-6)


def test_decoding_the_targets_gives_the_ground_truth_back():
    box_network, _ = small_ssd()
    truth = np.array([[[0.1, 0.2, 0.5, 0.7], [0.6, 0.6, 0.75, 0.7]]], "float32")
    targets = box_network.encode(truth, np.array([[2, 0]]))
    logits = 50.0 * keras.ops.one_hot(targets["classes"], 4)
    decoded, scores = box_network.decode({"boxes": targets["codes"], "classes": logits})
    positive = np.asarray(targets["positive"])
    labels = np.argmax(np.asarray(scores)[positive], axis=-1)
    assert set(labels) == {0, 2}
    for label, box in ((2, truth[0, 0]), (0, truth[0, 1])):
        found = np.asarray(decoded)[positive][labels == label]
        np.testing.assert_allclose(found, np.broadcast_to(box, found.shape), atol=1e-6)


def test_background_is_no_class_outside():
    box_network, _ = small_ssd()
    logits = np.zeros((1, 312, 4), "float32")
    logits[..., 0] = 20.0
    _, scores = box_network.decode({"boxes": np.zeros((1, 312, 4)), "classes": logits})
    assert scores.shape == (1, 312, 3)
    assert np.max(scores) < 1e-8


def test_config_builds_the_same_box_network():
    box_network, _ = small_ssd()
    again = SSD.from_config(box_network.get_config())
    assert again.get_config() == box_network.get_config()
    assert again.anchor_rule == box_network.anchor_rule


def test_a_detector_without_classes_is_refused():
    with pytest.raises(ValueError, match="at least one class"):
        SSD(0, anchors=ScaleAnchors())


def test_sigmoid_scores_are_each_class_alone():
    box_network = SSD(3, anchors=ScaleAnchors(), extras=((8, 16),), scores="sigmoid")
    features = {"fine": keras.Input((8, 8, 4)), "coarse": keras.Input((4, 4, 4))}
    box_network(features, (64, 64))
    logits = np.random.default_rng(0).normal(0, 2, (1, 312, 4)).astype("float32")
    _, scores = box_network.decode({"boxes": np.zeros((1, 312, 4)), "classes": logits})
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[..., 1:])), rtol=1e-5)
