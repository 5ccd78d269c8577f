"""Every named model at full size: what it costs on this machine.

python -m tests.benchmarks.models [NAME ...]      seconds and memory, a process for each model
python -m tests.benchmarks.models --write_table   counts all models into ssd_keras/models.csv
"""

import csv
import resource
import subprocess
import sys
import time

BATCH = 2
STEPS = 2


def measure(name):
    """One training step, one detection and the peak of memory of one model."""
    import keras
    import numpy as np

    from ssd_keras import zoo

    detector = zoo.create(name, [f"class {i}" for i in range(zoo.TABLE_CLASSES)])
    height, width = detector.image_size
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (BATCH, height, width, 3), dtype="uint8").astype("float32")
    low = random.uniform(0, 0.5, (BATCH, 8, 2))
    truth = {
        "boxes": np.concatenate([low, low + 0.4], axis=-1).astype("float32"),
        "labels": random.integers(0, 20, (BATCH, 8), dtype="int32"),
    }
    started = time.perf_counter()
    detector.detect(images[0])
    first_detection = time.perf_counter() - started
    detection = best_of(lambda: detector.detect(images[0]))
    detection_memory = peak_gib()
    detector.compile(keras.optimizers.SGD(1e-4))
    detector.optimizer.build(detector.trainable_variables)
    started = time.perf_counter()
    detector.train_on_batch(images, truth)
    first_step = time.perf_counter() - started
    step = best_of(lambda: detector.train_on_batch(images, truth))
    print(
        f"{name:<24} {detection:>10.3f} {first_detection:>8.1f} {detection_memory:>8.2f}"
        f" {step:>10.2f} {first_step:>8.1f} {peak_gib():>8.2f}",
        flush=True,
    )


def best_of(function):
    seconds = []
    for _ in range(STEPS):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def peak_gib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write_table(rows):
    """Writes the table of models: `model_table.table_row` and `model_table.MEASURED` of each."""
    from ssd_keras.model_table import MODEL_TABLE

    with MODEL_TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    from ssd_keras import zoo
    from ssd_keras.model_table import MEASURED, model_table

    if sys.argv[1:] == ["--write_table"]:
        measured = {row["name"]: {key: row[key] for key in MEASURED} for row in model_table()}
        unknown = dict.fromkeys(MEASURED, "")
        write_table([zoo.measure(name) | measured.get(name, unknown) for name in zoo.MODELS])
        print(zoo.list_models())
        return
    print(f"{'':<24} {'detection of one image':^28} {f'training step, batch {BATCH}':^28}")
    print(f"{'name':<24}" + f" {'seconds':>10} {'first':>8} {'GiB peak':>8}" * 2, flush=True)
    for name in sys.argv[1:] or zoo.MODELS:
        code = f"from tests.benchmarks.models import measure; measure({name!r})"
        done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name:<24} failed: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
