"""Detectors of the TF Object Detection API compute what TensorFlow computes with their graphs."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.box_networks import ListedAnchors, ScaleAnchors
from ssd_keras.boxes import Suppression
from ssd_keras.data import read_image
from ssd_keras.errors import UserError
from ssd_keras.resizing import resize
from ssd_keras.weights import (
    api_families,
    api_names,
    object_detection_api,
    tensorflow_files,
)
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.api_graph_facts import graph_facts
from ssd_keras.weights.importing import import_detector
from tests.weights import api_graphs

pytestmark = pytest.mark.eager
PERSON = "weights/ssdlite_mobilenet_v2_person_frozen_graph.pb"
IMAGES = np.random.default_rng(1).integers(0, 256, (1, 128, 128, 3)).astype("float32")

GRAPHS = {
    "MobileNet v1, 0.25": lambda: api_graphs.mobilenet_v1(),
    "MobileNet v1, 0.5, 3x3 heads, another epsilon": lambda: api_graphs.mobilenet_v1(
        width=0.5, kernel=3, epsilon=1e-2
    ),
    "Inception v2": lambda: api_graphs.inception_v2(),
}


@pytest.mark.parametrize("build", GRAPHS.values(), ids=GRAPHS.keys())
def test_raw_outputs_are_those_of_the_graph(build, tmp_path):
    data = build()
    (tmp_path / "x.pb").write_bytes(data)
    imported = import_detector(tmp_path / "x.pb")
    codes, logits = api_graphs.run(data, IMAGES)
    ours = imported.detector(IMAGES)
    np.testing.assert_allclose(ours["boxes"], codes, atol=1e-4)
    np.testing.assert_allclose(ours["classes"], logits, atol=1e-4)
    assert imported.unused == ()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["large", "small"])
def test_raw_outputs_of_mobilenet_v3_are_those_of_the_graph(kind, tmp_path):
    data = api_graphs.mobilenet_v3(kind)
    (tmp_path / "x.pb").write_bytes(data)
    imported = import_detector(tmp_path / "x.pb")
    assert imported.detector.name == f"SSDLite_MobileNetV3{kind.title()}Reduced_96"
    images = IMAGES[:, :96, :96]
    ours = imported.detector.predict_on_batch(images)
    for key, wanted in zip(("boxes", "classes"), api_graphs.run(data, images), strict=True):
        found = ours[key]
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    assert imported.unused == ()


@pytest.fixture(scope="module")
def person(shared):
    return import_detector(shared(PERSON))


@pytest.fixture(scope="module")
def photographs(shared):
    paths = sorted(shared("data/coco_subset/val/images").iterdir())[:5]
    return np.stack([resize(read_image(path), (300, 300)) for path in paths]).round()


@pytest.fixture(scope="module")
def graphs_outputs(shared, photographs):
    """What TensorFlow computes with the published graph."""
    names = ("concat", "concat_1", "detection_boxes", "detection_scores", "num_detections")
    data = shared(PERSON).read_bytes()
    return api_graphs.run(data, photographs.astype(np.uint8), [f"{name}:0" for name in names])


def test_a_published_detector_computes_what_its_graph_computes(person, photographs, graphs_outputs):
    codes, logits = graphs_outputs[:2]
    ours = person.detector(photographs)
    np.testing.assert_allclose(ours["boxes"], codes.reshape(5, -1, 4), atol=1e-4)
    np.testing.assert_allclose(ours["classes"], logits, atol=1e-4)


def test_a_published_detector_finds_what_its_graph_finds(person, photographs, graphs_outputs):
    boxes, scores, counts = graphs_outputs[2:]
    assert person.detector.suppression == Suppression(**person.suppression)
    found = person.detector.detect(photographs)
    for ours, box, score, count in zip(found, boxes, scores, counts.astype(int), strict=True):
        assert len(ours) == count
        np.testing.assert_allclose(ours.scores, score[:count], atol=1e-4)
        # Boxes whose scores differ by rounding alone may have changed places.
        gaps = np.abs(np.diff(score[:count], prepend=2, append=-1)) > 1e-6
        clear = gaps[:-1] & gaps[1:]
        assert clear.mean() > 0.5
        np.testing.assert_allclose(ours.boxes[clear], box[:count][clear], atol=1 / 300)


@pytest.mark.slow
def test_photographs_of_any_size_are_seen_as_the_graph_sees_them(person, shared):
    """The graph resizes by itself; half-pixel centres would change the best scores by up to 0.1."""
    for path in sorted(shared("data/coco_subset/val/images").iterdir())[:2]:
        image = read_image(path)
        names = ("detection_boxes:0", "detection_scores:0", "num_detections:0")
        box, score, count = api_graphs.run(shared(PERSON).read_bytes(), image[None], names)
        assert image.shape[:2] != (300, 300)
        found = person.detector.detect(image)
        assert len(found) == int(count[0])
        np.testing.assert_allclose(found.scores, score[0, : len(found)], atol=1e-4)
        clear = found.scores > 0.1
        np.testing.assert_allclose(found.boxes[clear], box[0, : len(found)][clear], atol=1e-4)


def test_every_tensor_of_a_published_detector_is_used(person):
    assert person.unused == ()
    assert sum(map(len, person.mapped.values())) == 404


def test_what_the_graph_says_beside_its_weights_comes_along(person):
    network = person.detector.box_network
    assert person.detector.name == "SSDLite_MobileNetV2_300"
    assert network.scores == "sigmoid"
    assert network.variances == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert network.anchor_rule == ScaleAnchors()
    assert person.suppression == {
        "score_threshold": 1e-8,
        "iou_threshold": 0.6,
        "max_detections": 100,
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(a frozen graph's tensors, what the imported detector predicts)."""
    path = tmp_path_factory.mktemp("graph") / "x.pb"
    path.write_bytes(api_graphs.mobilenet_v1())
    predicted = import_detector(path).detector(IMAGES)
    return tensorflow_files.read_frozen_graph(path).variables, predicted


