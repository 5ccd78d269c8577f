"""Our int8 SSD_MobileNet_300 beside Google's published COCO detector: size and time.

python -m tests.benchmarks.tflite [--file=OURS.tflite] [--beside=SSDLite_MobileNetV2_300,...]

Without a file, models of 80 classes with random weights are converted: neither size nor the
network's time depends on the weights' values. The published one is a MobileNet of width 0.75,
so only that of ours must be as small and as quick; the others stand beside it. Runs take turns, so
that what else the machine does hits all alike.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from ai_edge_litert.interpreter import Interpreter

from tests.conftest import SHARED

FLAGS = flags.FLAGS
flags.DEFINE_string("file", "", "Our file; made from random weights if empty.")
flags.DEFINE_list(
    "beside", ["SSDLite_MobileNetV2_300", "FPNLite_MobileNetV2_320"], "Further models of ours."
)
flags.DEFINE_list("threads", ["1", "2"], "Threads to measure with.")
flags.DEFINE_integer("runs", 60, "Runs of each file.")

PUBLISHED = SHARED / "weights" / "coco_ssd_mobilenet_v1_quant_detect.tflite"
OURS = "SSD_MobileNet_300"
WARMUP = 5


def main(argv):
    """Measures both files and prints a line each."""
    del argv
    if not PUBLISHED.exists():
        sys.exit(f"needs {PUBLISHED}")
    files = {"published": PUBLISHED.read_bytes()}
    files["ours"] = Path(FLAGS.file).read_bytes() if FLAGS.file else int8_file(OURS, width=0.75)
    files |= {name: int8_file(name) for name in FLAGS.beside}
    for threads in map(int, FLAGS.threads):
        print(f"\n{threads} threads{'':<19}{'MB':>8}{'median ms':>12}{'best ms':>10}{'times':>8}")
        found = measure(files, threads)
        published = statistics.median(found["published"])
        for name, times in found.items():
            median = statistics.median(times)
            print(
                f"{name:<28}{len(files[name]) / 1e6:>8.2f}{median:>12.2f}{min(times):>10.2f}"
                f"{median / published:>8.2f}"
            )


def int8_file(name: str, **options) -> bytes:
    """The int8 file of a model of 80 classes with random weights."""
    import ssd_keras
    from ssd_keras import deploy

    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (320, 320, 3), np.uint8) for _ in range(10)]
    classes = [f"class{index}" for index in range(80)]
    detector = ssd_keras.create(name, classes, **options)
    # Trained models see background nearly everywhere; with equal scores sorting is at its slowest.
    for weight in detector.weights:
        if "_classes" in weight.path and "bias" in weight.path:
            bias = weight.numpy().reshape(-1, len(classes) + 1)
            bias[:, 1:] -= 8.0
            weight.assign(bias.ravel())
    return deploy.to_tflite(detector, quantization="int8", calibration_images=images)


def measure(files: dict[str, bytes], threads: int) -> dict[str, list[float]]:
    """Milliseconds of each run of each file."""
    interpreters = {name: prepared(content, threads) for name, content in files.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for run in range(WARMUP + FLAGS.runs):
        for name, interpreter in interpreters.items():
            start = time.perf_counter()
            interpreter.invoke()
            if run >= WARMUP:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def prepared(content: bytes, threads: int) -> Interpreter:
    """An interpreter with a random image set."""
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    image = np.random.default_rng(0).integers(0, 256, entry["shape"])
    interpreter.set_tensor(entry["index"], image.astype(entry["dtype"]))
    return interpreter


if __name__ == "__main__":
    app.run(main)
