"""Suppression against caffe-ssd's detections and the rule in plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import Suppression, suppression
from ssd_keras.errors import UserError
from tests.boxes.reference import corners, numpy_suppress, random_boxes, y_first


@pytest.fixture(scope="module")
def vectors(shared):
    return np.load(shared("vectors/detect.npz"))


@pytest.fixture(scope="module")
def found(vectors):
    result = box_ops.suppress(y_first(vectors["decoded_xyxy"])[None], vectors["probs"][None, :, 1:])
    return {name: np.array(value)[0] for name, value in result.items()}


@pytest.mark.xla
def test_labels_equal_caffe(vectors, found):
    np.testing.assert_array_equal(found["labels"] + 1, vectors["caffe_label"])


@pytest.mark.xla
def test_scores_equal_caffe(vectors, found):
    np.testing.assert_array_equal(found["scores"], vectors["caffe_score"])


@pytest.mark.xla
def test_boxes_equal_caffe(vectors, found):
    expected = np.clip(y_first(vectors["decoded_xyxy"])[vectors["caffe_prior"]], 0, 1)
    np.testing.assert_array_equal(found["boxes"], expected)


@pytest.mark.xla
def test_count_equals_caffe(found):
    assert found["count"] == 200


@pytest.mark.xla
def test_from_logits_and_codes_equal_caffe(vectors):
    anchors = corners(y_first(vectors["priors_cxcywh"]))
    boxes = box_ops.decode(y_first(vectors["loc"])[None], anchors)
    scores = tf.nn.softmax(vectors["logits"][None])[..., 1:]
    result = box_ops.suppress(boxes, scores)
    np.testing.assert_array_equal(result["labels"][0] + 1, vectors["caffe_label"])
    np.testing.assert_allclose(result["scores"][0], vectors["caffe_score"], atol=1e-6)
    expected = np.clip(y_first(vectors["caffe_box_xyxy"]), 0, 1)
    np.testing.assert_allclose(result["boxes"][0], expected, atol=1e-5)


def test_one_class_equals_caffe(vectors):
    boxes, scores = y_first(vectors["nms_boxes"]), vectors["nms_scores"]
    keep = vectors["nms_keep_caffe_045_top400_s001"]
    result = box_ops.suppress(boxes[None], scores[None, :, None], max_detections=400)
    assert int(result["count"][0]) == len(keep)
    np.testing.assert_array_equal(result["scores"][0, : len(keep)], scores[keep])


def _scene(seed, count, classes, background, ties=False):
    """Boxes `[3, count, 4]` and scores `[3, count, classes]`; larger `background`: fewer count.

    Without `background` all scores are equal.
    """
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 3, count, grid=12 if ties else None)
    if background is None:
        return boxes, np.full((3, count, classes), 0.5, np.float32)
    scores = 1 / (1 + np.exp(background - rng.normal(0, 2, (3, count, classes))))
    if ties:
        scores = np.round(scores * 20) / 20
    return boxes, scores.astype(np.float32)


def _check(result, boxes, scores, **options):
    result = {name: np.array(value) for name, value in result.items()}
    slots = options.get("max_detections", 200)
    for i in range(len(boxes)):
        kept = numpy_suppress(boxes[i], scores[i], **options)
        labels = [label for label, _ in kept]
        n = len(kept)
        assert result["count"][i] == n
        np.testing.assert_array_equal(result["labels"][i], labels + [-1] * (slots - n))
        np.testing.assert_array_equal(
            result["scores"][i, :n], [scores[i, k, label] for label, k in kept]
        )
        picked = np.clip(boxes[i][[k for _, k in kept]].reshape(-1, 4), 0, 1)
        np.testing.assert_array_equal(result["boxes"][i, :n], picked)
        assert not result["scores"][i, n:].any()
        assert not result["boxes"][i, n:].any()


# boxes, classes, background, ties, options: from few candidates to nearly all of them
SCENES = {
    "few": (300, 4, 9, False, {}),
    "many": (300, 4, 3, False, {}),
    "all": (300, 4, 0, False, {}),
    "ties": (200, 3, 1, True, {}),
    "equal": (80, 4, None, False, {}),
    "one class": (600, 1, 0, False, {}),
    "cut before suppression": (300, 4, 0, False, {"max_per_class": 50}),
    "little room": (300, 4, 0, False, {"max_detections": 7}),
    "more room than boxes": (10, 2, 0, False, {"max_detections": 50}),
    "strict": (200, 3, 1, False, {"iou_threshold": 0.1, "score_threshold": 0.3}),
    "lenient": (200, 3, 1, False, {"iou_threshold": 0.9}),
    "crowded": (900, 2, -3, False, {"iou_threshold": 0.05}),
}


@pytest.mark.parametrize("name", SCENES)
def test_equals_the_rule_in_numpy(name):
    *scene, options = SCENES[name]
    boxes, scores = _scene(0, *scene)
    _check(box_ops.suppress(boxes, scores, xla=False, **options), boxes, scores, **options)


XLA_SCENES = ["ties", *(pytest.param(n, marks=pytest.mark.slow) for n in SCENES if n != "ties")]


@pytest.mark.xla
@pytest.mark.parametrize("name", XLA_SCENES)
def test_equals_the_rule_in_numpy_with_xla(name):
    *scene, options = SCENES[name]
    boxes, scores = _scene(11, *scene)
    _check(box_ops.suppress(boxes, scores, **options), boxes, scores, **options)


@pytest.mark.parametrize("size", [pytest.param(5, marks=pytest.mark.slow), 64])
@pytest.mark.parametrize("name", ["few", "ties", "equal", "crowded", "cut before suppression"])
def test_the_size_of_the_chunks_changes_nothing(name, size, monkeypatch):
    *scene, options = SCENES[name]
    boxes, scores = _scene(1, *scene)
    monkeypatch.setattr(suppression, "_CHUNK", size)
    _check(box_ops.suppress(boxes, scores, xla=False, **options), boxes, scores, **options)


@pytest.mark.parametrize(("levels", "classes"), [(1, 4), (3, 1), (40, 4)])
def test_random_sets_full_of_ties_with_more_candidates_than_a_chunk(levels, classes):
    rng = np.random.default_rng(levels)
    boxes = random_boxes(rng, 2, 700, grid=10)
    scores = np.float32(rng.integers(0, levels + 1, (2, 700, classes)) / levels)
    run = tf.function(lambda b, s: box_ops.suppress(b, s, xla=False), autograph=False)
    _check(box_ops.suppress(boxes, scores), boxes, scores)
    _check(run(boxes, scores), boxes, scores)


def test_the_best_of_each_class_are_cut_across_chunks():
    # One class fills the first chunk; after its 400 only the other class has anything left.
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 2, 900) * [0.02, 0.02, 0.02, 0.02]
    scores = np.stack([rng.uniform(0.6, 0.9, (2, 900)), rng.uniform(0.1, 0.5, (2, 900))], -1)
    options = {"max_detections": 600, "iou_threshold": 0.6}
    boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
    _check(box_ops.suppress(boxes, scores, xla=False, **options), boxes, scores, **options)


def test_images_that_need_many_chunks_do_not_disturb_others():
    few, many, none = (_scene(8, 700, 3, background)[1] for background in (9, -3, 40))
    boxes, _ = _scene(8, 700, 3, 0)
    scores = np.stack([few[0], many[1], none[2]])
    _check(box_ops.suppress(boxes, scores, iou_threshold=0.1), boxes, scores, iou_threshold=0.1)


@pytest.mark.parametrize("options", [{}, {"class_agnostic": True}], ids=["usual", "agnostic"])
@pytest.mark.xla
@pytest.mark.slow
def test_with_and_without_xla_are_the_same(options):
    boxes, scores = _scene(9, 600, 4, 1, ties=True)
    first = box_ops.suppress(boxes, scores, **options)
    second = box_ops.suppress(boxes, scores, xla=False, **options)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("ties", [False, True])
def test_class_agnostic_equals_the_rule_on_the_best_class(ties):
    boxes, scores = _scene(10, 600, 4, 2, ties)
    result = box_ops.suppress(boxes, scores, xla=False, class_agnostic=True)
    best = scores.max(2, keepdims=True)
    labels = scores.argmax(2)
    for i in range(3):
        kept = [k for _, k in numpy_suppress(boxes[i], best[i])]
        n = len(kept)
        assert result["count"][i] == n
        np.testing.assert_array_equal(result["labels"][i, :n], labels[i, kept])
        np.testing.assert_array_equal(result["scores"][i, :n], best[i, kept, 0])


@pytest.mark.parametrize("jit", [False, True])
def test_compiled(jit):
    boxes, scores = _scene(2, 150, 3, 2)
    run = tf.function(lambda b, s: box_ops.suppress(b, s), jit_compile=jit)
    _check(run(boxes, scores), boxes, scores)


def test_unknown_batch_size():
    boxes, scores = _scene(3, 100, 3, 2)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 100, n], tf.float32) for n in (4, 3)], autograph=False
    )
    def run(boxes, scores):
        return box_ops.suppress(boxes, scores)

    _check(run(boxes, scores), boxes, scores)


def test_iou_at_the_threshold_is_kept():
    # IoU of exactly 0.5: only a larger one suppresses.
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 1, 0.5]]])
    scores = np.float32([[[0.9], [0.8]]])
    assert int(box_ops.suppress(boxes, scores, iou_threshold=0.5)["count"][0]) == 2
    assert int(box_ops.suppress(boxes, scores, iou_threshold=0.499)["count"][0]) == 1


def test_a_score_at_the_threshold_is_dropped():
    scores = np.float32([[[0.5], [0.25]]])
    boxes = np.float32([[[0, 0, 0.1, 0.1], [0.5, 0.5, 1, 1]]])
    assert int(box_ops.suppress(boxes, scores, score_threshold=0.25)["count"][0]) == 1


def test_boxes_are_clipped_after_suppression():
    # Clipped they would overlap fully; as they are, they don't.
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 3, 1]]])
    result = box_ops.suppress(boxes, np.float32([[[0.9], [0.8]]]))
    np.testing.assert_array_equal(result["boxes"][0, :2], [[0, 0, 1, 1], [0, 0, 1, 1]])


def test_class_agnostic_keeps_one_class_per_place():
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.1, 0.1]]])
    scores = np.float32([[[0.9, 0.8], [0.1, 0.85], [0.2, 0.3]]])
    result = box_ops.suppress(boxes, scores, class_agnostic=True)
    assert int(result["count"][0]) == 2
    np.testing.assert_array_equal(result["labels"][0, :2], [0, 1])
    np.testing.assert_array_equal(result["scores"][0, :2], np.float32([0.9, 0.3]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_boxes_and_scores_that_are_no_numbers_are_dropped(bad):
    boxes, scores = _scene(5, 40, 2, 1)
    broken_boxes, broken_scores = boxes.copy(), scores.copy()
    broken_boxes[:, ::3, 1] = bad
    broken_scores[:, 1::3] = float("nan")
    scores[:, ::3], scores[:, 1::3] = 0, 0
    _check(box_ops.suppress(broken_boxes, broken_scores), boxes, scores)


def test_nothing_found():
    boxes, scores = _scene(6, 20, 2, 1)
    _check(box_ops.suppress(boxes, scores * 0), boxes, scores * 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    boxes, scores = (tf.cast(x, dtype) for x in _scene(7, 50, 2, 1))
    result = box_ops.suppress(boxes, scores)
    assert result["scores"].dtype == tf.float32
    _check(result, *(tf.cast(x, "float32").numpy() for x in (boxes, scores)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score_threshold": -0.1}, "score_threshold must be in 0..1, got -0.1"),
        ({"score_threshold": 1.0}, "score_threshold must be in 0..1, got 1.0"),
        ({"score_threshold": float("nan")}, "score_threshold must be in 0..1, got nan"),
        ({"iou_threshold": "0.5"}, "iou_threshold must be in 0..1, got 0.5"),
        ({"iou_threshold": 1.1}, "iou_threshold must be in 0..1, got 1.1"),
        ({"max_detections": 0}, "max_detections must be at least 1, a whole number, got 0"),
        ({"max_detections": 2.5}, "max_detections must be at least 1, a whole number, got 2.5"),
        ({"max_detections": 1 << 40}, "max_detections must be at most 1,048,576, got"),
        ({"max_per_class": -1}, "max_per_class must be at least 1"),
        ({"iou_treshold": 0.5}, r"no setting of suppression 'iou_treshold'.*'iou_threshold'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Suppression().replace(**given)


def test_settings_change_where_a_value_is_given():
    rule = Suppression(iou_threshold=np.float32(0.5), max_detections=np.int64(7))
    changed = rule.replace(score_threshold=0.3, iou_threshold=None, class_agnostic=True)
    assert changed == Suppression(
        score_threshold=0.3, iou_threshold=0.5, max_detections=7, class_agnostic=True
    )
    assert rule.score_threshold == 0.01
    assert changed.as_dict() == {
        "score_threshold": 0.3,
        "iou_threshold": 0.5,
        "max_detections": 7,
        "class_agnostic": True,
        "max_per_class": 400,
    }
