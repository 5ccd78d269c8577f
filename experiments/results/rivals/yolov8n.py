"""Trains the YOLOv8n of `kyolo` on the batches that detectors of this project train on.

python experiments/results/rivals/yolov8n.py --train_data=SPEC --eval_data=SPEC --held_out=SPEC
    --out=FILE.json [--size=320] [--epochs=15] [--seed=0]

`kyolo` (Apache-2.0) has the network, its objective and its suppression, and brings no weights, so
it begins with random ones. Images, their changes, optimizer, schedule and what is measured are
those of `experiments.compare`. Wants `pip install kyolo==0.1.5`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import kyolo
import numpy as np
from kyolo.training import YOLODetector

from ssd_keras import data, evaluation
from ssd_keras.complexity import count_macs
from ssd_keras.detections import Detections
from ssd_keras.training.recipe import Recipe

BATCH = 8
# As `ssd_keras.evaluation` measures the others: what scores less adds nothing to the curves.
MEASURED = {"conf_threshold": 0.01, "iou_threshold": 0.45, "max_detections": 200}


def batches(source, size: int, seed: int):
    """Training batches as `kyolo` wants them: images of 0..1, boxes x first and in pixels."""
    import tensorflow as tf

    def convert(images, truth):
        boxes = tf.gather(truth["boxes"], [1, 0, 3, 2], axis=-1) * size
        present = truth["labels"] >= 0
        targets = {
            "boxes": tf.where(present[..., None], boxes, 0.0),
            "labels": tf.maximum(truth["labels"], 0),
            "mask": tf.cast(present, "float32"),
        }
        return tf.cast(images, "float32") / 255.0, targets

    given = data.training_batches(
        source, image_size=(size, size), batch_size=BATCH, seed=seed, augmentation="light"
    )
    return given.map(convert)


def trained(source, size: int, epochs: int, seed: int) -> YOLODetector:
    """A YOLOv8n after `epochs` passes over a source."""
    keras.utils.set_random_seed(seed)
    body = kyolo.models.yolov8n(nc=len(source.classes), input_shape=(size, size, 3))
    detector = YOLODetector(body)
    steps = len(source) // BATCH
    # XLA slows convolutions on a CPU.
    optimizer = Recipe(epochs=epochs).build_optimizer(steps)
    detector.compile(optimizer=optimizer, jit_compile=False)
    detector.fit(batches(source, size, seed), epochs=epochs, steps_per_epoch=steps, verbose=2)
    return detector


def found_in(detector: YOLODetector, source, size: int) -> list[Detections]:
    """What it finds in each image of a source."""
    found = []
    for batch in data.evaluation_batches(
        source, image_size=(size, size), batch_size=BATCH, dtype="float32"
    ):
        rows = detector.detect(batch["images"] / 255.0, **MEASURED)
        found += [_detections(one, size, source.classes) for one in np.asarray(rows)]
    return found[: len(source)]


def _detections(rows: np.ndarray, size: int, classes) -> Detections:
    rows = rows[rows[:, 4] > 0]
    boxes = np.clip(rows[:, [1, 0, 3, 2]] / size, 0, 1)
    return Detections(boxes, rows[:, 4], rows[:, 5].astype("int32"), tuple(classes))


def main():
    """Trains, measures and writes what it measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train_data", "eval_data", "held_out", "out"):
        parser.add_argument(f"--{name}", required=True)
    for name, value in {"size": 320, "epochs": 15, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    source = data.load_source(args.train_data)
    started = time.monotonic()
    detector = trained(source, args.size, args.epochs, args.seed)
    result = {
        "model": f"kyolo yolov8n {args.size}",
        "seed": args.seed,
        "steps": args.epochs * (len(source) // BATCH),
        "minutes": (time.monotonic() - started) / 60,
        "gmacs": count_macs(detector.body) / 1e9,
        "parameters": detector.body.count_params(),
    }
    for part in ("eval_data", "held_out"):
        judged = data.load_source(getattr(args, part), classes=source.classes)
        found = found_in(detector, judged, args.size)
        result[part] = evaluation.evaluate(judged.ground_truth(), found, judged.classes)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({part: result[part]["voc"] for part in ("eval_data", "held_out")}))


if __name__ == "__main__":
    main()
