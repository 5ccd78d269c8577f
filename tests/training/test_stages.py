"""DSSD in stages: what is frozen stays as it was, to the bit."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.training.stages import STAGES, freeze_for_stage
from ssd_keras.traversal import leaf_layers

SIZE = 96
# An object for each level, so that each has something to learn.
OBJECTS = np.array([[[0.02, 0.02, s, s] for s in (0.1, 0.35, 0.5, 0.7, 0.85, 0.98)]] * 2, "float32")


def trained_one_step(stage):
    """Names of the layers whose weights a step has changed, and of all that have weights."""
    keras.utils.set_random_seed(0)
    detector = ssd_keras.create(f"DSSD_MobileNet_{SIZE}", ["cat", "dog"], width=0.25)
    layers = [layer for layer in leaf_layers(detector) if layer.weights]
    images = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    # Moving statistics as after a training: with those of the start hardly a gradient comes through
    # the products of the frozen norms.
    for layer in layers:
        layer.momentum = 0.0
    detector(images, training=True)
    for layer in layers:
        layer.momentum = 0.9
    before = {layer.name: layer.get_weights() for layer in layers}
    freeze_for_stage(detector, stage)
    detector.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    detector.train_on_batch(images, {"boxes": OBJECTS, "labels": np.zeros((2, 6), "int32")})
    changed = {
        layer.name
        for layer in layers
        if any(
            not np.array_equal(a, b)
            for a, b in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }
    return changed, {layer.name: layer for layer in layers}


@pytest.fixture(scope="module")
def steps():
    return {stage: trained_one_step(stage) for stage in STAGES}


def is_decoder(name):
    return name.startswith(("fusion", "fused"))


def without_heads(names):
    """A level to which no object belongs has heads that learn nothing from these images."""
    return {name for name in names if not name.startswith("fused")}


def test_in_stage_1_nothing_that_ssd_has_changes(steps):
    changed, layers = steps["stage1"]
    assert not [name for name in changed if not is_decoder(name)]
    assert len([name for name in layers if not is_decoder(name)]) > 50


def test_in_stage_1_the_decoder_and_heads_learn(steps):
    changed, layers = steps["stage1"]
    assert without_heads(changed) == {name for name in layers if name.startswith("fusion")}
    assert {"boxes", "classes"} == {name.split("_")[1] for name in changed if "fused" in name}


def test_in_stage_2_all_but_the_batch_norms_change(steps):
    changed, layers = steps["stage2"]
    norms = {n for n, x in layers.items() if isinstance(x, keras.layers.BatchNormalization)}
    assert not changed & norms
    assert without_heads(changed) == without_heads(layers) - norms


def test_jointly_everything_changes(steps):
    changed, layers = steps["joint"]
    assert without_heads(changed) == without_heads(layers)


@pytest.mark.parametrize(
    ("model", "stage", "message"),
    [
        ("SSD_MobileNet_96", "stage1", "has no decoder"),
        ("SSD_MobileNet_96", "stage_1", "Did you mean 'stage1'"),
    ],
)
def test_a_stage_that_cannot_be_says_why(model, stage, message):
    detector = ssd_keras.create(model, ["cat"], width=0.25)
    with pytest.raises(UserError, match=message):
        freeze_for_stage(detector, stage)
