"""The Box Network of YOLO, its targets, loss and decoding."""

import keras
import numpy as np
import pytest

from ssd_keras.box_networks import YOLO
from ssd_keras.objectives.yolo import yolo_loss, yolo_targets

GRID = (3, 3)
CLASSES = 4


def small_yolo(**options):
    """On one random map of 6 x 6 cells."""
    network = YOLO(CLASSES, channels=8, **options)
    x = keras.Input((6, 6, 5))
    return network, keras.Model(x, network({"map": x}, (96, 96)))


@pytest.mark.parametrize("options", [{}, {"fully_connected": 16}, {"boxes_per_cell": 3}])
def test_every_cell_proposes_its_boxes(options):
    network, model = small_yolo(**options)
    per_cell = options.get("boxes_per_cell", 2)
    assert network.grid == GRID
    assert model.output["boxes"].shape == (None, 9 * per_cell, 4)
    assert model.output["confidences"].shape == (None, 9 * per_cell)
    assert model.output["classes"].shape == (None, 9, CLASSES)
    assert YOLO.from_config(network.get_config()).get_config() == network.get_config()


@pytest.mark.parametrize("fully_connected", [0, 256])
def test_begins_near_the_shares_and_offsets_it_has_to_say(fully_connected):
    keras.utils.set_random_seed(0)
    network = YOLO(CLASSES, channels=256, fully_connected=fully_connected)
    x = keras.Input((6, 6, 64))
    model = keras.Model(x, network({"map": x}, (96, 96)))
    seen = model(np.random.default_rng(0).normal(0, 1, (8, 6, 6, 64)), training=True)
    assert max(np.std(said) for said in seen.values()) < 0.2


def test_the_cell_of_the_centre_answers_and_the_first_object_wins():
    boxes = np.array([[[0.1, 0.4, 0.3, 0.6], [0.0, 0.35, 0.4, 0.65], [0.7, 0.7, 1.0, 1.0]]])
    targets = yolo_targets(boxes, np.array([[2, 1, 3]]), GRID)
    positive = np.asarray(targets["positive"])[0]
    assert np.flatnonzero(positive).tolist() == [1, 8]
    assert np.asarray(targets["classes"])[0, [1, 8]].tolist() == [2, 3]
    np.testing.assert_allclose(np.asarray(targets["boxes"])[0, 1], boxes[0, 0], rtol=1e-6)


@pytest.mark.parametrize("box", [[0.5, 0.5, 1.0, 1.0], [0.9, 0.9, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]])
def test_an_object_at_the_border_has_a_cell(box):
    targets = yolo_targets(np.array([[box]]), np.array([[0]]), GRID)
    assert np.asarray(targets["positive"]).sum() == 1


def test_padding_has_none():
    targets = yolo_targets(np.full((2, 3, 4), -1.0), np.full((2, 3), -1), GRID)
    assert not np.any(targets["positive"])


