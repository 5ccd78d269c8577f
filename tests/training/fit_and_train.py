"""Trains twice with equal settings, by `train` and by plain `fit`, and measures both.

python -m tests.training.fit_and_train FOLDER writes run folders, and FOLDER/found.json.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import ssd_keras
from ssd_keras import data
from ssd_keras.training import Recipe, RunSettings, run

SETTINGS = RunSettings(
    model="SSD_Smooth_64",
    backbone=f"{Path(__file__).with_name('ten_steps.py')}:smooth_backbone",
    model_options={"extras": []},
    train_data="shapes#train,count=64,size=64",
    augmentation="none",
    precision="float32",
    recipe=Recipe(epochs=40, batch_size=8, learning_rate=1e-2, ema=0.9),
)


def trained(settings: RunSettings, folder: Path) -> ssd_keras.Detector:
    """The last detector of a run."""
    run.train(settings, str(folder))
    return ssd_keras.load(folder / "last.keras")


def fitted(settings: RunSettings) -> ssd_keras.Detector:
    """The detector of plain Keras: create, compile, fit."""
    source, recipe = data.load_source(settings.train_data), settings.recipe
    keras.utils.set_random_seed(settings.seed)
    detector = run.build(settings, source.classes)
    steps = data.steps_per_epoch(source, recipe.batch_size)
    batches = data.training_batches(
        source,
        image_size=detector.image_size,
        batch_size=recipe.batch_size,
        seed=settings.seed,
        augmentation=settings.augmentation,
        max_boxes=settings.max_boxes,
        steps=recipe.epochs * steps,
    )
    detector.compile(recipe.build_optimizer(steps))
    detector.fit(batches, epochs=recipe.epochs, steps_per_epoch=steps, shuffle=False, verbose=0)
    return detector


def compare(settings: RunSettings, folder: Path) -> dict:
    """mAP and COCO's AP of both, and the largest difference of a weight."""
    both = {"train": trained(settings, folder), "fit": fitted(settings)}
    measured = {name: one.measure(settings.train_data) for name, one in both.items()}
    weights = zip(*(one.get_weights() for one in both.values()), strict=True)
    return {
        "mAP": {name: found.mAP for name, found in measured.items()},
        "AP": {name: found.AP for name, found in measured.items()},
        "difference": max(float(np.abs(a - b).max()) for a, b in weights),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = compare(SETTINGS, folder / "run")
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
