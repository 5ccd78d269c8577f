"""Training and detection on an accelerator: speed, memory, and what precision and XLA change.

    python -m tests.benchmarks.on_gpu [--minutes=8]
    KERAS_BACKEND=jax python -m tests.benchmarks.on_gpu

prints a table in Markdown, a line per model, precision and compilation. Every line is measured in
a process of its own by the `fit` that users call, on a batch that lies in the host's memory, so
the copy to the device is in it and the input pipeline is not. "encoding + loss" is what the ground
truth and the loss with its gradient take of a step, each compiled alone. Memory is the peak of the
allocator. JAX needs no TensorFlow here and compiles by XLA always. What does not fit into the
minutes is named and left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "cases",
    ["SSD_MobileNet_300:32", "SSD_MobileNet_300:128", "SSD_VGG16_300:32", "DSSD_ResNet101_321:16"],
    "MODEL:BATCH pairs.",
)
flags.DEFINE_list("precisions", ["float32", "mixed_bfloat16", "mixed_float16"], "Keras policies.")
flags.DEFINE_list("xla", ["on", "off"], "Whether XLA compiles the step; off needs TensorFlow.")
flags.DEFINE_integer("classes", 80, "Classes of the detectors.")
flags.DEFINE_float("width", 1.0, "Multiplier of their channels.")
flags.DEFINE_integer("steps", 30, "Steps that are timed, after 5 to warm up.")
flags.DEFINE_float("minutes", 8.0, "No further line is begun after this time.")
flags.DEFINE_string("only", "", "MODEL:BATCH:PRECISION:XLA, measured in this process.")

WARM_UP = 5
OBJECTS = 20
COLUMNS = (
    "model",
    "batch",
    "precision",
    "XLA",
    "images/s in training",
    "ms/step",
    "encoding + loss",
    "GiB",
    "images/s detected",
    "s to the first step",
)


def main(argv):
    """Prints the table."""
    del argv
    if FLAGS.only:
        print(json.dumps(measure(*FLAGS.only.split(":"))))
        return
    began, left_out = time.monotonic(), []
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for line in lines():
        if time.monotonic() - began > 60 * FLAGS.minutes:
            left_out.append(line)
            continue
        print(f"| {' | '.join(table_row(line))} |", flush=True)
    if left_out:
        print(f"\nNo time was left for {', '.join(left_out)}.")


def lines() -> list[str]:
    """MODEL:BATCH:PRECISION:XLA of every line of the table."""
    settings = FLAGS.xla if os.environ.get("KERAS_BACKEND") != "jax" else ["on"]
    return [
        f"{case}:{precision}:{xla}"
        for case in FLAGS.cases
        for precision in FLAGS.precisions
        for xla in settings
    ]


def table_row(line: str) -> list[str]:
    """The cells of one line, measured by another process, or why there are none."""
    flags_given = [f"--{name}={FLAGS[name].value}" for name in ("classes", "width", "steps")]
    command = [sys.executable, "-m", "tests.benchmarks.on_gpu", f"--only={line}", *flags_given]
    done = subprocess.run(command, capture_output=True, text=True)
    model, batch, precision, xla = line.split(":")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return [model, batch, precision, xla, f"failed: {why[:100]}"] + [""] * (len(COLUMNS) - 5)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        model,
        batch,
        precision,
        xla,
        f"{int(batch) / found['step']:.0f} ({int(batch) / found['slowest']:.0f} to "
        f"{int(batch) / found['quickest']:.0f})",
        f"{1e3 * found['step']:.1f}",
        f"{found['encoding and loss'] / found['step']:.1%}",
        "?" if found["peak bytes"] is None else f"{found['peak bytes'] / 2**30:.2f}",
        f"{found['detected']:.0f}",
        f"{found['first step']:.0f}",
    ]


def measure(model: str, batch: str, precision: str, xla: str) -> dict[str, float | None]:
    """Seconds of a step of `fit` (median, quickest and slowest of tenths) and what else stands
    in a line of the table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    import ssd_keras

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    classes = [f"class {i}" for i in range(FLAGS.classes)]
    detector = ssd_keras.create(model, classes, width=FLAGS.width)
    keras.config.set_dtype_policy("float32")
    images, truth = example(int(batch), detector.image_size)
    detector.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9, global_clipnorm=10.0), jit_compile=xla == "on"
    )
    clock = Clock()
    steps = WARM_UP + FLAGS.steps
    detector.fit(
        same_batch(images, truth, steps), steps_per_epoch=steps, verbose=0, callbacks=[clock]
    )
    peak = peak_bytes()
    return {
        **clock.seconds(),
        "encoding and loss": seconds_of_the_objective(detector, images, truth),
        "peak bytes": peak,
        "detected": detected_per_second(detector, images),
    }