def assert_same(imported, predicted):
    ours = imported.detector(IMAGES)
    for key in ("boxes", "classes"):
        np.testing.assert_allclose(ours[key], predicted[key], atol=1e-5)


def test_tf1_checkpoints_are_read_without_optimizer_state(small, tmp_path):
    variables, predicted = small
    saved = {**variables, "global_step": np.int64(7)}
    saved |= {f"{name}/RMSProp": array for name, array in variables.items()}
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=list(saved),
        shape_and_slices=[""] * len(saved),
        tensors=list(saved.values()),
    )
    assert_same(import_detector(tmp_path / "model.ckpt", image_size=(128, 128)), predicted)


def keras_names(variables):
    """TF1's names as the Keras layers of the API's TF2 models name their variables."""
    renamed = {}
    for name, array in variables.items():
        new = name.replace("FeatureExtractor/MobilenetV1/", "")
        new = new.replace("BoxPredictor_", "BoxPredictor/ConvolutionalBoxHead_")
        if "ClassPredictor" in new:
            new = new.replace("BoxHead", "ClassHead")
        extra = "_Conv2d_" in new
        if not extra:
            new = new.replace("Conv2d_0/", "conv1/")
            for i in range(13, 0, -1):
                new = new.replace(f"Conv2d_{i}_depthwise", f"conv_dw_{i}")
                new = new.replace(f"Conv2d_{i}_pointwise", f"conv_pw_{i}")
        new = new.replace("/BatchNorm/", "_batchnorm/" if extra else "_bn/")
        new = new.replace("/weights", "_conv/kernel" if extra else "/kernel")
        new = new.replace("/depthwise_weights", "/depthwise_kernel").replace("/biases", "/bias")
        renamed[new] = array
    return renamed


@pytest.mark.parametrize("kind", ["checkpoint", "SavedModel"])
def test_tf2_files_are_read_by_the_names_of_their_layers(small, tmp_path, kind):
    variables, predicted = small
    module = tf.Module()
    module.parts = [tf.Variable(array, name=name) for name, array in keras_names(variables).items()]
    if kind == "checkpoint":
        tf.train.Checkpoint(model=module).save(str(tmp_path / "ckpt"))
    else:
        tf.saved_model.save(module, str(tmp_path))
    assert_same(import_detector(tmp_path, image_size=(128, 128)), predicted)


