"""Objectives of parts: each against the sum of its oracles, and what all have to keep."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import ssd_keras
from ssd_keras import boxes as box_ops
from ssd_keras.boxes.layout import Layout
from ssd_keras.objectives import COMBINATIONS, Dense, MultiBox, Objective, build_objective
from tests import oracles, tiny
from tests.boxes.reference import random_boxes

PARTS = {name: row for name, row in COMBINATIONS.items() if isinstance(row, Dense)}
# The two of most parts; the others are as quick to break and slow to run.
SOME = [
    name if name in ("atss", "task_aligned") else pytest.param(name, marks=pytest.mark.slow)
    for name in PARTS
]
SIZE = (64, 128)


def layout_of() -> Layout:
    return Layout.of(box_ops.tf_od_levels([(4, 8), (2, 4), (1, 2)]), SIZE)


def batch(objective, seed=0, images=4, objects=5, spread=2.0):
    """Layout, ground truth and predictions; the last image has no object."""
    rng = np.random.default_rng(seed)
    layout = layout_of()
    boxes = random_boxes(rng, images, objects)
    labels = rng.integers(0, 3, (images, objects)).astype(np.int32)
    labels[1, 3:], labels[-1] = -1, -1
    boxes[labels < 0] = -1
    codes = rng.normal(0, 0.5, (images, len(layout.anchors), 4)).astype(np.float32)
    columns = 3 + objective.background
    logits = rng.normal(0, spread, (images, len(layout.anchors), columns)).astype(np.float32)
    return layout, boxes, labels, {"boxes": codes, "classes": logits}


def loss_of(objective, layout, boxes, labels, predictions):
    targets = objective.encode(boxes, labels, layout)
    return objective.loss(targets, predictions, layout)


@pytest.mark.parametrize("box_loss", ["giou", "smooth_l1"])
@pytest.mark.parametrize(
    ("matching", "class_loss", "whole_cells"),
    [
        ("atss", "quality_focal", False),
        ("atss", "quality_focal", True),
        ("task_aligned", "varifocal", False),
    ],
)
def test_a_loss_is_the_sum_of_the_papers_parts(matching, class_loss, box_loss, whole_cells):
    objective = Dense(
        matching=matching,
        class_loss=class_loss,
        box_loss=box_loss,
        forced=False,
        candidates=5,
        whole_cells=whole_cells,
    )
    layout, boxes, labels, predictions = batch(objective)
    found = loss_of(objective, layout, boxes, labels, predictions)
    decoded = np.array(box_ops.decode(predictions["boxes"], layout.anchors))
    scores = 1 / (1 + np.exp(-predictions["classes"].astype(np.float64)))
    class_sum = box_sum = weight = 0.0
    for i in range(len(boxes)):
        real = labels[i] >= 0
        truth, own = boxes[i][real], labels[i][real]
        if matching == "atss":
            given = (layout.anchors, layout.centers, layout.levels, SIZE, 5)
            match = oracles.atss(truth, *given, whole_cells=whole_cells)
            target = [oracles.numpy_boxes(truth[[m]], decoded[i][[a]])[0, 0] if m >= 0 else 0.0
                      for a, m in enumerate(match)]  # fmt: skip
        else:
            given = (truth, own, decoded[i], scores[i], layout.centers, SIZE, 5, 1.0, 6.0)
            match, _, _, target = oracles.task_aligned(*given)
        target = np.array(target)
        wanted = np.zeros_like(scores[i])
        positive = np.flatnonzero(match >= 0)
        wanted[positive, own[match[positive]]] = target[positive]
        p = scores[i]
        entropy = -wanted * np.log(p) - (1 - wanted) * np.log(1 - p)
        if class_loss == "varifocal":
            class_sum += (np.where(wanted > 0, wanted, 0.75 * p**2) * entropy).sum()
        else:
            class_sum += ((wanted - p) ** 2 * entropy).sum()
        for a in positive:
            if box_loss == "giou":
                cost = oracles.overlap_losses(decoded[i][a], truth[match[a]])["giou"]
            else:
                code = oracles.encode(truth[match[a]], layout.anchors[a])
                away = np.abs(code - predictions["boxes"][i, a])
                cost = np.where(away < 1, away**2 / 2, away - 0.5).sum()
            box_sum += target[a] * cost
        weight += target.sum()
    divisor = max(weight, 1)
    np.testing.assert_allclose(found["positives"], weight, rtol=1e-4)
    np.testing.assert_allclose(found["class_loss"], class_sum / divisor, rtol=1e-4)
    np.testing.assert_allclose(found["box_loss"], 2 * box_sum / divisor, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], found["class_loss"] + found["box_loss"], rtol=1e-6)


@pytest.mark.parametrize("name", ["atss", "task_aligned"])
def test_the_box_of_a_forced_match_is_learned_with_full_weight(name):
    """Two pixels between the centres: its one default box overlaps it by a hundredth."""
    layout = layout_of()
    middle = (layout.centers[0] + layout.centers[layout.levels[0][1]]) / 2
    side = np.float32([1 / SIZE[0], 1 / SIZE[1]])
    boxes = np.concatenate([middle - side, middle + side])[None, None]
    labels = np.int32([[0]])
    count = len(layout.anchors)
    predictions = {"boxes": np.zeros((1, count, 4), np.float32)}
    predictions["classes"] = np.zeros((1, count, 3), np.float32)
    objective = PARTS[name]
    found = loss_of(objective, layout, boxes, labels, predictions)
    own = int(np.argmax(oracles.numpy_boxes(layout.anchors, boxes[0])[:, 0]))
    cost = oracles.overlap_losses(layout.anchors[own], boxes[0, 0])["giou"]
    assert found["positives"] < 0.1
    np.testing.assert_allclose(found["box_loss"], objective.box_weight * cost, rtol=1e-4)
    left = loss_of(dataclasses.replace(objective, forced=False), layout, boxes, labels, predictions)
    assert float(left["box_loss"]) == 0.0


def test_the_published_parts_make_the_published_loss():
    """Bipartite, mined softmax and smooth L1, put together, are MultiBox."""
    objective = Dense(
        scores="softmax",
        matching="bipartite",
        class_loss="mined",
        box_loss="smooth_l1",
        box_weight=1.0,
    )
    given = batch(objective)
    parts, published = loss_of(objective, *given), loss_of(MultiBox(), *given)
    for name in published:
        np.testing.assert_allclose(parts[name], published[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", SOME)
def test_every_object_teaches_and_nothing_depends_on_padding_or_order(name):
    objective = PARTS[name]
    layout, boxes, labels, predictions = batch(objective)
    first = loss_of(objective, layout, boxes, labels, predictions)
    assert all(np.isfinite(value) for value in first.values())
    more = [(0, 0), (0, 2)]
    padded = (
        np.pad(boxes, [*more, (0, 0)], constant_values=-1),
        np.pad(labels, more, constant_values=-1),
    )
    order = [2, 0, 3, 1]
    turned = {key: value[order] for key, value in predictions.items()}
    second = loss_of(objective, layout, padded[0][order], padded[1][order], turned)
    for key in first:
        np.testing.assert_allclose(second[key], first[key], rtol=1e-5, err_msg=key)
    targets = objective.encode(boxes, labels, layout)
    decoded = box_ops.decode(predictions["boxes"], layout.anchors)
    scores = objective.scores_of(predictions)
    matches, _ = objective.assign(targets, decoded, scores, layout)
    for row, own in zip(np.array(matches), labels, strict=True):
        assert set(row) - {-1} == set(np.flatnonzero(own >= 0))


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("name", SOME)
def test_images_without_objects_teach_negatives_where_all_count(name, count):
    objective = PARTS[name]
    layout, _, _, predictions = batch(objective)
    boxes, labels = np.full((4, count, 4), -1, np.float32), np.full((4, count), -1, np.int32)
    with tf.GradientTape() as tape:
        variables = {key: tf.Variable(value) for key, value in predictions.items()}
        found = loss_of(objective, layout, boxes, labels, variables)
    gradients = tape.gradient(found["loss"], list(variables.values()), unconnected_gradients="zero")
    assert float(found["box_loss"]) == 0
    assert not np.array(gradients[0]).any()
    mined = objective.class_loss == "mined"
    assert bool(found["class_loss"]) is not mined
    assert bool(np.array(gradients[1]).any()) is not mined
    assert all(np.isfinite(one).all() for one in map(np.array, gradients))


@pytest.mark.parametrize(
    "objective", [MultiBox(min_negatives=7), MultiBox(scores="sigmoid", min_negatives=7)]
)
def test_with_negatives_at_least_an_image_without_objects_teaches(objective):
    layout, boxes, labels, predictions = batch(objective)
    with tf.GradientTape() as tape:
        logits = tf.Variable(predictions["classes"])
        loss = loss_of(objective, layout, boxes, labels, predictions | {"classes": logits})["loss"]
    taught = np.array(tape.gradient(loss, logits)).any(-1).sum(1)
    assert taught[-1] == 7
    positives = np.array(objective.encode(boxes, labels, layout)["positive"]).sum(1)
    np.testing.assert_array_equal(taught, positives + np.maximum(3 * positives, 7))


@pytest.mark.parametrize("name", ["focal", "atss", "task_aligned"])
def test_the_loss_at_the_start_is_what_theory_says(name):
    """All scores are the prior: every term follows from it and from the targets alone."""
    objective = dataclasses.replace(PARTS[name], forced=False)
    layout, boxes, labels, predictions = batch(objective)
    codes = np.zeros_like(predictions["boxes"])
    logits = np.full_like(predictions["classes"], objective.class_bias)
    predictions = {"boxes": codes, "classes": logits}
    targets = objective.encode(boxes, labels, layout)
    given = (np.array(box_ops.decode(codes, layout.anchors)), np.full_like(logits, 0.01))
    matches, quality = (np.array(x) for x in objective.assign(targets, *given, layout))
    positive, p = matches >= 0, 0.01
    negatives, q = logits.size - positive.sum(), quality[positive]
    cost_no = -np.log(1 - p)
    cost = -q * np.log(p) + (1 - q) * cost_no
    each = {
        "focal": (0.75 * p**2 * cost_no, 0.25 * (1 - p) ** 2 * -np.log(p)),
        "quality_focal": (p**2 * cost_no, (q - p) ** 2 * cost),
        "varifocal": (0.75 * p**2 * cost_no, q * cost),
    }[objective.class_loss]
    expected = (negatives * each[0] + np.sum(each[1] + 0 * q)) / max(q.sum(), 1)
    found = objective.loss(targets, predictions, layout)["class_loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert positive.sum() > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_compiled_equals_eager(name):
    objective = PARTS[name]
    layout, boxes, labels, predictions = batch(objective)

    def run(boxes, labels, codes, logits):
        given = {"boxes": codes, "classes": logits}
        return loss_of(objective, layout, boxes, labels, given)["loss"]

    given = boxes, labels, predictions["boxes"], predictions["classes"]
    for jit in (False, True):
        compiled = tf.function(run, jit_compile=jit)(*given)
        np.testing.assert_allclose(compiled, run(*given), rtol=1e-5)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_an_objective_is_one_by_the_protocol_and_keeps_its_settings(name):
    assert isinstance(COMBINATIONS[name], Objective)
    detector = tiny.detector(objective=name)
    network = detector.box_network
    assert network.objective == COMBINATIONS[name]
    again = type(network).from_config(network.get_config())
    assert again.objective == network.objective
    assert detector.output["classes"].shape[-1] == 2 + network.objective.background
    _, scores = network.decode(detector(np.zeros((1, 32, 32, 3), np.float32)))
    assert scores.shape[-1] == 2


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("atts", {}, "objective must be one of multibox"),
        ("multibox", {"box_loss": "giou"}, "box_loss belongs to multibox_giou"),
        ("atss", {"matching": "simota"}, "matching must be one of bipartite, argmax, atss"),
        ("atss", {"class_loss": "vfl"}, "class_loss must be one of mined, focal, quality_focal"),
        ("atss", {"box_loss": "eiou"}, "box_loss must be one of smooth_l1, iou, giou, diou, ciou"),
        ("atss", {"scores": "softmax"}, "give scores='sigmoid'"),
        ("atss", {"candidates": 0}, "candidates must be a whole number above 0, got 0"),
        ("atss", {"candidates": 2.5}, "candidates must be a whole number"),
        ("atss", {"candidates": True}, "candidates must be a whole number"),
        ("atss", {"forced": "no"}, "forced must be true or false"),
        ("atss", {"whole_cells": 1}, "whole_cells must be true or false"),
        ("atss", {"class_weight": "abc"}, "class_weight must be a number"),
        ("atss", {"box_weight": -1}, "box_weight must be a number of 0 or more, got -1"),
        ("task_aligned", {"alignment": [1.0]}, "alignment must be 2 numbers"),
        ("task_aligned", {"alignment": 3}, "alignment must be 2 numbers"),
        ("task_aligned", {"alignment": ["a", "b"]}, "alignment must be 2 numbers"),
        ("multibox", {"negative_ratio": -2}, "negative_ratio must be a whole number above 0"),
        ("multibox", {"min_negatives": -3}, "min_negatives must be a whole number of 0 or more"),
        ("multibox", {"match_threshold": 5}, "match_threshold must be a number above 0 and up to"),
        ("multibox", {"match_threshold": "abc"}, "match_threshold must be a number"),
        ("multibox", {"variances": [0, 0, 0, 0]}, "variances must be 4 numbers above 0"),
        ("multibox", {"variances": 0.1}, "variances must be 4 numbers above 0"),
        ("focal", {"box_weight": math.nan}, "box_weight must be a number"),
    ],
)
def test_parts_that_do_not_exist_or_do_not_go_together_are_named(name, given, message):
    with pytest.raises(ValueError, match=message):
        build_objective(name, given)


# --- weights between objectives


@pytest.mark.parametrize(("before", "after"), [("multibox", "atss"), ("atss", "multibox")])
def test_weights_go_from_one_objective_to_another(tmp_path, before, after):
    """What a class scores against background, or against no to it, is kept."""
    keras.utils.set_random_seed(0)
    trained = tiny.detector(objective=before)
    for layer in trained.box_network.class_layers:
        layer = trained.get_layer(layer)
        layer.set_weights(
            [np.random.default_rng(1).normal(size=w.shape) for w in layer.get_weights()]
        )
    trained.save(tmp_path / "trained.keras")
    fresh = tiny.detector(
        ("dog", "cat", "bird"), objective=after, weights=tmp_path / "trained.keras"
    )
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    old, new = trained(image)["classes"], fresh(image)["classes"]
    old, new = np.array(old), np.array(new)
    if before == "multibox":
        np.testing.assert_allclose(
            new[..., :2], old[..., [2, 1]] - old[..., :1], rtol=1e-3, atol=1e-3
        )
    else:
        np.testing.assert_allclose(new[..., 1:3], old[..., [1, 0]], rtol=1e-3, atol=1e-3)
        assert not new[..., 0].any()
    assert "dog, cat" in str(fresh.started_from)


def test_the_same_classes_with_another_objective_are_no_mismatch(tmp_path):
    tiny.detector().save(tmp_path / "trained.keras")
    fresh = tiny.detector(objective="focal", weights=tmp_path / "trained.keras")
    assert not fresh.started_from.skipped
    assert ssd_keras.load(tmp_path / "trained.keras").box_network.objective == MultiBox()
