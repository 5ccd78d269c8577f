"""Detection in one compiled step, beside the earlier way: network and suppression apart.

python -m tests.benchmarks.detection [MODEL ...]

Before, the network's raw predictions went to the host and, for decoding and suppression, back. Both
ways take turns in one process, so that what else the machine does slows both; their peaks of memory
are those of a process each.
"""

import functools
import resource
import statistics
import subprocess
import sys
import time

MODELS = ("SSD_MobileNet_300", "SSD_VGG16_300")
CLASSES = 80
REPEATS = {1: 15, 16: 5}


def build(name):
    """A new detector of 80 classes."""
    import keras

    import ssd_keras

    keras.utils.set_random_seed(0)
    return ssd_keras.create(name, [f"class {i}" for i in range(CLASSES)])


def now(detector, images):
    """Arrays of detections, by the detector's own way."""
    return list(detector.detect_batches([images]))


def earlier(detector):
    """The same by network and suppression apart."""
    from keras import ops

    from ssd_keras.detections import Detections
    from ssd_keras.jit import jit

    finish = jit(functools.partial(detector._finish, detector.suppression))

    def detect(detector, images):
        found = finish(detector.predict_on_batch(images))
        found = {key: ops.convert_to_numpy(value) for key, value in found.items()}
        return [
            Detections(
                *(found[key][i, :n] for key in ("boxes", "scores", "labels")), detector.classes
            )
            for i, n in enumerate(found["count"])
        ]

    return detect


def batch(detector, count):
    """Random images of the detector's size, float32 0..255."""
    import numpy as np

    shape = (count, *detector.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def compare(name):
    """Median milliseconds of both ways, for an image and for batches of 16."""
    import numpy as np

    detector = build(name)
    ways = {"now": now, "earlier": earlier(detector)}
    for count, repeats in REPEATS.items():
        images = batch(detector, count)
        first = {way: detect(detector, images) for way, detect in ways.items()}
        for one, other in zip(*first.values(), strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        seconds = {way: [] for way in ways}
        for _ in range(repeats):
            for way, detect in ways.items():
                started = time.perf_counter()
                detect(detector, images)
                seconds[way].append(time.perf_counter() - started)
        before, after = (1e3 * statistics.median(seconds[way]) for way in ("earlier", "now"))
        line = f"{name:<22}{count:>6} {before:>10.1f} {after:>8.1f} {after / before:>7.2f}"
        print(line, flush=True)


def peak(name, way):
    """Peak of memory of a process that detects in batches of 16, MB."""
    detector = build(name)
    images = batch(detector, 16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    detect = now if way == "now" else earlier(detector)
    for _ in range(3):
        detect(detector, images)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{name:<22}{way:>8} {after / 1024:>7.0f} MB, {before / 1024:.0f} before", flush=True)


def main():
    names = sys.argv[1:] or MODELS
    print(f"{'model':<22}{'images':>6} {'earlier ms':>10} {'now ms':>8} {'ratio':>7}", flush=True)
    for name in names:
        run("compare", name)
    for name in names:
        for way in ("earlier", "now"):
            run("peak", name, way)


def run(function, *arguments):
    """One of these functions in a process of its own."""
    code = f"from tests.benchmarks.detection import {function}; {function}(*{arguments!r})"
    subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
