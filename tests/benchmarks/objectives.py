"""Time and memory of objectives: encoding, assignment and loss, each with its gradient.

`python -m tests.benchmarks.objectives` prints, for each objective by name, milliseconds of encoding
and loss together on a model's default boxes, their share of a training step of it, and the memory
that 100 objects an image take on the 24,564 default boxes of SSD512: how much a process grows at
its peak, compiling included. Aims: at most 5 % of a step, and 1 GiB.
"""

import multiprocessing
import os
import resource
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from ssd_keras import zoo
from ssd_keras.boxes.layout import Layout
from ssd_keras.objectives import COMBINATIONS
from ssd_keras.training import Recipe
from tests.boxes.reference import random_boxes, ssd512

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "SSD_MobileNet_300", "Whose step is the measure.")
flags.DEFINE_integer("batch", 8, "Images per step.")
flags.DEFINE_integer("objects", 100, "Places for objects in an image; a tenth of them hold one.")
flags.DEFINE_integer("repetitions", 7, "Of each figure; the median counts.")
flags.DEFINE_list("objectives", list(COMBINATIONS), "Which ones.")

CLASSES = 20


def main(argv):
    """Prints the table."""
    del argv
    print(f"load {os.getloadavg()[0]:.1f}, {FLAGS.model}, batch {FLAGS.batch}")
    print(
        f"{'objective':16}{'encoding+loss':>15}{'of a step':>11}{'24,564 boxes, 100 objects':>28}"
    )
    for name in FLAGS.objectives:
        alone, step = times(name)
        grown = memory(name)
        print(
            f"{name:16}{1e3 * alone:12.1f} ms{alone / step:11.1%}{grown / 2**20:24.0f} MiB",
            flush=True,
        )


def times(name: str) -> tuple[float, float]:
    """Seconds of encoding and loss with its gradient, and of a whole training step."""
    keras.backend.clear_session()
    detector = zoo.create(FLAGS.model, [str(i) for i in range(CLASSES)], objective=name)
    detector.compile(Recipe().build_optimizer(1000))
    images = np.random.default_rng(0).integers(0, 256, (FLAGS.batch, *detector.image_size, 3))
    truth = ground_truth(FLAGS.batch, FLAGS.objects, FLAGS.objects // 10)
    learn = learning(detector.box_network.objective, detector.box_network.layout)
    predictions = detector(images.astype("float32"))
    given = (truth["boxes"], truth["labels"], predictions["boxes"], predictions["classes"])
    alone = median(lambda: learn(*map(tf.constant, given)))
    images = images.astype("float32")
    return alone, median(lambda: detector.train_on_batch(images, truth))


def learning(objective, layout):
    """Encoding and loss with its gradient, compiled as in a training step."""

    @tf.function(autograph=False)
    def learn(boxes, labels, codes, logits):
        with tf.GradientTape() as tape:
            tape.watch([codes, logits])
            targets = objective.encode(boxes, labels, layout)
            loss = objective.loss(targets, {"boxes": codes, "classes": logits}, layout)["loss"]
        return tape.gradient(loss, [codes, logits])

    return learn


def ground_truth(images: int, places: int, objects: int) -> dict:
    """Padded boxes and labels."""
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, images, places)
    labels = rng.integers(0, CLASSES, (images, places)).astype("int32")
    boxes[:, objects:], labels[:, objects:] = -1, -1
    return {"boxes": boxes, "labels": labels}


def median(run) -> float:
    """Seconds of a run after the first two, which trace and compile."""
    run(), run()
    found = []
    for _ in range(FLAGS.repetitions):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def memory(name: str) -> int:
    """Bytes by which 100 objects in each of 8 images let a process of its own grow."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(grown, (name,))


def grown(name: str) -> int:
    """Growth of the peak of this process by encoding and loss with its gradient."""
    objective, layout = COMBINATIONS[name], Layout.of(ssd512(), (512, 512))
    truth = ground_truth(8, 100, 100)
    columns = CLASSES + objective.background
    shape = (8, len(layout.anchors))
    given = (truth["boxes"], truth["labels"], np.zeros((*shape, 4)), np.zeros((*shape, columns)))
    given = [tf.constant(x, "int32" if x.dtype == "int32" else "float32") for x in given]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    learning(objective, layout)(*given)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


if __name__ == "__main__":
    app.run(main)
