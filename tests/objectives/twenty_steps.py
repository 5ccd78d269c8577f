"""Trains a tiny detector for twenty steps of fixed numbers and prints the losses, bit by bit.

python -m tests.objectives.twenty_steps OPTIONS prints them as JSON; OPTIONS are JSON as well, those
of the box network.
"""

import json
import platform
import sys

import keras
import numpy as np
import tensorflow as tf

from ssd_keras.training import Recipe
from tests.boxes.reference import random_boxes
from tests.training.ten_steps import Losses, tiny_detector

STEPS, BATCH, OBJECTS = 20, 8, 6


def machine() -> dict:
    """What the last bit of a number may depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "cpu": f"{platform.machine()} {models[0] if models else ''}".strip(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def batches():
    """Images, and boxes of which some overlap, some are padding and some images have none."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        boxes = random_boxes(rng, BATCH, OBJECTS, grid=16)
        labels = rng.integers(0, 3, (BATCH, OBJECTS)).astype("int32")
        labels[0], labels[1:4, 3:] = -1, -1
        boxes[labels < 0] = -1
        images = rng.integers(0, 256, (BATCH, 64, 64, 3)).astype("float32")
        yield images, {"boxes": boxes, "labels": labels}


def train(options: dict) -> list[float]:
    """The loss of every step."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    detector = tiny_detector("SSD_Smooth_64", ("a", "b", "c"), **options)
    recipe = Recipe(optimizer="sgd", learning_rate=0.002, clip_norm=2.0, warmup_epochs=0, epochs=1)
    detector.compile(recipe.build_optimizer(STEPS))
    losses = Losses()
    detector.fit(batches(), steps_per_epoch=STEPS, verbose=0, shuffle=False, callbacks=[losses])
    return losses.losses


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), "losses": train(json.loads(sys.argv[1]))}))
