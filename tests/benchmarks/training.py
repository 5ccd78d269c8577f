"""Seconds per training step, split into input, forward and backward, encoding, and loss.

`python -m tests.benchmarks.training` prints a line per model, batch and precision. "step" is a
whole step on a batch that lies in memory, by the very function that `fit` runs; encoding and loss
(with its gradient) are also measured alone, each compiled as in the step, and what is left is
forward, backward and the update. "input" is what the pipeline needs for a batch on its own; in
training it runs beside the step.

Peers, measured alone on a 2-core x86-64 machine: TF Object Detection API, SSD MobileNetV2 at batch
4: 298 ms with assignment and mining (13.4 images/s); torchvision at batch 8 on one thread (use
--threads=1): SSD300-VGG16 about 15 s, SSDLite320 1.9 s. Compare ratios on any other machine.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from absl import app, flags

from ssd_keras import data, zoo
from ssd_keras.data.voc import CLASSES
from ssd_keras.training import Recipe

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "cases",
    ["SSD_MobileNetV2_300:4", "SSD_MobileNetV2_300:16", "SSD_VGG16_300:8", "DSSD_MobileNet_300:8"],
    "MODEL:BATCH pairs.",
)
flags.DEFINE_list("precisions", ["float32", "mixed_bfloat16"], "Keras dtype policies.")
flags.DEFINE_float("seconds", 10.0, "Time spent on each figure; at least 3 repetitions.")
flags.DEFINE_integer("threads", 0, "Threads of one operation and of all; 0 for all cores.")
flags.DEFINE_string("augmentation", "ssd", "Augmentation of the input pipeline.")
flags.DEFINE_enum("jit", "off", ["on", "off"], "XLA over the whole step.")

PARTS = ("step", "forward+backward", "encoding", "loss", "input")


def main(argv):
    """Prints the table."""
    del argv
    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
        tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    cores = len(os.sched_getaffinity(0))
    print(f"{FLAGS.threads or cores} threads, load {os.getloadavg()[0]:.1f}; milliseconds")
    print(
        f"{'model':24}{'batch':>6} {'precision':15}{'images/s':>9}"
        + "".join(f"{part:>18}" for part in PARTS)
        + f"{'encoding+loss':>15}"
    )
    for case in FLAGS.cases:
        model, _, batch = case.partition(":")
        for precision in FLAGS.precisions:
            times = measure(model, int(batch), precision)
            share = (times["encoding"] + times["loss"]) / times["step"]
            print(
                f"{model:24}{batch:>6} {precision:15}{int(batch) / times['step']:9.2f}"
                + "".join(f"{1e3 * times[part]:18.1f}" for part in PARTS)
                + f"{share:15.1%}",
                flush=True,
            )


def measure(model: str, batch: int, precision: str) -> dict[str, float]:
    """Seconds of a step and of its parts."""
    keras.backend.clear_session()
    keras.config.set_dtype_policy(precision)
    detector = zoo.create(model, CLASSES)
    keras.config.set_dtype_policy("float32")
    detector.compile(Recipe().build_optimizer(1000), jit_compile=FLAGS.jit == "on")
    detector.optimizer.build(detector.trainable_variables)
    source = data.load_source(f"shapes#train,count={4 * batch}")
    batches = data.training_batches(
        source,
        image_size=detector.image_size,
        batch_size=batch,
        augmentation=FLAGS.augmentation,
        cache_bytes=1 << 30,
    )
    pipeline = iter(batches)
    example = next(pipeline)
    times = {"input": seconds(lambda: next(pipeline))}

    detector.make_train_function()
    same = iter(tf.data.Dataset.from_tensors(example).repeat())
    times["step"] = seconds(lambda: detector.train_function(same)["loss"].numpy())

    network, truth = detector.box_network, example[1]
    encode = tf.function(lambda t: network.encode(t["boxes"], t["labels"]), autograph=False)
    times["encoding"] = seconds(lambda: read(encode(truth)))

    @tf.function(autograph=False)
    def loss(targets, predictions):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = network.loss(targets, predictions)["loss"]
        return tape.gradient(value, predictions)

    targets, predictions = encode(truth), detector(example[0], training=False)
    times["loss"] = seconds(lambda: read(loss(targets, predictions)))
    times["forward+backward"] = times["step"] - times["encoding"] - times["loss"]
    return times


def read(tensors) -> None:
    """A result is there when it can be read."""
    tf.nest.map_structure(lambda x: x.numpy(), tensors)


def seconds(run) -> float:
    """Median time of a call, after two to warm up."""
    run()
    run()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < FLAGS.seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    app.run(main)
