"""Detectors of an objective without background leave the library as they detect in it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ssd_keras
from ssd_keras import deploy
from ssd_keras.deploy.decoding import decoding_of
from ssd_keras.deploy.parity import network, score_change
from ssd_keras.resizing import resize
from tests.comparing import assert_same_detections
from tests.deploy.conftest import CLASSES, enliven, pictures, run
from tests.without_xla import eagerly

UNSEEN = pictures(3, seed=9)


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    made = ssd_keras.create("SSD_MobileNet_96", CLASSES, width=0.25, objective="atss")
    for name in made.box_network.class_layers:
        bias = made.get_layer(name).bias
        # At the start objects are rare; here there shall be many.
        bias.assign(0 * bias)
    return enliven(made)


@pytest.mark.eager
def test_its_classes_have_no_column_for_no_object(detector):
    assert detector.output["classes"].shape[-1] == len(CLASSES)
    assert len(detector.detect(UNSEEN[0])) > 20


def test_the_float_file_detects_what_the_detector_detects(detector):
    runner = deploy.TFLiteDetector(deploy.to_tflite(detector))
    with eagerly():
        wanted = detector.detect(UNSEEN)
    for image, expected in zip(UNSEEN, wanted, strict=True):
        found = runner.detect(image)
        assert_same_detections(found, expected, box_atol=0.5 / 160, score_atol=1e-4)


@pytest.mark.slow
def test_the_operator_and_the_raw_outputs_agree_on_the_best(detector):
    runner = deploy.TFLiteDetector(deploy.to_tflite(detector, postprocess="op"))
    expected = detector.detect(UNSEEN[0])
    found = runner.detect(UNSEEN[0])
    np.testing.assert_allclose(found.boxes[0], expected.boxes[0], atol=1e-4)
    assert found.labels[0] == expected.labels[0]
    image = resize(UNSEEN[0], (96, 96))[None]
    raw = run(deploy.to_tflite(detector, postprocess="none"), image=image)
    _, scores = detector.box_network.decode(detector(image))
    np.testing.assert_allclose(raw["scores"], scores, atol=1e-4)


@pytest.mark.slow
def test_int8_keeps_the_scores(detector):
    raw = deploy.raw_network(detector, quantization="int8", calibration_images=pictures(16))
    images = [np.round(resize(image, (96, 96)))[None] for image in pictures(4)]
    assert score_change(network(raw), detector, decoding_of(detector), images) < 0.1


@pytest.mark.slow
def test_the_saved_model_and_the_keras_file_detect_the_same(detector, tmp_path):
    expected = detector.detect(UNSEEN[0])
    detector.save(tmp_path / "a.keras")
    again = ssd_keras.load(tmp_path / "a.keras").detect(UNSEEN[0])
    np.testing.assert_array_equal(again.boxes, expected.boxes)
    served = tf.saved_model.load(str(detector.export_saved_model(tmp_path / "saved")))
    outputs = served.signatures["serving_default"]
    found = outputs(images=tf.constant(UNSEEN[0][None]))
    assert int(found["count"][0]) == len(expected)
    np.testing.assert_allclose(found["scores"][0, : len(expected)], expected.scores, atol=1e-5)
