"""MultiBox loss against caffe-ssd and the ports, hard negatives to the last index, focal loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras.box_networks import SSD, ScaleAnchors
from ssd_keras.objectives import MultiBox
from ssd_keras.objectives.box_losses import smooth_l1
from ssd_keras.objectives.focal import focal_cross_entropy
from ssd_keras.objectives.mining import hard_negatives
from ssd_keras.objectives.multibox import multibox_loss, multibox_targets
from tests.boxes import reference
from tests.boxes.reference import corners, random_boxes, y_first


@pytest.fixture(scope="module")
def vectors(shared):
    return dict(np.load(shared("vectors/loss.npz")))


@pytest.fixture(scope="module", params=["", "_empty1"], ids=["full", "one image empty"])
def case(request, vectors):
    boxes = np.full((4, 12, 4), -1, np.float32)
    labels = np.full((4, 12), -1, np.int32)
    for i in range(4):
        if request.param and i == 1:
            continue
        n = len(vectors[f"gt_label_{i}"])
        boxes[i, :n] = y_first(vectors[f"gt_xyxy_{i}"])
        labels[i, :n] = vectors[f"gt_label_{i}"] - 1
    anchors = corners(y_first(vectors["priors_cxcywh"]))
    targets = multibox_targets(boxes, labels, anchors)
    return request.param, {k: np.array(v) for k, v in targets.items()}


@pytest.mark.xla
def test_target_classes_equal(vectors, case):
    name, targets = case
    np.testing.assert_array_equal(targets["classes"], vectors[f"target_label{name}"])


@pytest.mark.xla
def test_target_codes_equal(vectors, case):
    name, targets = case
    expected = y_first(vectors[f"target_loc{name}"])
    positive = targets["positive"]
    np.testing.assert_allclose(targets["codes"][positive], expected[positive], atol=1e-4)
    assert not targets["codes"][~positive].any()


@pytest.mark.xla
def test_mined_mask_equals(vectors, case):
    name, targets = case
    loss = -tf.nn.log_softmax(vectors["logits"])[..., 0]
    mask = np.array(hard_negatives(loss, targets["positive"])) | targets["positive"]
    np.testing.assert_array_equal(mask, vectors[f"mined_mask{name}"])
    np.testing.assert_array_equal(mask, vectors[f"caffe_mined_mask{name}"])


@pytest.mark.xla
@pytest.mark.parametrize("peer", ["caffe", "lufficc", "torchvision"])
def test_loss_equals(vectors, case, peer):
    name, targets = case
    ours = multibox_loss(targets, y_first(vectors["loc_pred"]), vectors["logits"])
    expected = vectors[f"{peer}_loc_cls{name}"]
    np.testing.assert_allclose([ours["box_loss"], ours["class_loss"]], expected, rtol=1e-5)
    np.testing.assert_allclose(ours["loss"], expected.sum(), rtol=1e-5)


# --- hard negatives


@pytest.mark.parametrize("values", ["random", "few values", "all equal", "zero", "infinite"])
def test_hard_negatives_are_those_of_a_stable_ranking(values):
    rng = np.random.default_rng(0)
    loss = rng.exponential(1, (6, 500)).astype(np.float32)
    if values == "few values":
        loss = np.round(loss * 2) / 2
    elif values == "all equal":
        loss[:] = 1.5
    elif values == "zero":
        loss[:] = -0.0
    elif values == "infinite":
        loss[:, ::2] = np.inf
    positive = rng.random((6, 500)) < [[0], [0.01], [0.1], [0.24], [0.5], [1]]
    ours = np.array(hard_negatives(loss, positive))
    for i in range(6):
        order = [a for a in np.argsort(-loss[i], kind="stable") if not positive[i, a]]
        expected = np.zeros(500, bool)
        expected[order[: 3 * positive[i].sum()]] = True
        np.testing.assert_array_equal(ours[i], expected)


@pytest.mark.parametrize("ratio", [0, 1, 7])
def test_negative_ratio(ratio):
    rng = np.random.default_rng(1)
    positive = np.zeros((2, 300), bool)
    positive[0, :4] = positive[1, 7] = True
    mask = hard_negatives(rng.random((2, 300)), positive, ratio)
    np.testing.assert_array_equal(np.array(mask).sum(1), [4 * ratio, ratio])


# --- properties


def _batch(seed=0, images=4, boxes=5):
    rng = np.random.default_rng(seed)
    anchors = box_ops.default_boxes(reference.mobilenet300())
    truth = random_boxes(rng, images, boxes)
    labels = rng.integers(0, 3, (images, boxes)).astype(np.int32)
    codes = rng.normal(0, 1, (images, len(anchors), 4)).astype(np.float32)
    logits = rng.normal(0, 2, (images, len(anchors), 4)).astype(np.float32)
    return anchors, truth, labels, codes, logits


def test_permuted_batch_has_the_same_loss():
    anchors, boxes, labels, codes, logits = _batch()
    order = [2, 0, 3, 1]
    first = multibox_loss(multibox_targets(boxes, labels, anchors), codes, logits)
    targets = multibox_targets(boxes[order], labels[order], anchors)
    second = multibox_loss(targets, codes[order], logits[order])
    for name in first:
        np.testing.assert_allclose(second[name], first[name], rtol=1e-6)


def test_padding_changes_no_target():
    anchors, boxes, labels, _, _ = _batch()
    more_boxes = np.concatenate([boxes, np.full((4, 9, 4), -1, np.float32)], 1)
    more_labels = np.concatenate([labels, np.full((4, 9), -1, np.int32)], 1)
    first = multibox_targets(boxes, labels, anchors)
    second = multibox_targets(more_boxes, more_labels, anchors)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_box_with_a_negative_label_is_no_target():
    anchors, boxes, labels, _, _ = _batch()
    labels[:, 2] = -1
    without = np.delete(boxes, 2, 1), np.delete(labels, 2, 1)
    first = multibox_targets(boxes, labels, anchors)
    second = multibox_targets(*without, anchors)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("count", [0, 3])
def test_a_batch_without_objects_costs_nothing(count):
    anchors, _, _, codes, logits = _batch()
    boxes, labels = np.full((4, count, 4), -1, np.float32), np.full((4, count), -1, np.int32)
    with tf.GradientTape() as tape:
        codes, logits = tf.Variable(codes), tf.Variable(logits)
        targets = multibox_targets(boxes, labels, anchors)
        result = multibox_loss(targets, codes, logits)
    assert {name: float(value) for name, value in result.items()} == dict.fromkeys(result, 0.0)
    for gradient in tape.gradient(result["loss"], [codes, logits]):
        assert not np.array(gradient).any()


def test_boxes_without_area_give_finite_losses_and_gradients():
    anchors, boxes, labels, codes, logits = _batch()
    boxes[0, :, 2:] = boxes[0, :, :2]
    with tf.GradientTape() as tape:
        codes, logits = tf.Variable(codes), tf.Variable(logits * 50)
        targets = multibox_targets(boxes, labels, anchors)
        loss = multibox_loss(targets, codes, logits)["loss"]
    assert np.isfinite(loss)
    for gradient in tape.gradient(loss, [codes, logits]):
        assert np.isfinite(gradient).all()


def test_gradient_reaches_only_what_counts():
    anchors, boxes, labels, codes, logits = _batch()
    targets = multibox_targets(boxes, labels, anchors)
    positive = np.array(targets["positive"])
    with tf.GradientTape() as tape:
        codes, logits = tf.Variable(codes), tf.Variable(logits)
        loss = multibox_loss(targets, codes, logits)["loss"]
    to_codes, to_logits = (np.array(g) for g in tape.gradient(loss, [codes, logits]))
    np.testing.assert_array_equal(to_codes.any(-1), positive)
    np.testing.assert_array_equal(to_logits.any(-1).sum(1), 4 * positive.sum(1))


def test_box_weight():
    anchors, boxes, labels, codes, logits = _batch()
    targets = multibox_targets(boxes, labels, anchors)
    base = multibox_loss(targets, codes, logits)
    other = multibox_loss(targets, codes, logits, box_weight=2.0)
    np.testing.assert_allclose(other["class_loss"], base["class_loss"], rtol=1e-6)
    np.testing.assert_allclose(other["box_loss"], base["box_loss"] * 2, rtol=1e-6)
    np.testing.assert_allclose(other["loss"], other["class_loss"] + other["box_loss"], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_are_computed_in_float32(dtype):
    anchors, boxes, labels, codes, logits = _batch()
    targets = multibox_targets(boxes, labels, anchors)
    codes, logits = tf.cast(codes, dtype), tf.cast(logits, dtype)
    ours = multibox_loss(targets, codes, logits)["loss"]
    expected = multibox_loss(targets, tf.cast(codes, "float32"), tf.cast(logits, "float32"))["loss"]
    assert ours.dtype == tf.float32
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("jit", [False, True])
def test_compiled_equals_eager(jit):
    anchors, boxes, labels, codes, logits = _batch()

    def run(boxes, labels, codes, logits):
        targets = multibox_targets(boxes, labels, anchors)
        return multibox_loss(targets, codes, logits)["loss"]

    compiled = tf.function(run, jit_compile=jit)(boxes, labels, codes, logits)
    np.testing.assert_allclose(compiled, run(boxes, labels, codes, logits), rtol=1e-5)


def test_smooth_l1():
    ours = smooth_l1(np.float32([-3, -1, -0.5, 0, 0.5, 1, 3]))
    np.testing.assert_allclose(ours, [2.5, 0.5, 0.125, 0, 0.125, 0.5, 2.5])


# --- focal loss


def test_focal_loss_in_numpy():
    anchors, boxes, labels, codes, logits = _batch()
    targets = {k: np.array(v) for k, v in multibox_targets(boxes, labels, anchors).items()}
    ours = multibox_loss(targets, codes, logits, scores="sigmoid", class_loss="focal")
    p = 1 / (1 + np.exp(-logits[..., 1:].astype(np.float64)))
    wanted = targets["classes"][..., None] == np.arange(1, 4)
    p_t = np.where(wanted, p, 1 - p)
    expected = -np.where(wanted, 0.25, 0.75) * (1 - p_t) ** 2 * np.log(p_t)
    positives = targets["positive"].sum()
    np.testing.assert_allclose(ours["class_loss"], expected.sum() / positives, rtol=1e-5)
    mined = multibox_loss(targets, codes, logits)
    np.testing.assert_array_equal(ours["box_loss"], mined["box_loss"])


def test_focal_loss_of_extreme_logits_is_finite():
    anchors, boxes, labels, _, logits = _batch()
    targets = multibox_targets(boxes, labels, anchors)
    loss = focal_cross_entropy(targets["classes"], logits[..., 1:] * 1e4)
    assert loss.shape == logits.shape[:2]
    assert np.isfinite(loss).all()


# --- the options of a box network


def heads_of(network):
    maps = {
        "fine": keras.Input((8, 8, 4), name="fine"),
        "coarse": keras.Input((4, 4, 4), name="coarse"),
    }
    return keras.Model(maps, network(maps, (64, 64)))


def test_the_objective_follows_the_options():
    given = {
        "scores": "sigmoid",
        "matching": "argmax",
        "match_threshold": 0.4,
        "class_loss": "focal",
        "negative_ratio": 5,
        "box_weight": 2.0,
    }
    network = SSD(3, anchors=ScaleAnchors(), **given)
    assert network.objective == MultiBox(**given)
    again = SSD.from_config(network.get_config())
    assert again.objective == network.objective


def test_at_the_start_of_focal_loss_objects_are_rare():
    mined, focal = (
        SSD(3, anchors=ScaleAnchors(), extras=(), scores="sigmoid", class_loss=kind)
        for kind in ("mined", "focal")
    )
    for network, expected in ((mined, 0.5), (focal, 0.01)):
        model = heads_of(network)
        maps = {"fine": np.zeros((1, 8, 8, 4)), "coarse": np.zeros((1, 4, 4, 4))}
        _, scores = network.decode(model(maps))
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_two_objects_that_choose_one_default_box_are_told_apart_by_the_rule():
    """ "bipartite" gives the second one another default box, "argmax" none."""
    network = {
        rule: SSD(2, anchors=ScaleAnchors(), extras=(), matching=rule, match_threshold=0.99)
        for rule in ("bipartite", "argmax")
    }
    boxes = np.float32([[[0.4, 0.4, 0.6, 0.6], [0.41, 0.41, 0.6, 0.6]]])
    found = {}
    for rule, one in network.items():
        heads_of(one)
        found[rule] = np.unique(np.array(one.encode(boxes, np.array([[0, 1]]))["classes"])).tolist()
    assert found == {"bipartite": [0, 1, 2], "argmax": [0, 2]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": "logits"}, "scores must be one of softmax, sigmoid"),
        ({"matching": "bipartit"}, "matching must be one of bipartite, argmax"),
        ({"class_loss": "focal"}, "give scores='sigmoid'"),
    ],
)
def test_options_that_do_not_exist_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SSD(3, anchors=ScaleAnchors(), **options)


def test_the_names_of_before_are_found_or_say_where_they_are():
    from ssd_keras import losses

    assert losses.multibox_loss is multibox_loss
    assert losses.hard_negatives is hard_negatives
    with pytest.raises(AttributeError, match="class_loss='focal'"):
        losses.focal_loss  # noqa: B018


# --- sigmoid scores


def test_sigmoid_multibox_loss_is_binary_cross_entropy_of_the_chosen():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (2, 40, 4)).astype("float32")
    classes = np.where(random.random((2, 40)) < 0.1, random.integers(1, 4, (2, 40)), 0)
    targets = {
        "codes": np.zeros((2, 40, 4), "float32"),
        "classes": classes.astype("int32"),
        "positive": classes > 0,
    }
    ours = multibox_loss(targets, np.zeros((2, 40, 4)), logits, scores="sigmoid")
    p = 1 / (1 + np.exp(-logits[..., 1:].astype("float64")))
    wanted = np.eye(4)[classes][..., 1:]
    cross_entropy = -np.sum(wanted * np.log(p) + (1 - wanted) * np.log(1 - p), axis=-1)
    total = 0.0
    for i in range(2):
        positive = classes[i] > 0
        negatives = np.sort(cross_entropy[i][~positive])[::-1][: 3 * positive.sum()]
        total += cross_entropy[i][positive].sum() + negatives.sum()
    np.testing.assert_allclose(ours["class_loss"], total / (classes > 0).sum(), rtol=1e-5)