def perfect(boxes, labels):
    """Predictions that say the ground truth with both boxes of each cell."""
    targets = {k: np.asarray(v) for k, v in yolo_targets(boxes, labels, GRID).items()}
    raw = np.zeros((len(boxes), 9, 2, 4), "float32")
    for image, cell in np.argwhere(targets["positive"]):
        ymin, xmin, ymax, xmax = targets["boxes"][image, cell]
        centre = np.array([(ymin + ymax) / 2, (xmin + xmax) / 2]) * 3 - [cell // 3, cell % 3]
        raw[image, cell] = [*centre, np.sqrt(ymax - ymin), np.sqrt(xmax - xmin)]
    confidences = np.repeat(targets["positive"][..., None], 2, axis=2).astype("float32")
    classes = np.eye(CLASSES, dtype="float32")[targets["classes"]]
    return targets, raw, confidences, classes * targets["positive"][..., None]


def predictions(raw, confidences, classes):
    count = len(raw)
    return {
        "boxes": raw.reshape(count, 18, 4),
        "confidences": confidences.reshape(count, 18),
        "classes": classes,
    }


TRUTH = np.array([[[0.1, 0.4, 0.3, 0.6], [0.5, 0.6, 1.0, 0.9]], [[0.2, 0.1, 0.8, 0.3], [-1] * 4]])
LABELS = np.array([[2, 0], [3, -1]])


def test_perfect_predictions_decode_to_the_ground_truth():
    _, raw, confidences, classes = perfect(TRUTH, LABELS)
    network, _ = small_yolo()
    boxes, scores = network.decode(predictions(raw, confidences, classes))
    boxes, scores = np.asarray(boxes), np.asarray(scores)
    for image, label, box in ((0, 2, TRUTH[0, 0]), (0, 0, TRUTH[0, 1]), (1, 3, TRUTH[1, 0])):
        found = boxes[image][scores[image, :, label] == 1.0]
        np.testing.assert_allclose(found, [box, box], atol=1e-6)
    assert scores.sum() == 6


def test_perfect_predictions_cost_only_the_confidence_of_the_second_box():
    targets, raw, confidences, classes = perfect(TRUTH, LABELS)
    confidences[:, :, 1] = 0.0
    parts = yolo_loss(targets, predictions(raw, confidences, classes), GRID)
    assert float(parts["positives"]) == 3
    np.testing.assert_allclose(parts["loss"], 0.0, atol=1e-6)


def oracle(targets, raw, confidences, classes):
    """The loss of the paper, cell by cell."""
    box_loss = class_loss = 0.0
    for image in range(len(raw)):
        for cell in range(9):
            found = raw[image, cell]
            if not targets["positive"][image, cell]:
                class_loss += 0.5 * np.sum(confidences[image, cell] ** 2)
                continue
            ymin, xmin, ymax, xmax = targets["boxes"][image, cell]
            true = np.array([(ymin + ymax) / 2, (xmin + xmax) / 2, ymax - ymin, xmax - xmin])
            overlaps, distances = [], []
            for dy, dx, sqrt_h, sqrt_w in found:
                cy, cx, h, w = (cell // 3 + dy) / 3, (cell % 3 + dx) / 3, sqrt_h**2, sqrt_w**2
                high = min(cy + h / 2, ymax) - max(cy - h / 2, ymin)
                wide = min(cx + w / 2, xmax) - max(cx - w / 2, xmin)
                both = max(high, 0) * max(wide, 0)
                overlaps.append(both / (h * w + true[2] * true[3] - both))
                distances.append(np.sum((np.array([cy, cx, h, w]) - true) ** 2))
            best = np.argmax(overlaps) if max(overlaps) > 0 else np.argmin(distances)
            goal = [*(true[:2] * 3 - [cell // 3, cell % 3]), *np.sqrt(true[2:])]
            box_loss += 5 * np.sum((found[best] - goal) ** 2)
            class_loss += (confidences[image, cell, best] - overlaps[best]) ** 2
            class_loss += 0.5 * np.sum(np.delete(confidences[image, cell], best) ** 2)
            one_hot = np.eye(CLASSES)[targets["classes"][image, cell]]
            class_loss += np.sum((classes[image, cell] - one_hot) ** 2)
    return box_loss / len(raw), class_loss / len(raw)


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
def test_the_loss_is_the_papers(spread):
    random = np.random.default_rng(0)
    targets, raw, confidences, classes = perfect(TRUTH, LABELS)
    raw, confidences, classes = (
        values + random.normal(0, spread, values.shape).astype("float32")
        for values in (raw, confidences, classes)
    )
    parts = yolo_loss(targets, predictions(raw, confidences, classes), GRID)
    expected = oracle(targets, raw, confidences, classes)
    np.testing.assert_allclose([parts["box_loss"], parts["class_loss"]], expected, rtol=1e-4)


def test_scores_stay_between_0_and_1():
    network, _ = small_yolo()
    random = np.random.default_rng(0)
    raw = predictions(
        random.normal(size=(2, 9, 2, 4)),
        random.normal(0, 3, (2, 9, 2)),
        random.normal(0, 3, (2, 9, CLASSES)),
    )
    _, scores = network.decode(raw)
    assert np.min(scores) >= 0
    assert np.max(scores) <= 1
