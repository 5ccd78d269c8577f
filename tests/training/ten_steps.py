"""Trains a tiny detector for ten steps on the devices that are found and prints the losses.

python -m tests.training.ten_steps DEVICES FILE writes the step losses as JSON.
"""

import json
import sys

import keras

from ssd_keras import data, zoo
from ssd_keras.training import Recipe, find_devices

STEPS, BATCH = 10, 8


class Losses(keras.callbacks.Callback):
    """Collects the loss of every step; Keras gives means since the start."""

    def __init__(self):
        super().__init__()
        self.losses, self.sum = [], 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(total - self.sum)
        self.sum = total


def smooth_backbone(image_size):
    """Three convolutions with batch normalisation; no kink lets rounding grow."""
    images = keras.Input((*image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    maps = {}
    for index in range(3):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{index}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{index}")(x)
        x = keras.layers.Activation("tanh", name=f"map{index}")(x)
        if index:
            maps[f"map{index}"] = x
    return keras.Model(images, maps)


def tiny_detector(name: str, classes, **options):
    """A detector that is traced in a moment."""
    return zoo.create(name, classes, backbone=smooth_backbone, extras=(), **options)


def train(count: int) -> list[float]:
    """Losses of ten steps of eight images, whatever the devices."""
    devices = find_devices(count)
    source = data.load_source("shapes#train,count=24")
    keras.utils.set_random_seed(0)
    with devices.scope():
        detector = tiny_detector("SSD_Smooth_64", source.classes)
        recipe = Recipe(
            optimizer="sgd",
            learning_rate=0.002,
            clip_norm=2.0,
            warmup_epochs=0.0,
            epochs=1,
            ema=0.5,
        )
        detector.compile(recipe.build_optimizer(STEPS))
        detector.optimizer.build(detector.trainable_variables)
    devices.prepare(detector)
    losses = Losses()

    def batches(shard):
        return data.training_batches(
            source, image_size=(64, 64), batch_size=BATCH, steps=STEPS, max_boxes=8, shard=shard
        )

    detector.fit(
        devices.batches(batches),
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=0,
        callbacks=[losses],
    )
    return losses.losses


if __name__ == "__main__":
    found = train(int(sys.argv[1]))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(found, file)
