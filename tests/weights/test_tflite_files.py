"""Quantised .tflite detectors become float detectors that compute about the same."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import ssd_keras
from ssd_keras.box_networks import ScaleAnchors
from ssd_keras.boxes import Suppression
from ssd_keras.data import read_image
from ssd_keras.resizing import resize
from ssd_keras.weights.importing import import_detector
from ssd_keras.weights.label_maps import COCO
from ssd_keras.weights.statistics import random_pictures, restore_statistics
from ssd_keras.weights.tflite_files import read_tflite

MODEL = "weights/coco_ssd_mobilenet_v1_quant_detect.tflite"


@pytest.fixture(scope="module")
def imported(shared):
    return import_detector(shared(MODEL), labels=shared("weights/coco_labelmap.txt"))


@pytest.fixture(scope="module")
def photographs(shared):
    paths = sorted(shared("data/coco_subset/val/images").iterdir())[:3]
    return np.stack([resize(read_image(path), (300, 300)) for path in paths]).round()


def test_width_classes_and_default_boxes_are_read(imported):
    detector = imported.detector
    assert detector.backbone.get_layer("conv_pw_13").filters == 768
    assert len(detector.classes) == 80
    assert detector.box_network.anchor_rule == ScaleAnchors()
    assert imported.suppression["iou_threshold"] == 0.6
    # TFLite_Detection_PostProcess without regular NMS: one class for each box, all compete.
    assert detector.suppression == Suppression(
        score_threshold=1e-8, iou_threshold=0.6, max_detections=10, class_agnostic=True
    )
    assert imported.unused == ()


def test_scores_are_those_of_the_quantised_network_but_for_rounding(imported, photographs, shared):
    with pytest.warns(UserWarning, match="preserve_all_tensors"):
        theirs = Interpreter(str(shared(MODEL)), experimental_preserve_all_tensors=True)
    theirs.allocate_tensors()
    named = {detail["name"]: detail for detail in theirs.get_tensor_details()}
    detail = named["convert_scores"]
    scale, zero = detail["quantization"]
    _, ours = imported.detector.box_network.decode(imported.detector.predict_on_batch(photographs))
    for image, mine in zip(photographs, np.asarray(ours), strict=True):
        theirs.set_tensor(theirs.get_input_details()[0]["index"], image[None].astype(np.uint8))
        theirs.invoke()
        scores = (theirs.get_tensor(detail["index"])[0, :, list(COCO)].T - np.float32(zero)) * scale
        np.testing.assert_allclose(mine, scores, atol=0.05)
        assert np.abs(mine - scores).mean() < 0.002


def test_kernels_are_dequantised(shared):
    file, facts, labels = read_tflite(shared(MODEL))
    kernel = file.variables["BoxPredictor_0/BoxEncodingPredictor/weights"]
    assert kernel.shape == (1, 1, 384, 12)
    # Scale and zero point of this tensor in the file.
    steps = kernel / 0.00590217 + 123
    np.testing.assert_allclose(steps, steps.round(), atol=1e-2)
    assert facts.image_size == (300, 300)
    assert labels is None


def test_restored_statistics_are_those_of_the_layers_input(imported):
    backbone = imported.detector.backbone
    layer = backbone.get_layer("conv_pw_6_bn")
    pictures = random_pictures(8, (300, 300), 0)
    values = keras.Model(backbone.input, layer.input).predict_on_batch(pictures)
    _, _, mean, variance = layer.get_weights()
    np.testing.assert_allclose(mean, values.mean((0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(variance, values.var((0, 1, 2)), rtol=1e-2, atol=1e-5)


def test_restoring_statistics_changes_nothing_that_is_computed():
    detector = ssd_keras.create("SSDLite_MobileNetV2_96", ["a"], width=0.35)
    names = ["bn_Conv1", "block_1_expand_BN", "level0_boxes_depthwise_bn"]
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    before = detector.predict_on_batch(images)
    restore_statistics(detector, names)
    assert np.abs(detector.backbone.get_layer("bn_Conv1").get_weights()[2]).max() > 0.01
    after = detector.predict_on_batch(images)
    for key in before:
        np.testing.assert_allclose(after[key], before[key], atol=1e-4)
