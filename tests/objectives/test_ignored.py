"""What lies on ignored regions is neither an object nor background, whatever is learned."""

import keras
import numpy as np
import pytest
from keras import ops

from ssd_keras.boxes.default_boxes import Level, default_boxes
from ssd_keras.boxes.ignoring import cells, find_covered
from ssd_keras.boxes.layout import Layout
from ssd_keras.objectives.dense import Dense
from ssd_keras.objectives.multibox import MultiBox
from ssd_keras.objectives.yolo import YoloObjective
from tests import tiny

PLACES = [[0, 0, 0.2, 0.2], [0.2, 0, 0.4, 0.2], [0, 0, 0.4, 0.4], [0, 0.8, 0.2, 1]]


@pytest.mark.parametrize(
    ("regions", "wanted"),
    [
        ([], [0, 0, 0, 0]),
        ([[-1, -1, -1, -1]], [0, 0, 0, 0]),
        ([[0, 0, 0.2, 0.2]], [1, 0, 0, 0]),
        ([[0, 0, 0.3, 0.2]], [1, 1, 0, 0]),
        ([[0, 0, 0.4, 0.21]], [1, 1, 1, 0]),
        ([[-1, -1, -1, -1]] * 8 + [[0, 0.9, 0.2, 1]], [0, 0, 0, 1]),
    ],
)
def test_places_are_covered_by_half_of_their_own_area(regions, wanted):
    found = find_covered(np.array(regions, np.float32).reshape(1, -1, 4), PLACES)
    assert np.asarray(found).astype(int).tolist() == [wanted]


def test_cells_are_those_of_the_grid():
    np.testing.assert_allclose(cells((2, 4))[5], [0.5, 0.25, 1.0, 0.5])


OBJECTIVES = {
    "mined": MultiBox(),
    "mined sigmoid": MultiBox(scores="sigmoid", min_negatives=30),
    "focal": MultiBox(scores="sigmoid", class_loss="focal"),
    "atss": Dense(),
    "task_aligned": Dense(matching="task_aligned", class_loss="varifocal"),
    "dense mined": Dense(matching="bipartite", class_loss="mined", min_negatives=30),
    "dense focal": Dense(class_loss="focal"),
}
IGNORED = np.array([[[0.5, 0.5, 1.0, 1.0]]], np.float32)


def gradient(objective, ignored):
    """By how much each default box's class logits change the loss, and the loss."""
    import tensorflow as tf

    level = Level((8, 8), ((0.2, 0.2), (0.4, 0.4)), (1 / 8, 1 / 8), (1 / 16, 1 / 16))
    layout = Layout.of([level], (64, 64))
    anchors = default_boxes([level])
    rng = np.random.default_rng(0)
    columns = 2 + objective.background
    logits = tf.constant(rng.normal(0, 1, (1, len(anchors), columns)).astype(np.float32))
    codes = tf.constant(rng.normal(0, 0.1, (1, len(anchors), 4)).astype(np.float32))
    boxes = np.array([[[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.8, 0.8]]], np.float32)
    targets = objective.encode(boxes, np.array([[0, 1]]), layout)
    lies_on = find_covered(IGNORED, anchors)
    if ignored:
        targets = {**targets, "ignored": lies_on}
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = objective.loss(targets, {"boxes": codes, "classes": logits}, layout)["loss"]
    change = np.abs(tape.gradient(loss, logits).numpy()[0]).sum(-1)
    return change, np.asarray(lies_on)[0], float(loss)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradients")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_objects_teach_on_ignored_regions(name):
    usual, lies_on, loss = gradient(OBJECTIVES[name], ignored=False)
    found, _, less = gradient(OBJECTIVES[name], ignored=True)
    taught = found[lies_on] > 0
    # The default boxes of the second object, which lies there, teach on; all others do not.
    if "mined" not in name:
        assert (usual[lies_on] > 0).all()
    assert 0 < taught.sum() < lies_on.sum() / 2
    assert (found[~lies_on] > 0).sum() > 0
    assert less != loss


def test_yolo_learns_no_confidence_on_ignored_cells():
    objective, grid = YoloObjective(), (4, 4)
    boxes, labels = np.array([[[0.1, 0.1, 0.3, 0.3]]], np.float32), np.array([[0]])
    targets = objective.encode(boxes, labels, grid)
    predictions = {
        "boxes": np.zeros((1, 32, 4), np.float32),
        "confidences": np.ones((1, 32), np.float32),
        "classes": np.zeros((1, 16, 2), np.float32),
    }
    usual = objective.loss(targets, predictions, grid)["class_loss"]
    on = {**targets, "ignored": find_covered(IGNORED, cells(grid))}
    less = objective.loss(on, predictions, grid)["class_loss"]
    # Four cells of two boxes, each half of 1.
    assert float(usual - less) == pytest.approx(4.0)


def test_a_detector_takes_them_from_the_ground_truth():
    detector = tiny.detector()
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    truth = {"boxes": np.array([[[0.1, 0.1, 0.4, 0.4]]]), "labels": np.array([[0]])}
    predictions = detector(images)
    usual = float(detector.compute_loss(y=truth, y_pred=predictions))
    whole = {**truth, "ignored": np.array([[[0.0, 0.0, 1.0, 1.0]]])}
    nowhere = {**truth, "ignored": np.full((1, 3, 4), -1.0)}
    assert float(detector.compute_loss(y=nowhere, y_pred=predictions)) == usual
    assert float(detector.compute_loss(y=whole, y_pred=predictions)) < usual
    assert np.isfinite(ops.convert_to_numpy(detector.compute_loss(y=whole, y_pred=predictions)))