def example(batch: int, image_size: tuple[int, int]) -> tuple:
    """Images `[B, H, W, 3]` float32 of noise and ground truth with `OBJECTS` boxes in each."""
    import numpy as np

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, *image_size, 3)).astype("float32")
    corner = random.uniform(0, 0.7, (batch, OBJECTS, 2))
    size = random.uniform(0.05, 0.3, (batch, OBJECTS, 2))
    truth = {
        "boxes": np.concatenate([corner, corner + size], axis=-1).astype("float32"),
        "labels": random.integers(0, FLAGS.classes, (batch, OBJECTS), dtype="int32"),
    }
    return images, truth


def same_batch(images, truth, steps: int):
    """The batch, as often as `fit` takes steps."""
    for _ in range(steps):
        yield images, truth


def Clock():
    """A callback that times steps in ten groups; Keras is imported when the process measures."""
    import keras

    class _Clock(keras.callbacks.Callback):
        group = max(1, FLAGS.steps // 10)

        def on_train_begin(self, logs=None):
            self.marks = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            timed = batch - WARM_UP + 1
            if batch == 0 or (timed >= 0 and timed % self.group == 0):
                # The loss is there when the step has been computed, not only asked for.
                float(logs["loss"])
                self.marks.append(time.perf_counter())

        def seconds(self) -> dict[str, float]:
            pairs = zip(self.marks[2:-1], self.marks[3:], strict=True)
            each = [(end - start) / self.group for start, end in pairs]
            return {
                "first step": self.marks[1] - self.marks[0],
                "step": statistics.median(each),
                "quickest": min(each),
                "slowest": max(each),
            }

    return _Clock()


def seconds_of_the_objective(detector, images, truth) -> float:
    """Seconds of the encoding and of the loss with its gradient, each compiled alone."""
    from keras import ops

    from ssd_keras.jit import jit

    network = detector.box_network
    predictions = {
        name: ops.cast(value, "float32")
        for name, value in detector(images[:1], training=False).items()
    }
    predictions = {
        name: ops.repeat(value, len(images), axis=0) for name, value in predictions.items()
    }
    encode = jit(lambda boxes, labels: network.encode(boxes, labels))
    boxes, labels = (ops.convert_to_tensor(truth[key]) for key in ("boxes", "labels"))
    targets = encode(boxes, labels)
    gradient = jit(gradient_of(lambda p, t: network.loss(t, p)["loss"]))
    encoding = seconds(lambda: wait_for(encode(boxes, labels)))
    return encoding + seconds(lambda: wait_for(gradient(predictions, targets)))


def gradient_of(loss):
    """The gradient of `loss(predictions, targets)` by the predictions, for either backend."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(loss)
    import tensorflow as tf

    def gradient(predictions, targets):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = loss(predictions, targets)
        return tape.gradient(value, predictions)

    return gradient


def seconds(run, repeats: int = 20) -> float:
    """Median seconds of a call, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def wait_for(results) -> None:
    """Returns when the device has computed the results; reads one number of them."""
    import keras
    from keras import ops

    for value in keras.tree.flatten(results):
        if keras.backend.backend() == "jax":
            value.block_until_ready()
        else:
            ops.convert_to_numpy(ops.ravel(value)[:1])


def detected_per_second(detector, images) -> float:
    """Images a second through the network, decoding and suppression, read by the host."""
    return len(images) / seconds(lambda: list(detector.detect_batches([images])), repeats=5)


def peak_bytes() -> int | None:
    """The most memory that the backend has held on the first accelerator; None where unknown."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


if __name__ == "__main__":
    app.run(main)
