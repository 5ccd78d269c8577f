"""Every named model at full size as .tflite: size, time, and how near it comes to Keras.

python -m tests.benchmarks.tflite_models [--models=SSD_VGG16_300,...] [--classes=20] [--threads=2]

Weights are random, so differences are those of computation alone. "error": largest difference of
the float32 file's raw outputs from Keras', relative to the largest output. "builtin": share of
Keras' detections that the complete float32 file finds, same class, boxes within 0.5 px. "noise":
the int8 file's raw outputs, root mean square difference relative to their spread; beside it what
grey-level noise of deviation 2 in the image does to Keras, since networks with random weights
amplify any small change. ms: the least of three medians. Each model has a process of its own.

python -m tests.benchmarks.tflite_models --write_table [--models=...]

writes bytes, milliseconds on one thread and noise of the int8 files into ssd_keras/models.csv. Run
it with nothing beside it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_list("models", [], "Which models; all named ones if empty.")
flags.DEFINE_integer("classes", 20, "Number of classes.")
flags.DEFINE_integer("threads", 2, "Threads to measure the time with.")
flags.DEFINE_integer("runs", 20, "Runs of each file.")
flags.DEFINE_integer("seconds", 3600, "Time limit of a model.")
flags.DEFINE_bool("write_table", False, "Write what is measured to the table of models.")
flags.DEFINE_string("only", "", "Measure this model in this process and print JSON.")

CALIBRATION_IMAGES = 4
COLUMNS = {
    "model": "{}",
    "fp32 MB": "{:.2f}",
    "int8 MB": "{:.2f}",
    "error": "{:.1e}",
    "builtin": "{:.1%}",
    "int8 noise": "{:.3f}",
    "image noise": "{:.3f}",
    "fp32 ms": "{:.1f}",
    "int8 ms": "{:.1f}",
    "fp32 s": "{:.0f}",
    "int8 s": "{:.0f}",
    "GB": "{:.1f}",
}


def main(argv):
    """Prints a line per model."""
    del argv
    if FLAGS.only:
        print(json.dumps(measure(FLAGS.only)))
        return
    from ssd_keras import zoo

    if FLAGS.write_table:
        FLAGS.threads = 1
    print("  ".join(f"{name:>11}" if name != "model" else f"{name:<22}" for name in COLUMNS))
    for name in FLAGS.models or zoo.MODELS:
        command = [sys.executable, "-m", "tests.benchmarks.tflite_models", f"--only={name}"]
        command += [f"--{key}={FLAGS[key].value}" for key in ("classes", "threads", "runs")]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=FLAGS.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{name:<22}  not done within {FLAGS.seconds} s", flush=True)
            continue
        if done.returncode:
            print(f"{name:<22}  {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        print(line(row), flush=True)
        if FLAGS.write_table:
            remember(row)


def remember(row: dict):
    """Writes the columns of the int8 file into the table of models."""
    from ssd_keras.model_table import model_table
    from tests.benchmarks.models import write_table

    found = {
        "int8_bytes": str(round(row["int8 MB"] * 1e6)),
        "int8_ms": f"{row['int8 ms']:.2f}",
        "int8_noise": f"{row['int8 noise'] / row['image noise']:.3f}",
    }
    write_table([old | found if old["name"] == row["model"] else old for old in model_table()])


def line(row: dict) -> str:
    """A row of the table."""
    cells = [form.format(row[name]) for name, form in COLUMNS.items()]
    return "  ".join([f"{cells[0]:<22}", *(f"{cell:>11}" for cell in cells[1:])])


def measure(name: str) -> dict:
    """Converts a model and compares the files with it."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    import ssd_keras
    from ssd_keras import deploy
    from ssd_keras.deploy import tflite
    from ssd_keras.resizing import resize
    from tests.deploy.conftest import complete, enliven, pictures

    def converted(quantization: str) -> bytes:
        images = pictures(CALIBRATION_IMAGES) if quantization == "int8" else None
        return deploy.raw_network(detector, quantization=quantization, calibration_images=images)

    def outputs(content: bytes) -> dict:
        serve = Interpreter(model_content=content, num_threads=2).get_signature_runner(
            "serving_default"
        )
        (entry,) = serve.get_input_details().values()
        return serve(image=image.astype(entry["dtype"]))

    def measure_complete(raw: bytes, quantization: str):
        content = complete(raw, detector, tflite.Options(quantization))
        sizes[quantization] = len(content)
        runner = deploy.TFLiteDetector(content, FLAGS.threads)
        found[quantization] = runner.detect(picture)
        milliseconds[quantization] = min(runner.milliseconds(FLAGS.runs) for _ in range(3))

    keras.utils.set_random_seed(0)
    classes = [f"class {index}" for index in range(FLAGS.classes)]
    detector = enliven(ssd_keras.create(name, classes), pictures(CALIBRATION_IMAGES))
    picture = pictures(1, seed=9)[0]
    image = np.round(resize(picture, detector.image_size))[None]
    wanted = as_arrays(detector(image))
    noise = np.random.default_rng(0).normal(0, 2, image.shape).astype(np.float32)
    noisy = as_arrays(detector(image + noise))
    sizes, found, milliseconds, seconds = {}, {}, {}, {}
    raw = {}
    for quantization in ("none", "int8"):
        start = time.perf_counter()
        content = converted(quantization)
        seconds[quantization] = time.perf_counter() - start
        raw[quantization] = outputs(content)
        measure_complete(content, quantization)
    return {
        "model": name,
        "fp32 MB": sizes["none"] / 1e6,
        "int8 MB": sizes["int8"] / 1e6,
        "error": max(
            float(np.abs(raw["none"][key] - wanted[key]).max() / np.abs(wanted[key]).max())
            for key in wanted
        ),
        "builtin": matched(found["none"], detector.detect(picture)),
        "int8 noise": relative_noise(raw["int8"], wanted),
        "image noise": relative_noise(noisy, wanted),
        "fp32 ms": milliseconds["none"],
        "int8 ms": milliseconds["int8"],
        "fp32 s": seconds["none"],
        "int8 s": seconds["int8"],
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def as_arrays(predictions: dict) -> dict[str, np.ndarray]:
    """The predictions as NumPy arrays."""
    return {name: np.asarray(value) for name, value in predictions.items()}


def relative_noise(found: dict, wanted: dict) -> float:
    """Root mean square difference relative to the spread, of the worst output."""
    return max(
        float(np.sqrt(np.mean((found[key] - wanted[key]) ** 2)) / wanted[key].std())
        for key in wanted
    )


def matched(found, wanted) -> float:
    """Share of the wanted detections that are found: same class, edges within 0.5 px of 160."""
    near = [
        np.any(
            (found.labels == label) & (np.abs(found.boxes - box).max(axis=1) * 160 <= 0.5),
        )
        for box, label in zip(wanted.boxes, wanted.labels, strict=True)
    ]
    return float(np.mean(near))


if __name__ == "__main__":
    app.run(main)
