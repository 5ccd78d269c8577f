"""What many classes cost: to create, train, detect, evaluate and export.

    python -m tests.benchmarks.classes [--classes=20,80,365,1203] [--model=SSD_MobileNet_300]

prints a table in Markdown: 365 are the classes of Objects365, 1,203 those of LVIS. Every
measurement is made by a process of its own: CPU and wall seconds of all its threads without the
imports, and the peak of its memory with them. The detector is untrained; "detect" lets every score
pass, so that the slots of every image are filled from all classes, and in "evaluate" every image
has 100 detections.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from absl import app, flags

from tests.benchmarks import alone

FLAGS = flags.FLAGS
flags.DEFINE_list("classes", ["20", "80", "365", "1203"], "Numbers of classes.")
flags.DEFINE_string("model", "SSD_MobileNet_300", "Model.")
flags.DEFINE_float("width", 1.0, "Multiplier of its channels.")
flags.DEFINE_integer("batch_size", 8, "Images in a batch.")
flags.DEFINE_integer("steps", 5, "Steps and batches that are timed, after one to compile.")
flags.DEFINE_integer("images", 5000, "Images that are evaluated.")
flags.DEFINE_list(
    "measures", ["create", "train", "detect", "evaluate", "export"], "What is measured."
)
flags.DEFINE_string("only", "", "MEASURE:CLASSES, measured in this process.")

GIVEN = ("model", "width", "batch_size", "steps", "images")


def main(argv):
    """Prints the table."""
    del argv
    if FLAGS.only:
        import ssd_keras.evaluation  # noqa: F401  (not part of what is measured)

        measure, _, count = FLAGS.only.partition(":")
        print(alone.measured(lambda: MEASURES[measure](int(count))))
        return
    print(f"| classes | what {alone.HEAD}\n|---|---|---|---|---|---|")
    given = [f"--{name}={FLAGS[name].value}" for name in GIVEN]
    for count in map(int, FLAGS.classes):
        for measure in FLAGS.measures:
            only = f"--only={measure}:{count}"
            cells = alone.row("tests.benchmarks.classes", [only, *given])
            print(f"| {count:,} | {measure} {cells}", flush=True)


def made(count: int):
    """A detector with random weights."""
    import ssd_keras

    return ssd_keras.create(FLAGS.model, names(count), width=FLAGS.width)


def names(count: int) -> list[str]:
    """The names of the classes."""
    return [f"class {index}" for index in range(count)]


def create(count: int) -> str:
    """The detector is built and saved."""
    detector = made(count)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.keras")
        detector.save(file)
        size = file.stat().st_size / 1e6
    return f"{detector.count_params() / 1e6:.2f} million parameters, {size:.1f} MB"


def train(count: int) -> str:
    """Steps of `fit` on noise with 20 objects an image."""
    import keras

    detector, random = made(count), np.random.default_rng(0)
    shape = (FLAGS.batch_size, *detector.image_size, 3)
    corner = random.uniform(0, 0.7, (FLAGS.batch_size, 20, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.05, 0.3, corner.shape)], axis=-1)
    truth = {
        "boxes": boxes.astype("float32"),
        "labels": random.integers(0, count, boxes.shape[:2], dtype="int32"),
    }
    images = random.integers(0, 256, shape).astype("float32")
    detector.compile(keras.optimizers.SGD(1e-3, momentum=0.9))
    each = timed(lambda: detector.train_on_batch(images, truth))
    return f"{1e3 * each:.0f} CPU ms a step of {FLAGS.batch_size}"


def detect(count: int) -> str:
    """The network, decoding and suppression."""
    detector, random = made(count), np.random.default_rng(0)
    shape = (FLAGS.batch_size, *detector.image_size, 3)
    images = random.integers(0, 256, shape).astype("float32")
    each = timed(lambda: list(detector.detect_batches([images], score_threshold=0.0)))
    return f"{1e3 * each / FLAGS.batch_size:.0f} CPU ms an image"


def timed(run) -> float:
    """CPU seconds of a call, after one to compile."""
    run()
    began = time.process_time()
    for _ in range(FLAGS.steps):
        run()
    return (time.process_time() - began) / FLAGS.steps


def evaluate(count: int) -> str:
    """Every measure of 100 detections in each image, and the report."""
    from ssd_keras import evaluation

    truth, found = drawn(count)
    began = time.process_time()
    measured = evaluation.measure(truth, found, names(count))
    seconds = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        paths = evaluation.write_evaluation(
            folder, measured, truth, found, names(count), title="Classes"
        )
        size = paths["report.html"].stat().st_size / 1e6
    return f"{seconds:.1f} CPU s measured, the rest written; report of {size:.1f} MB"


def drawn(count: int) -> tuple[list, list]:
    """Images with 7 objects and 100 detections each: on all objects, and elsewhere."""
    from ssd_keras.data import GroundTruth
    from ssd_keras.detections import Detections

    random, classes = np.random.default_rng(0), names(count)
    truth, found = [], []
    for index in range(FLAGS.images):
        corner = random.uniform(0, 0.7, (100, 2))
        boxes = np.concatenate([corner, corner + random.uniform(0.05, 0.3, (100, 2))], axis=-1)
        labels = random.integers(0, count, 100)
        truth.append(GroundTruth(str(index), 480, 640, boxes[:7], labels[:7]))
        moved = np.clip(boxes + random.normal(0, 0.01, boxes.shape), 0, 1).astype("float32")
        scores = np.sort(random.uniform(0, 1, 100).astype("float32"))[::-1]
        order = random.permutation(100)
        found.append(Detections(moved[order], scores, labels[order], classes))
    return truth, found


def export(count: int) -> str:
    """The .tflite file, float32 with its post-processing, and an image through it."""
    from ssd_keras import deploy

    detector = made(count)
    content = deploy.to_tflite(detector, score_threshold=0.0)
    runner = deploy.TFLiteDetector(content, trusted=True)
    image = np.random.default_rng(0).integers(0, 256, (*detector.image_size, 3), np.uint8)
    each = timed(lambda: runner.detect(image))
    return f"{len(content) / 1e6:.1f} MB, {1e3 * each:.0f} CPU ms an image"


MEASURES = {
    "create": create,
    "train": train,
    "detect": detect,
    "evaluate": evaluate,
    "export": export,
}


if __name__ == "__main__":
    app.run(main)
