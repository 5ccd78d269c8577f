"""Every model: trains a step, detects, and is the same after being saved, under each precision."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.presets import BOX_NETWORKS
from tests import jax_in_miniature, tiny
from tests.conftest import ROOT

# Each box network and each core of the named models; their sizes differ in nothing that matters.
MODELS = (
    "SSD_VGG16_96",
    "SSD_MobileNet_96",
    "SSDLite_MobileNetV2_96",
    "SSDLite_MobileNetV3Large_96",
    "SSDLite_MobileNetV3Small_96",
    "SSDLite_MobileDetCPU_96",
    "SSDLite_MobileDetEdgeTPU_96",
    "SSDLite_MobileDetDSP_96",
    "DSSD_ResNet101_96",
    "DSSD_MobileNet_96",
    "DSSD_VGG16_96",
    "FPNLite_MobileNetV2_96",
    "FPN_MobileNet_96",
    "PANLite_MobileNetV2_96",
    "YOLO_Inception_96",
    "YOLO_MobileNet_96",
    "DSSD_Inception_139",
    "DSSD_MobileNet_128x96",
)
# Those that between them hold every kind of layer.
MIXED = (
    "SSD_VGG16_96",
    "SSDLite_MobileNetV2_96",
    "SSDLite_MobileNetV3Small_96",
    "DSSD_ResNet101_96",
    "FPNLite_MobileNetV2_96",
    "YOLO_MobileNet_96",
)
PAIRS = [
    *((name, "float32") for name in MODELS),
    *((name, policy) for name in MIXED for policy in ("mixed_float16", "mixed_bfloat16")),
]
# Of a user's own core, which is built in a moment; the others take minutes together, and SSD trains
# in tests/test_detector.py.
QUICK = (
    ("YOLO_Mine_64", "mixed_float16"),
    ("DSSD_Mine_96x64", "float32"),
)
CASES = [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS)]


@pytest.fixture(autouse=True, scope="module")
def shallow():
    with tiny.shallow_resnet101():
        yield


@pytest.fixture
def set_policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def batch(image_size, count=2):
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (count, *image_size, 3)).astype("float32")
    boxes = np.full((count, 3, 4), -1.0, "float32")
    labels = np.full((count, 3), -1, "int32")
    boxes[:, 0], labels[:, 0] = [0.1, 0.1, 0.7, 0.6], 1
    boxes[0, 1], labels[0, 1] = [0.5, 0.4, 0.9, 0.9], 0
    return images, {"boxes": boxes, "labels": labels}


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_trains_a_step_and_survives_being_saved(name, policy, set_policy, tmp_path):
    set_policy(policy)
    keras.utils.set_random_seed(0)
    backbone = small_backbone if "Mine" in name else None
    detector = ssd_keras.create(name, ["cat", "dog"], width=0.25, backbone=backbone)
    images, truth = batch(detector.image_size)
    optimizer = keras.optimizers.SGD(1e-3, global_clipnorm=1.0)
    if policy == "mixed_float16":
        # With the usual first scale of 2^15 gradients overflow, and the step is left out.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**-6)
    # Eagerly: tracing a hundred layers takes longer than running them.
    detector.compile(optimizer, run_eagerly=True)
    before = [np.array(w) for w in detector.trainable_weights]
    logs = detector.train_on_batch(images, truth, return_dict=True)
    assert np.isfinite(logs["loss"])
    assert logs["loss"] > 0
    # Losses are summed in float32, whatever the layers compute in.
    np.testing.assert_allclose(logs["loss"], logs["class_loss"] + logs["box_loss"], rtol=1e-5)
    after = detector.trainable_weights
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(moved) > 0.3
    predictions = detector(images, training=False)
    assert {keras.backend.standardize_dtype(p.dtype) for p in predictions.values()} == {"float32"}
    boxes, scores = detector.box_network.decode(predictions)
    assert boxes.shape[:2] == scores.shape[:2]
    assert scores.shape[2] == 2
    detector.save(tmp_path / "model.keras")
    again = ssd_keras.load(tmp_path / "model.keras")
    for key, value in again(images, training=False).items():
        np.testing.assert_array_equal(value, predictions[key])


def small_backbone(image_size):
    """A user's own Core Network."""
    images = keras.Input((*image_size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    maps = {}
    for level, channels in enumerate((8, 16, 24, 32), start=1):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(x)
        if level > 2:
            maps[f"stride{2**level}"] = x
    return keras.Model(images, maps, name="small")


@pytest.mark.parametrize(
    "box_network",
    [
        pytest.param(name, marks=pytest.mark.slow if name.endswith("Lite") else ())
        for name in BOX_NETWORKS
    ],
)
def test_any_box_network_goes_with_a_users_own_backbone(box_network, tmp_path):
    name = f"{box_network}_Mine_64"
    detector = ssd_keras.create(name, ["cat"], width=0.25, backbone=small_backbone)
    images, _ = batch((64, 64))
    detector.save(tmp_path / "mine.keras")
    again = ssd_keras.load(tmp_path / "mine.keras")
    for key, value in again(images).items():
        np.testing.assert_array_equal(value, detector(images)[key])


UNDER_JAX = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
WITHOUT_TENSORFLOW = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


sys.meta_path.insert(0, Blocked())
import keras
import numpy as np

import ssd_keras
from tests.test_models import batch, small_backbone

assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
for name in sys.argv[1:]:
    backbone = small_backbone if "Mine" in name else None
    detector = ssd_keras.create(name, ["cat", "dog"], width=0.25, backbone=backbone)
    images, truth = batch(detector.image_size)
    detector.compile(keras.optimizers.SGD(1e-3, global_clipnorm=1.0))
    history = detector.fit(images, truth, epochs=2, batch_size=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"])), history
    found = detector.detect(images)
    assert len(found) == 2 and found[0].classes == ("cat", "dog")
    print(name, history["loss"])
assert "tensorflow" not in sys.modules
print("fine")
"""


def test_the_same_is_computed_under_jax_without_tensorflow(tmp_path):
    """In miniature; the slow tests train and detect."""
    targets = jax_in_miniature.targets()
    assert targets["positive"].any()
    files = [tmp_path / name for name in ("targets.npz", "found.npz")]
    np.savez(files[0], **targets)
    command = [sys.executable, "-m", "tests.jax_in_miniature", *files]
    done = subprocess.run(command, env=UNDER_JAX, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    expected, found = jax_in_miniature.results(targets), dict(np.load(files[1]))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.isfinite(values).all(), name
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def run_without_tensorflow(names):
    """Every named model can be run so by hand; XLA takes a minute to compile each."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *names],
        env=UNDER_JAX,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["SSD_Mine_64", "DSSD_Mine_96x64", "DSSDLite_Mine_64", "YOLO_Mine_64"],
        ["FPN_Mine_64", "FPNLite_Mine_64", "PANLite_Mine_64"],
    ],
    ids=["SSD and YOLO", "pyramids"],
)
def test_trains_and_detects_under_jax_without_tensorflow(names):
    done = run_without_tensorflow(names)
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]


@pytest.mark.slow
def test_a_core_network_trains_and_detects_under_jax():
    """The one with the most kinds of layers; XLA takes a minute for each."""
    done = run_without_tensorflow(["SSDLite_MobileNetV3Small_96"])
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]
