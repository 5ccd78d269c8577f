"""FPN detectors of the TF Object Detection API, written under the names that the API gives."""

import re

import numpy as np
import pytest
import tensorflow as tf

import ssd_keras
from ssd_keras.backbones import resnet50
from ssd_keras.box_networks import MultiscaleAnchors, ScaleAnchors
from ssd_keras.errors import UserError
from ssd_keras.weights import api_facts, api_fpn
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.importing import import_detector
from ssd_keras.weights.keras_files import layers_with_weights
from ssd_keras.weights.tensorflow_files import TensorFlowFile

CONFIG = """
model { ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: 96 width: 96 } }
  feature_extractor { conv_hyperparams { activation: RELU_6 batch_norm { epsilon: 0.001 } } }
  box_coder { faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5 width_scale: 5 } }
  anchor_generator { multiscale_anchor_generator { anchor_scale: 3.0 scales_per_octave: 2 } }
  post_processing {
    batch_non_max_suppression { score_threshold: 1e-8 iou_threshold: 0.55 max_total_detections: 90 }
    score_converter: SIGMOID
  }
} }
"""
IMAGES = np.random.default_rng(1).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
# Our layers and what the API calls them.
NAMES = (
    (r"fpn(\d)_lateral", lambda m: f"FeatureMaps/top_down/projection_{int(m[1]) + 1}"),
    (r"fpn(\d)_smooth", lambda m: f"FeatureMaps/top_down/smoothing_{int(m[1]) + 1}{{}}"),
    (r"fpn(\d)_coarse", lambda m: f"bottom_up_Conv2d_{int(m[1]) + 11}{{}}"),
    (
        r"predictor_(box_|class_|)tower(\d)_level(\d)",
        lambda m: f"{m[1][:-1].title()}PredictionTower/conv2d_{m[2]}/BatchNorm/feature_{m[3]}",
    ),
    (
        r"predictor_(box_|class_|)tower(\d)",
        lambda m: f"{m[1][:-1].title()}PredictionTower/conv2d_{m[2]}",
    ),
    (r"predictor_boxes", lambda m: "WeightSharedConvolutionalBoxHead/BoxPredictor"),
    (r"predictor_classes", lambda m: "WeightSharedConvolutionalClassHead/ClassPredictor"),
)


def api_name(layer, weight):
    """The API's name of a weight of ours."""
    part = weight.name
    stem = re.sub(r"(_depthwise)?(_bn)?$", "", layer.name)
    for pattern, name in NAMES:
        if match := re.fullmatch(pattern, stem):
            if layer.name.endswith("_depthwise"):
                part = "depthwise_kernel"
            elif part == "kernel" and weight.shape[:2] == (1, 1) and "lateral" not in stem:
                part = "pointwise_kernel"
            ending = "_batchnorm" if layer.name.endswith("_bn") else "_conv"
            scope = name(match).format(ending)
            if "Predict" in scope:
                scope = f"WeightSharedConvolutionalBoxPredictor/{scope}"
            return f"{scope}/{part}"
    part = "depthwise_kernel" if "_dw_" in layer.name and part == "kernel" else part
    return f"{layer.name}/{part}"


def tensors_of(detector):
    return {
        api_name(layer, weight): np.asarray(weight)
        for layer in layers_with_weights(detector).values()
        for weight in layer.weights
    }


def api_resnet50(image_size):
    return resnet50(image_size, width=0.25, version="api", finest_stride=8)


def random_detector(name, **options):
    backbone = api_resnet50 if "ResNet50" in name else None
    detector = ssd_keras.create(
        f"{name}_96", ["a", "b", "c"], width=0.25, backbone=backbone, **options
    )
    random = np.random.default_rng(0)
    for layer in layers_with_weights(detector).values():
        layer.set_weights(
            [
                random.uniform(0.5, 1.5, x.shape)
                if x.ndim == 1
                else x + 0.02 * random.normal(size=x.shape)
                for x in layer.get_weights()
            ]
        )
    return detector


