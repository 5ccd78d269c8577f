"""Post-processing models against the library's own decoding and suppression."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

from ssd_keras import boxes
from ssd_keras.deploy import postprocess
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.decoding import DefaultBoxes, anchor_centers
from ssd_keras.deploy.postprocess import Suppression
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.errors import UserError

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def anchors(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    centers, sides = rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.5, (count, 2))
    return np.concatenate([centers - sides / 2, centers + sides / 2], 1).astype(np.float32)


def predictions(num_anchors: int, num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (1, num_anchors, num_classes + 1))
    return {
        "boxes": rng.normal(0, 1, (1, num_anchors, 4)).astype(np.float32),
        "classes": logits.astype(np.float32),
    }


def runner(model: bytes, threads: int = 1):
    """The model as a function from predictions to a dict of outputs."""
    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    serve = interpreter.get_signature_runner("serving_default")
    return lambda raw: {key: np.array(value) for key, value in serve(**raw).items()}


def expected(raw, places, suppression: Suppression) -> dict[str, np.ndarray]:
    found = boxes.suppress(
        boxes.decode(raw["boxes"], places, VARIANCES),
        tf.nn.softmax(raw["classes"])[..., 1:],
        **suppression.as_dict(),
    )
    return {key: np.asarray(value)[0] for key, value in found.items()}


@pytest.mark.parametrize(
    ("num_anchors", "num_classes", "suppression"),
    [
        (300, 1, Suppression()),
        (600, 3, Suppression()),
        (600, 3, Suppression(max_detections=7, score_threshold=0.3, iou_threshold=0.6)),
        (900, 10, Suppression()),
        (700, 21, Suppression(score_threshold=0.2)),
        (200, 80, Suppression(score_threshold=0.2)),
        (600, 3, Suppression(class_agnostic=True)),
        (300, 21, Suppression(class_agnostic=True, iou_threshold=0.3, max_per_class=50)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_builtin_is_the_librarys_suppression(num_anchors, num_classes, suppression, threads):
    model, wanted = _builtin(num_anchors, num_classes, suppression)
    found = runner(model, threads)(predictions(num_anchors, num_classes))
    count = int(wanted["count"])
    assert count > 5
    assert found["num_detections"] == [count]
    np.testing.assert_allclose(found["detection_scores"][0], wanted["scores"], atol=1e-6)
    np.testing.assert_array_equal(found["detection_classes"][0][:count], wanted["labels"][:count])
    np.testing.assert_allclose(found["detection_boxes"][0], wanted["boxes"], atol=2e-6)


@functools.cache
def _builtin(num_anchors, num_classes, suppression: Suppression) -> tuple[bytes, dict]:
    """The model and what it should find."""
    places = anchors(num_anchors)
    return (
        postprocess.postprocess(
            "builtin", DefaultBoxes(places, num_classes), suppression=suppression
        ),
        expected(predictions(num_anchors, num_classes), places, suppression),
    )


def test_with_many_classes_the_best_candidates_of_all_are_taken(monkeypatch):
    monkeypatch.setattr(postprocess, "MAX_CANDIDATES", 50)
    raw = predictions(200, 12)
    model = postprocess.postprocess("builtin", DefaultBoxes(anchors(200), 12))
    scores = np.sort(np.asarray(tf.nn.softmax(raw["classes"])[..., 1:]).ravel())
    found = runner(model)(raw)["detection_scores"][0]
    found = found[found > 0]
    wanted = expected(raw, anchors(200), Suppression())["scores"]
    assert found.min() >= scores[-50]
    np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-6)


def test_a_crowded_class_leaves_room_for_the_others():
    """As in the library, boxes of a class beyond its best 400 are not looked at."""
    raw, places = predictions(1200, 12), anchors(1200)
    raw["classes"][..., 3] += 6
    suppression = Suppression(iou_threshold=0.1)
    model = postprocess.postprocess("builtin", DefaultBoxes(places, 12), suppression)
    wanted = expected(raw, places, suppression)
    found = runner(model)(raw)
    np.testing.assert_allclose(found["detection_scores"][0], wanted["scores"], atol=1e-6)
    np.testing.assert_array_equal(found["detection_classes"][0], wanted["labels"])


@pytest.mark.parametrize("kind", ["builtin", "op"])
def test_a_threshold_of_0_leaves_boxes_that_do_not_touch(kind):
    raw = {
        "boxes": np.zeros((1, 3, 4), np.float32),
        "classes": np.array([[[0, 5, 0], [0, 4, 0], [0, 3, 0]]], np.float32),
    }
    # The second lies on the first, the third beside them.
    places = np.array([[0, 0, 0.2, 0.2], [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]], np.float32)
    suppression = Suppression(iou_threshold=0.0, score_threshold=0.5)
    model = postprocess.postprocess(kind, DefaultBoxes(places, 2), suppression)
    found = runner(model)(raw)
    assert found["num_detections"] == [2]
    np.testing.assert_allclose(found["detection_boxes"][0][:2], places[[0, 2]], atol=1e-6)


def test_builtin_uses_no_custom_operator():
    model, _ = _builtin(600, 3, Suppression())
    assert not [name for name in TFLiteFile(model).operators() if name.startswith("custom")]


@pytest.mark.parametrize("kind", ["builtin", "op"])
def test_slots_beyond_the_count_are_zero_after_a_fuller_image(kind):
    places = anchors(100)
    suppression = Suppression(max_detections=20, score_threshold=0.5)
    model = postprocess.postprocess(kind, DefaultBoxes(places, 3), suppression=suppression)
    full, empty = predictions(100, 3), predictions(100, 3)
    empty["classes"][..., 0] += 50
    serve = runner(model)
    assert serve(full)["num_detections"] > 10
    found = serve(empty)
    assert found["num_detections"] == [0]
    for name in ("detection_boxes", "detection_classes", "detection_scores"):
        assert not found[name].any(), name


def test_memory_that_was_never_written_becomes_zero():
    def function(scores):
        boxes = tf.tile(scores[..., None], [1, 1, 4])
        return postprocess._without_leftovers(boxes, scores, scores, tf.constant([2.0]))

    serve = runner(convert(function, tf.TensorSpec([1, 4], tf.float32, "scores")))
    found = serve({"scores": np.array([[0.9, 0.8, np.nan, np.inf]], np.float32)})
    np.testing.assert_allclose(found["detection_scores"], [[0.9, 0.8, 0, 0]])
    np.testing.assert_allclose(found["detection_boxes"][0, :, 3], [0.9, 0.8, 0, 0])


@pytest.mark.parametrize("kind", ["builtin", "op"])
def test_boxes_are_clipped_to_the_image(kind):
    found = runner(postprocess.postprocess(kind, DefaultBoxes(anchors(300), 2)))(
        predictions(300, 2)
    )
    assert found["detection_boxes"].min() == 0
    assert found["detection_boxes"].max() == 1


def test_op_decodes_like_the_library():
    places, raw = anchors(300), predictions(300, 3)
    suppression = Suppression(max_detections=1)
    found = runner(postprocess.postprocess("op", DefaultBoxes(places, 3), suppression=suppression))(
        raw
    )
    wanted = expected(raw, places, suppression)
    np.testing.assert_allclose(found["detection_boxes"][0], wanted["boxes"], atol=2e-6)
    assert found["detection_classes"][0] == wanted["labels"]


@pytest.mark.parametrize("threshold", [1e-8, 1.5e-5, 0.3])
def test_thresholds_reach_the_operator_unrounded(threshold):
    suppression = Suppression(score_threshold=threshold, iou_threshold=0.6)
    options = _options(
        postprocess.postprocess("op", DefaultBoxes(anchors(50), 2), suppression=suppression)
    )
    assert np.float32(options["nms_score_threshold"]) == np.float32(threshold)
    assert np.float32(options["nms_iou_threshold"]) == np.float32(0.6)
    assert np.float32(options["y_scale"]) == 10
    assert np.float32(options["h_scale"]) == 5
    assert options["num_classes"] == 2


def _options(model: bytes) -> dict:
    (operator,) = (
        operator
        for operator in TFLiteFile(model).graph.operators
        if operator.customOptions is not None and len(operator.customOptions)
    )
    return flexbuffers.Loads(bytearray(operator.customOptions))


def test_the_operators_per_class_mode_is_not_used():
    options = _options(postprocess.postprocess("op", DefaultBoxes(anchors(50), 2)))
    assert not options["use_regular_nms"]


def test_the_operators_per_class_mode_loses_a_class_with_two_threads():
    """Why it is not used: a known fault of the runtime. If this fails, it has been mended."""
    raw, places = predictions(300, 4), anchor_centers(anchors(300))
    tag = postprocess.op_tag(4, VARIANCES, Suppression(max_detections=100))
    tag = tag.replace("b: false", "b: true")

    @tf.function(experimental_implements=tag, autograph=False)
    def operator(codes, scores, anchors):
        return tf.zeros([1, 100, 4]), tf.zeros([1, 100]), tf.zeros([1, 100]), tf.zeros([1])

    def function(boxes, classes):
        found = operator(boxes, tf.nn.softmax(classes), tf.constant(places))
        return dict(zip(postprocess.DETECTION_OUTPUTS, found, strict=True))

    specs = [tf.TensorSpec(value.shape, tf.float32, key) for key, value in raw.items()]
    model = convert(function, specs, allow_custom_ops=True)
    seen = {}
    for threads in (1, 2):
        found = runner(model, threads)(raw)
        used = int(found["num_detections"][0])
        seen[threads] = set(found["detection_classes"][0][:used])
    assert seen == {1: {0, 1, 2, 3}, 2: {0, 1, 3}}


def test_none_gives_codes_and_probabilities_without_background():
    raw = predictions(40, 3)
    found = runner(postprocess.postprocess("none", DefaultBoxes(anchors(40), 3)))(raw)
    np.testing.assert_array_equal(found["boxes"], raw["boxes"])
    wanted = np.exp(raw["classes"]) / np.exp(raw["classes"]).sum(-1, keepdims=True)
    np.testing.assert_allclose(found["scores"], wanted[..., 1:], atol=1e-6)


@pytest.mark.parametrize("num_classes", [1, 2, 3, 10, 80, 91])
def test_classes_are_moved_apart(num_classes):
    offsets = postprocess.class_offsets(num_classes)
    gaps = np.abs(offsets[:, None] - offsets[None]).max(-1)
    assert gaps[~np.eye(num_classes, dtype=bool)].min(initial=4.0) >= 4.0
    assert np.abs(offsets).max() <= 2 * np.ceil(np.sqrt(num_classes))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"max_detections": 0}, "max_detections must be at least 1"),
        ({"score_threshold": 1.0}, "score_threshold must be in 0..1"),
        ({"iou_threshold": -0.1}, "iou_threshold must be in 0..1"),
    ],
)
def test_wrong_settings(fault, message):
    with pytest.raises(UserError, match=message):
        Suppression(**fault)


def test_unknown_kind_suggests_the_right_one():
    with pytest.raises(UserError, match=r"'buildin'.*Did you mean 'builtin'"):
        postprocess.postprocess("buildin", DefaultBoxes(anchors(10), 2))
