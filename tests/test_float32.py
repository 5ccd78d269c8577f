"""Rebuilding mixed-precision models in float32."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras import deploy
from ssd_keras.float32 import float32_model
from tests import tiny
from tests.deploy.conftest import CLASSES, enliven, pictures
from tests.without_xla import eagerly


def create():
    return ssd_keras.create("SSD_Tiny_96", CLASSES, backbone=tiny.backbone, extras=())


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    return enliven(create())


@pytest.fixture(scope="module")
def mixed(detector):
    """The detector as mixed-precision training leaves it."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        copy = create()
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(detector.get_weights())
    return copy


def test_a_float32_model_is_left_as_it_is(detector):
    assert float32_model(detector) is detector


def test_the_copy_computes_as_the_float32_model_does(detector, mixed):
    image = np.stack(pictures(1))[:, :96, :96].astype(np.float32)
    copy = float32_model(mixed)
    wanted, found, coarse = (m(image, training=False) for m in (detector, copy, mixed))
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-5, atol=1e-5)
        assert np.abs(np.asarray(coarse[key]) - np.asarray(wanted[key])).max() > 1e-3


def test_the_original_and_the_global_policy_stay(mixed):
    before = keras.config.dtype_policy().name
    float32_model(mixed)
    assert keras.config.dtype_policy().name == before
    assert mixed.backbone.layers[-1].compute_dtype == "float16"


def test_a_mixed_precision_detector_is_exported_in_float32(detector, mixed):
    runner = deploy.TFLiteDetector(deploy.to_tflite(mixed))
    images = pictures(2, seed=9)
    with eagerly():
        detected = detector.detect(images)
    for image, wanted in zip(images, detected, strict=True):
        found = runner.detect(image)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "predicts"),
    [
        ("SSD_MobileNet_96", "_classes"),
        ("YOLO_MobileNet_96", "prediction"),
        pytest.param("FPNLite_MobileNetV2_96", "predictor_classes", marks=pytest.mark.slow),
    ],
)
def test_scores_beyond_float16_stay_numbers(model, predicts):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        detector = ssd_keras.create(model, CLASSES, width=0.25)
    finally:
        keras.config.set_dtype_policy(policy)
    heads = [layer for layer in detector.layers if layer.name.endswith(predicts)]
    for head in heads:
        *kernels, bias = head.get_weights()
        head.set_weights([*kernels, bias + 1e5])
    image = np.stack(pictures(1))[:, :96, :96].astype(np.float32)
    classes = np.asarray(detector(image, training=False)["classes"])
    assert heads
    assert np.isfinite(classes).all()
    assert np.abs(classes).max() > np.finfo(np.float16).max