def test_class_numbers_without_a_name_are_left_out(small, tmp_path):
    _, predicted = small
    (tmp_path / "x.pb").write_bytes(api_graphs.mobilenet_v1())
    (tmp_path / "labels.txt").write_text("???\ncat\n???\ndog\n")
    imported = import_detector(tmp_path / "x.pb", labels=tmp_path / "labels.txt")
    assert imported.detector.classes == ("cat", "dog")
    ours = imported.detector(IMAGES)["classes"]
    np.testing.assert_allclose(ours, np.asarray(predicted["classes"])[..., [0, 1, 3]], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("FeatureExtractor/MobilenetV1/Conv2d_3_pointwise/weights"), "conv_pw_3"),
        (lambda v: v.pop("FeatureExtractor/MobilenetV1/Conv2d_0/BatchNorm/beta"), "lacks its beta"),
        (lambda v: v.update({"BoxPredictor_0/Conv2d_0/weights": np.ones(3, "f4")}), "no place"),
        (lambda v: v.pop("BoxPredictor_2/ClassPredictor/biases"), "level 2 lacks"),
        (lambda v: v.clear(), "not those of an SSD"),
    ],
    ids=["missing layer", "missing part", "unknown layer", "missing head", "nothing"],
)
def test_what_does_not_fit_is_an_error_that_names_it(small, change, message):
    variables = dict(small[0])
    change(variables)
    file = tensorflow_files.TensorFlowFile(variables)
    with pytest.raises(UserError, match=message):
        object_detection_api.import_tensors(file, "test", Facts(), image_size=(128, 128))


def anchor_constants(levels):
    """Constants as the API's anchor generator leaves them in a graph."""
    constants = {}
    for i, (scales, ratios) in enumerate(levels):
        root = "MultipleGridAnchorGenerator"
        constants[f"{root}/Sqrt{f'_{i}' if i else ''}/x"] = np.array(ratios, "f4")
        constants[f"{root}/truediv_{14 + i}/x"] = np.array(scales, "f4")
        constants[f"{root}/mul_{15 + i}/x"] = np.array(scales, "f4")
    return constants


def test_default_boxes_that_follow_no_rule_are_listed():
    levels = [([0.1, 0.15], [1.0, 2.0]), ([0.3, 0.5], [1.0, 0.5])]
    file = tensorflow_files.TensorFlowFile({}, anchor_constants(levels))
    rule = graph_facts(file).anchors
    assert isinstance(rule, ListedAnchors)
    np.testing.assert_allclose(
        rule.sizes,
        [
            [(0.1, 0.1), (0.15 / 2**0.5, 0.15 * 2**0.5)],
            [(0.3, 0.3), (0.5 * 2**0.5, 0.5 / 2**0.5)],
        ],
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("scope", "layer"),
    [
        ("Conv", "conv"),
        ("Conv_1", "conv_1"),
        ("expanded_conv/depthwise", "expanded_conv_depthwise"),
        ("expanded_conv_12/expand", "expanded_conv_12_expand"),
        ("expanded_conv_3/squeeze_excite/Conv", "expanded_conv_3_squeeze_excite_conv"),
        ("expanded_conv_3/squeeze_excite/Conv_1", "expanded_conv_3_squeeze_excite_conv_1"),
        ("layer_17_2_Conv2d_5_3x3_s2_128_depthwise", "extra1_depthwise"),
        ("Conv_2", None),
        ("expanded_conv_1/shortcut", None),
    ],
)
@pytest.mark.parametrize("in_norm", [False, True])
def test_each_scope_of_mobilenet_v3_has_one_layer(scope, layer, in_norm):
    name = f"FeatureExtractor/MobilenetV3/{scope}"
    found = api_names.our_layer(name, in_norm, api_families._FAMILIES["MobilenetV3"], [5])
    assert found == (f"{layer}_bn" if layer and in_norm else layer)


def test_a_graph_for_tflites_converter_says_the_same_in_its_own_way(tmp_path):
    table = np.random.default_rng(0).uniform(size=(9, 4)).astype("f4")
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.placeholder(tf.float32, (1, 320, 256, 3), "normalized_input_image_tensor")
        tf.constant(table, name="anchors")
        tf.sigmoid(tf.constant(np.ones(3, "f4"), name="a/weights"), name="convert_scores")
    definition = graph.as_graph_def()
    end = definition.node.add(op="TFLite_Detection_PostProcess", name="end")
    numbers = {"nms_score_threshold": 0.3, "nms_iou_threshold": 0.55}
    scales = {"y_scale": 10, "x_scale": 8, "h_scale": 5, "w_scale": 4}
    for name, value in {**numbers, **scales}.items():
        end.attr[name].f = value
    end.attr["max_detections"].i = 10
    (tmp_path / "x.pb").write_bytes(definition.SerializeToString())
    facts = graph_facts(tensorflow_files.read_frozen_graph(tmp_path / "x.pb"))
    assert facts.image_size == (320, 256)
    assert facts.scores == "sigmoid"
    assert facts.variances == pytest.approx((0.1, 0.125, 0.2, 0.25))
    assert facts.suppression == {"score_threshold": 0.3, "iou_threshold": 0.55}
    np.testing.assert_array_equal(facts.anchor_table, table)
