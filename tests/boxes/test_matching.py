"""Matching: exact against caffe-ssd, against the rule in plain NumPy, and under every compiler."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras.boxes.matching import match_arrays
from tests.boxes import reference
from tests.boxes.reference import numpy_boxes, numpy_match, random_boxes, y_first

CLEAN = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]


@pytest.fixture(scope="module")
def anchors():
    return box_ops.default_boxes(reference.ssd300())


@pytest.fixture(scope="module")
def small_anchors():
    levels = box_ops.tf_od_levels((8, 4, 2, 1))
    return box_ops.default_boxes(levels)


@pytest.fixture(scope="module")
def vectors(shared):
    return np.load(shared("vectors/match_clean.npz"))


@pytest.mark.xla
@pytest.mark.parametrize("case", CLEAN)
def test_clean_sets_equal_the_peers(vectors, case):
    name = vectors["clean_names"][case]
    ours = _match_padded(y_first(vectors[f"{name}/gt_xyxy"]), y_first(vectors["priors_xyxy"]))
    np.testing.assert_array_equal(ours, vectors[f"{name}/matched_gt"])


@pytest.mark.parametrize("case", CLEAN)
def test_codes_of_clean_sets_equal_the_peers(vectors, case):
    name = vectors["clean_names"][case]
    matches = vectors[f"{name}/matched_gt"]
    positive = matches >= 0
    boxes = y_first(vectors[f"{name}/gt_xyxy"])[matches[positive]]
    ours = box_ops.encode(boxes, y_first(vectors["priors_xyxy"])[positive])
    np.testing.assert_allclose(ours, y_first(vectors[f"{name}/encoded_positive"]), atol=1e-4)


@pytest.mark.xla
@pytest.mark.parametrize("case", range(8))
def test_collisions_equal_caffe(vectors, case):
    name = vectors["collision_names"][case]
    ours = _match_padded(y_first(vectors[f"{name}/gt_xyxy"]), y_first(vectors["priors_xyxy"]))
    np.testing.assert_array_equal(ours, vectors[f"{name}/caffe"])


GOLDEN_BOXES = np.float32(
    [[0.1, 0.1, 0.6, 0.5], [0.55, 0.42, 0.62, 0.47], [0.02, 0.05, 0.97, 0.98]]
)
# levels, default boxes matched to each ground truth, and the best one of each where published
GOLDEN = {
    "ssd300": (reference.ssd300(), (14, 1, 8), (8135, 3259, 8729)),
    "ssd512": (reference.ssd512(), (16, 6, 6), (24172, 9587, 24561)),
    "dssd321": (reference.dssd321(), (26, 1, 25), (16265, 7499, 17072)),
    "dssd513": (reference.dssd513(), (21, 3, 10), None),
    "mobilenet300": (reference.mobilenet300(), (14, 1, 5), None),
    "inception500": (reference.inception500(), (13, 6, 6), (20719, 8267, 21029)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_counts(name):
    levels, counts, _ = GOLDEN[name]
    ours = _eager(GOLDEN_BOXES[None], box_ops.default_boxes(levels))[0]
    assert tuple(np.bincount(ours[ours >= 0], minlength=3)) == counts


@pytest.mark.parametrize("name", [n for n in GOLDEN if GOLDEN[n][2]])
def test_golden_best_default_boxes(name):
    levels, _, best = GOLDEN[name]
    anchors = box_ops.default_boxes(levels)
    overlaps = np.array(box_ops.iou(GOLDEN_BOXES, anchors))
    assert tuple(overlaps.argmax(1)) == best
    ours = _eager(GOLDEN_BOXES[None], anchors, threshold=2.0)[0]
    assert tuple(np.flatnonzero(ours == i).item() for i in range(3)) == best


def test_golden_overlaps_and_code():
    anchors = box_ops.default_boxes(reference.ssd300())
    overlaps = np.array(box_ops.iou(GOLDEN_BOXES, anchors)).max(1)
    np.testing.assert_allclose(overlaps, [0.773722, 0.35, 0.956169], atol=1e-6)
    code = box_ops.encode(GOLDEN_BOXES[:1], anchors[8135:8136])
    np.testing.assert_allclose(code, [[-0.52201, 0.74573, 0.56036, -0.55536]], atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("grid", [None, 4, 16])
def test_equals_the_rule_in_numpy(small_anchors, count, grid):
    boxes = random_boxes(np.random.default_rng(count), 12, count, grid=grid)
    boxes[1] = boxes[1, :1]
    boxes[2] = small_anchors[: count * 3 : 3]
    ours = _eager(boxes, small_anchors)
    expected = np.stack([numpy_match(b, small_anchors) for b in boxes])
    np.testing.assert_array_equal(ours, expected)


def test_more_boxes_than_default_boxes():
    anchors = box_ops.default_boxes(box_ops.tf_od_levels((2, 1)))
    boxes = random_boxes(np.random.default_rng(0), 6, 50, grid=6)
    expected = np.stack([numpy_match(b, anchors) for b in boxes])
    np.testing.assert_array_equal(_eager(boxes, anchors), expected)


def test_a_loser_may_win_later_and_displace_others():
    # Each box prefers the first default box, then the next one: a chain of displacements.
    anchors = np.float32([[0, 0, 0.5, 0.1 * k] for k in (4, 5, 6, 7)])
    boxes = np.float32([[[0, 0, 0.5, 0.1 * k] for k in (4.4, 4.3, 4.2, 4.1)]])
    expected = numpy_match(boxes[0], anchors)
    assert sorted(expected) == [0, 1, 2, 3]
    np.testing.assert_array_equal(_eager(boxes, anchors)[0], expected)


@pytest.mark.parametrize("rule", ["bipartite", "argmax"])
def test_equal_overlaps_take_the_lowest_indices(rule):
    # Four quarter boxes tie for the whole image, and the two ground truths are one and the same.
    anchors = np.float32([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
    boxes = np.float32([[0, 0, 1, 1], [0, 0, 1, 1]])
    expected = [0, 1, -1, -1] if rule == "bipartite" else [0, -1, -1, -1]
    np.testing.assert_array_equal(_eager(boxes[None], anchors, rule=rule)[0], expected)


def test_argmax_rule_in_numpy(small_anchors):
    boxes = random_boxes(np.random.default_rng(5), 20, 12, grid=8)
    ours = _eager(boxes, small_anchors, rule="argmax")
    for result, image in zip(ours, boxes, strict=True):
        overlaps = numpy_boxes(small_anchors, image)
        expected = np.where(overlaps.max(1) >= 0.5, overlaps.argmax(1), -1)
        best = np.where(overlaps.max(0) > 1e-6, overlaps.argmax(0), -1)
        for anchor in set(best) - {-1}:
            claims = np.flatnonzero(best == anchor)
            expected[anchor] = claims[overlaps[anchor, claims].argmax()]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_every_default_box_above_the_threshold_is_matched(anchors, threshold):
    boxes = random_boxes(np.random.default_rng(3), 2, 10)
    ours = _eager(boxes, anchors, threshold=threshold)
    best = np.array(box_ops.iou(anchors, boxes)).max(2)
    assert (ours[best >= threshold] >= 0).all()
    assert (ours[best < threshold] >= 0).sum() <= boxes.shape[0] * boxes.shape[1]


def test_padding_changes_nothing(anchors):
    boxes = random_boxes(np.random.default_rng(4), 4, 6)
    padded = np.full((4, 17, 4), -1, np.float32)
    padded[:, :6] = boxes
    np.testing.assert_array_equal(_eager(padded, anchors), _eager(boxes, anchors))


# With XLA a batch is matched in two halves, each compiled for its size.
@pytest.mark.xla
@pytest.mark.parametrize("images", [8, 9])
@pytest.mark.slow
def test_the_order_of_the_images_changes_nothing(anchors, images):
    boxes = random_boxes(np.random.default_rng(5), images, 6)
    order = np.random.default_rng(6).permutation(images)
    ours = np.array(box_ops.match(boxes, anchors))
    np.testing.assert_array_equal(box_ops.match(boxes[order], anchors), ours[order])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [
        [-1, -1, -1, -1],
        [0.5, 0.5, 0.5, 0.5],
        [0.2, 0.3, 0.2, 0.8],
        [0.8, 0.8, 0.2, 0.2],
        [NAN, NAN, NAN, NAN],
        [0.1, 0.1, NAN, 0.5],
        [-INF, -INF, INF, INF],
        [3, 3, 4, 4],
    ],
)
@pytest.mark.parametrize("rule", ["bipartite", "argmax"])
def test_nothing_is_matched_to(anchors, box, rule):
    good = [0.1, 0.1, 0.6, 0.5]
    ours = _eager(np.float32([[box, good]]), anchors, rule=rule)[0]
    alone = _eager(np.float32([[good]]), anchors, rule=rule)[0]
    np.testing.assert_array_equal(ours, np.where(alone >= 0, 1, -1))


@pytest.mark.parametrize("shape", [(3, 0, 4), (3, 2, 4), (0, 4)])
def test_images_without_boxes_match_nothing(small_anchors, shape):
    ours = np.array(box_ops.match(np.full(shape, -1, np.float32), small_anchors))
    np.testing.assert_array_equal(ours, np.full((*shape[:-2], len(small_anchors)), -1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_boxes_are_compared_in_float32(small_anchors, dtype):
    boxes = tf.cast(random_boxes(np.random.default_rng(7), 3, 5), dtype)
    expected = box_ops.match(tf.cast(boxes, "float32"), small_anchors)
    np.testing.assert_array_equal(box_ops.match(boxes, small_anchors), expected)


def test_misspelt_rule_suggests_the_right_one(small_anchors):
    with pytest.raises(ValueError, match="Did you mean 'bipartite'"):
        box_ops.match(np.zeros((1, 4), np.float32), small_anchors, rule="bipartit")


@pytest.mark.slow
@pytest.mark.xla
def test_eager_compiled_and_xla_give_the_same_on_sets_full_of_ties(small_anchors):
    rng = np.random.default_rng(8)
    boxes = tf.constant(np.concatenate([random_boxes(rng, 50, 12, grid=g) for g in (6, 16)]))
    constants = [tf.constant(small_anchors), tf.transpose(small_anchors)]

    def plain(boxes):
        return match_arrays(boxes, *constants, threshold=0.5, rule="bipartite")

    expected = np.stack([numpy_match(b, small_anchors) for b in boxes.numpy()])
    np.testing.assert_array_equal(box_ops.match(boxes, small_anchors), expected)
    np.testing.assert_array_equal(plain(boxes), expected)
    np.testing.assert_array_equal(tf.function(plain)(boxes), expected)
    np.testing.assert_array_equal(tf.function(plain, jit_compile=True)(boxes), expected)


def test_unknown_batch_size(small_anchors):
    boxes = random_boxes(np.random.default_rng(9), 5, 6)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 4], tf.float32)])
    def run(boxes):
        return box_ops.match(boxes, small_anchors)

    np.testing.assert_array_equal(run(boxes), box_ops.match(boxes, small_anchors))


def _eager(boxes, anchors, threshold=0.5, rule="bipartite"):
    """`match` without compiling, for tests of many shapes."""
    anchors = tf.constant(anchors)
    result = match_arrays(
        tf.constant(boxes), anchors, tf.transpose(anchors), threshold=threshold, rule=rule
    )
    return result.numpy()


def _match_padded(boxes, anchors):
    """Matches one image whose boxes are padded to a common number, so that shapes repeat."""
    padded = np.full((1, 32, 4), -1, np.float32)
    padded[0, : len(boxes)] = boxes
    return np.array(box_ops.match(padded, anchors))[0]
