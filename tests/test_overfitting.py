"""Each box network learns four photographs by heart."""

import keras
import numpy as np
import pytest
from keras import layers

import ssd_keras
from ssd_keras import data, evaluation
from ssd_keras.objectives import COMBINATIONS
from ssd_keras.presets import BOX_NETWORKS

pytestmark = pytest.mark.slow

SIZE = 128
STEPS = 120


def core(image_size):
    """A Core Network that is traced and trained in seconds; YOLO's grid on it is 4 x 4."""
    images = keras.Input((*image_size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    maps = {}
    for stride, channels in ((2, 16), (4, 32), (8, 64), (16, 128)):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        # Detection normalises with moving statistics, which must not lag in so short a training.
        x = layers.BatchNormalization(momentum=0.6)(x)
        x = layers.ReLU()(x)
        if stride >= 8:
            maps[f"stride{stride}"] = x
    return keras.Model(images, maps)


def is_easy(truth):
    centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    cells = {tuple(cell) for cell in np.floor(4 * centres).astype(int)}
    large = np.all(truth.boxes[:, 2:] - truth.boxes[:, :2] > 0.25)
    # YOLO sees one object in a cell of its grid.
    return large and len(truth.labels) == len(cells) <= 3


@pytest.fixture(scope="module")
def photographs(shared):
    """Four photographs of few, large objects apart: images, padded ground truth, and itself."""
    source = data.load_source(f"voc:{shared('data/voc2012_100/VOCdevkit/VOC2012')}#val")
    truths = source.ground_truth()
    chosen = [i for i, truth in enumerate(truths) if is_easy(truth)][:4]
    images = [
        keras.ops.image.resize(source.image(i).astype("float32"), (SIZE, SIZE)) for i in chosen
    ]
    boxes = np.full((4, 3, 4), -1.0, "float32")
    labels = np.full((4, 3), -1, "int32")
    for row, index in enumerate(chosen):
        count = len(truths[index].labels)
        boxes[row, :count] = truths[index].boxes
        labels[row, :count] = truths[index].labels
    found = [truths[i] for i in chosen]
    return np.stack(images), {"boxes": boxes, "labels": labels}, found, source.classes


@pytest.mark.parametrize("name", list(BOX_NETWORKS))
def test_four_photographs_are_found_again(name, photographs):
    assert learned_by_heart(photographs, name) == 1.0


@pytest.mark.parametrize("objective", [name for name in COMBINATIONS if name != "multibox"])
def test_every_objective_finds_them_again(objective, photographs):
    assert learned_by_heart(photographs, "SSD", objective=objective) == 1.0


def learned_by_heart(photographs, name, **options) -> float:
    """Average precision on the photographs that a detector was trained with."""
    images, targets, truths, classes = photographs
    keras.utils.set_random_seed(0)
    name = f"{name}_Core_{SIZE}"
    detector = ssd_keras.create(name, classes, backbone=core, width=0.25, **options)
    for layer in detector.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.6
    schedule = keras.optimizers.schedules.CosineDecay(5e-3, STEPS)
    detector.compile(keras.optimizers.AdamW(schedule))
    detector.optimizer.build(detector.trainable_variables)
    detector.fit(images, targets, epochs=STEPS, batch_size=4, verbose=0)
    return evaluation.voc_ap(truths, detector.detect(images), classes)["map"]