NETWORKS = [
    "FPNLite_MobileNet",
    *(pytest.param(f"FPN_{core}", marks=pytest.mark.slow) for core in ("MobileNet", "ResNet50")),
]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A detector with the API's default boxes, and its tensors under the API's names."""
    detector = random_detector(request.param, anchors=MultiscaleAnchors(scale=3.0))
    return detector, tensors_of(detector)


def write_checkpoint(tensors, folder):
    module = tf.Module()
    module.parts = [tf.Variable(array, name=name) for name, array in tensors.items()]
    folder.mkdir()
    tf.train.Checkpoint(model=module).save(str(folder / "ckpt"))


def test_a_checkpoint_with_its_configuration_becomes_the_same_detector(network, tmp_path):
    detector, tensors = network
    write_checkpoint(tensors, tmp_path / "checkpoint")
    (tmp_path / "pipeline.config").write_text(CONFIG)
    imported = import_detector(tmp_path / "checkpoint")
    assert imported.detector.name == detector.name
    assert imported.detector.resize == "corner"
    assert imported.unused == ()
    for key, value in detector(IMAGES).items():
        np.testing.assert_allclose(imported.detector(IMAGES)[key], value, atol=1e-5)
    np.testing.assert_array_equal(
        imported.detector.box_network.anchors, detector.box_network.anchors
    )
    assert imported.detector.suppression.as_dict()["iou_threshold"] == 0.55
    assert imported.detector.suppression.as_dict()["max_detections"] == 90


@pytest.mark.slow
def test_what_is_imported_is_trained_further_with_other_classes(network, tmp_path):
    detector, tensors = network
    imported = api_fpn.import_pyramid(
        TensorFlowFile(tensors), "test", Facts(), labels={1: "cat", 3: "dog"}, image_size=(96, 96)
    ).detector
    assert imported.classes == ("cat", "dog")
    before = np.asarray(detector(IMAGES)["classes"])
    np.testing.assert_allclose(imported(IMAGES)["classes"], before[..., [0, 1, 3]], atol=1e-5)
    imported.save(tmp_path / "x.keras")
    again = ssd_keras.create(imported.name, ["dog", "bird"], weights=tmp_path / "x.keras")
    np.testing.assert_allclose(again(IMAGES)["classes"][..., 1], before[..., 3], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv_pw_3/kernel"), "no weights for 1 of the .* 'conv_pw_3'"),
        (lambda t: t.pop("FeatureMaps/top_down/projection_1/bias"), "finest map .* is not whole"),
        (
            lambda t: t.update({"FeatureMaps/top_down/other/kernel": np.ones((1, 1, 2, 2), "f4")}),
            "'FeatureMaps/top_down/other/kernel' of the file has no place",
        ),
        (lambda t: t.pop("bottom_up_Conv2d_14_batchnorm/beta"), "lacks its beta"),
        (
            lambda t: t.pop(
                "WeightSharedConvolutionalBoxPredictor/WeightSharedConvolutionalBoxHead/"
                "BoxPredictor/bias"
            ),
            "predictor .* is not whole",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_it(network, change, message):
    if "MobileNet" not in network[0].name:
        pytest.skip("names a layer of MobileNet")
    tensors = dict(network[1])
    change(tensors)
    with pytest.raises(UserError, match=message):
        api_fpn.import_pyramid(TensorFlowFile(tensors), "test", Facts(), image_size=(96, 96))


def test_a_size_that_nothing_tells_is_asked_for(network):
    message = r"keep its pipeline\.config beside it, or give --image_size"
    with pytest.raises(UserError, match=message):
        api_fpn.import_pyramid(TensorFlowFile(network[1]), "test", Facts())


def test_default_boxes_of_another_count_are_refused(network):
    facts = Facts(image_size=(96, 96), anchors=MultiscaleAnchors(scales_per_octave=3))
    with pytest.raises(UserError, match="6 default boxes a cell"):
        api_fpn.import_pyramid(TensorFlowFile(network[1]), "test", facts)


# === pipeline.config ===


def facts_of(tmp_path, text):
    (tmp_path / "pipeline.config").write_text(text)
    return api_facts.config_facts(tmp_path / "pipeline.config")


def test_a_configuration_tells_what_the_weights_do_not(tmp_path):
    assert facts_of(tmp_path, CONFIG) == Facts(
        image_size=(96, 96),
        anchors=MultiscaleAnchors(scale=3.0),
        variances=(0.1, 0.1, 0.2, 0.2),
        scores="sigmoid",
        suppression={"score_threshold": 1e-8, "iou_threshold": 0.55, "max_detections": 90},
        activation="relu6",
        epsilon=0.001,
    )


def test_default_boxes_of_ssd_are_told_too(tmp_path):
    text = CONFIG.replace(
        "multiscale_anchor_generator { anchor_scale: 3.0 scales_per_octave: 2 }",
        "ssd_anchor_generator { min_scale: 0.15 aspect_ratios: 1.0 aspect_ratios: 2.0 }",
    )
    assert facts_of(tmp_path, text).anchors == ScaleAnchors(min_scale=0.15, ratios=(1.0, 2.0))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("fixed_shape_resizer", "keep_aspect_ratio_resizer", "no fixed_shape_resizer"),
        ("height: 96", "height: 96.5", "no fixed_shape_resizer"),
        ("width: 96 }", "width: 96 resize_method: AREA }", "resizes by AREA"),
        ("SIGMOID", "LOGISTIC", "score_converter is LOGISTIC"),
        ("RELU_6", "SWISH", "activation is SWISH"),
        ("iou_threshold: 0.55", 'iou_threshold: "x"', "'iou_threshold' is no number"),
        ("scales_per_octave: 2", "scales_per_octave: 1000000000", "scales_per_octave must be"),
        ("ssd {", "faster_rcnn {", "describes no SSD"),
        ("ssd {", "ssd { {", "line"),
    ],
)
def test_a_configuration_that_cannot_be_followed_says_why(tmp_path, before, after, message):
    with pytest.raises(UserError, match=message):
        facts_of(tmp_path, CONFIG.replace(before, after))
