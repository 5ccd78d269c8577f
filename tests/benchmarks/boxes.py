"""Speed of matching with encoding and of decoding with suppression.

`python -m tests.benchmarks.boxes [match] [suppress] [memory]` prints one line per figure, each
beside a plain NumPy version of the same rule measured in the same run. Peers' figures were
measured alone on a 2-core x86-64 machine, batched and with XLA (keras-cv 0.9.0, keras-hub 0.32.0,
TF Object Detection API 2.8.0.post1, and some thirty lines of plain TensorFlow); compare ratios,
not milliseconds, on any other machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np

from tests.boxes.reference import (
    corners,
    numpy_match,
    numpy_suppress,
    random_boxes,
    ssd300,
    ssd512,
)

BATCH = 32
# images per second, by ground-truth boxes an image
PEER_MATCHING = {
    8: {"keras-cv": 3691, "plain TF": 3407, "TF OD API": 2907, "keras-hub": 1717},
    32: {"keras-cv": 1401, "plain TF": 971, "keras-hub": 537, "TF OD API": 491},
    100: {"keras-cv": 529, "plain TF": 262, "TF OD API": 144, "keras-hub": 137},
}
# milliseconds for one image, by classes; the peers' larger figure is for 90
PEER_SUPPRESSION = {20: 1.6, 80: 3.5}
# mean of the logits: the share of scores above 0.01 grows with it
CANDIDATES = {"few": -8.0, "many": -5.0, "very many": -1.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("match", "suppress", "memory")
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(parts)}; default: all")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each figure")
    parser.add_argument("--measure_peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_peak:
        print(_peak_bytes())
        return
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    chosen = options.parts or parts
    if "match" in chosen:
        benchmark_matching(options.seconds)
    if "suppress" in chosen:
        benchmark_suppression(options.seconds)
    if "memory" in chosen:
        benchmark_memory()


def benchmark_matching(seconds):
    import tensorflow as tf

    from ssd_keras import boxes as box_ops
    from ssd_keras.objectives.multibox import multibox_targets

    anchors = box_ops.default_boxes(ssd300())
    print(f"\nmatching + encoding, {len(anchors)} default boxes, batch {BATCH}: images/s")
    for count, peers in PEER_MATCHING.items():
        rng = np.random.default_rng(0)
        boxes = random_boxes(rng, BATCH, count)
        labels = rng.integers(0, 20, (BATCH, count)).astype(np.int32)
        inputs = tf.constant(boxes), tf.constant(labels)

        def run(boxes, labels):
            return multibox_targets(boxes, labels, anchors)

        rates = {}
        for name, jit in (("graph", False), ("XLA", True)):
            compiled = tf.function(run, jit_compile=jit, autograph=False)
            rates[name] = BATCH / _seconds(seconds, compiled, *inputs)
        plain = 2 / _seconds(seconds, _numpy_batch, boxes[:2], anchors, warm_up=0)
        best = max(rates.values())
        peer, rate = max(peers.items(), key=lambda item: item[1])
        print(
            f"  {count:3d} boxes: graph {rates['graph']:7.0f}  XLA {rates['XLA']:7.0f}  "
            f"NumPy {plain:6.1f} ({best / plain:.0f}x)  | "
            + "  ".join(f"{name} {value}" for name, value in peers.items())
            + f"  | {best / rate:.2f} of {peer}'s"
        )


def benchmark_suppression(seconds):
    import tensorflow as tf

    from ssd_keras import boxes as box_ops

    anchors = box_ops.default_boxes(ssd300())
    print(f"\ndecoding + suppression, {len(anchors)} default boxes, sigmoid scores: ms per image")
    for classes in (20, 80):
        for name, mean in CANDIDATES.items():
            rng = np.random.default_rng(0)
            codes = rng.normal(0, 0.3, (8, len(anchors), 4)).astype(np.float32)
            logits = rng.normal(mean, 1, (8, len(anchors), classes)).astype(np.float32)
            confident = rng.integers(0, len(anchors), 87)
            logits[:, confident, rng.integers(0, classes, 87)] = rng.normal(2, 1.5, 87)

            def run(codes, logits):
                return box_ops.suppress(box_ops.decode(codes, anchors), tf.sigmoid(logits))

            times = {}
            for jit in (False, True):
                compiled = tf.function(run, jit_compile=jit, autograph=False)
                for batch in (1, 8):
                    inputs = tf.constant(codes[:batch]), tf.constant(logits[:batch])
                    times[jit, batch] = _seconds(seconds, compiled, *inputs) / batch * 1e3
            best = min(times[False, 1], times[True, 1])
            plain = _seconds(0, _numpy_detect, codes[0], logits[0], anchors, warm_up=0)
            share = int((logits[0] > np.log(0.01 / 0.99)).sum())
            print(
                f"  {classes} classes, {name:9s} ({share:6d} candidates): "
                f"alone graph {times[False, 1]:6.2f}  XLA {times[True, 1]:6.2f}  "
                f"batch of 8 graph {times[False, 8]:6.2f}  XLA {times[True, 8]:6.2f}  "
                f"NumPy {plain * 1e3:8.1f} ({plain / best * 1e3:.0f}x)"
                f"  | {PEER_SUPPRESSION[classes] / best:.2f} times the speed of the best peer"
            )
    print(
        "  peers, one image: TF OD API with combined NMS 1.6 ms at 20 classes, 4.8 ms at 90; "
        "plain TF with the best 1000 chosen first 3.5 ms at 90"
    )


def benchmark_memory():
    """Peak memory of matching 32 x 100 boxes on 24,564 default boxes, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.boxes", "--measure_peak"]
    peak = int(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    )
    print(
        f"\nmatching 32 x 100 boxes on 24,564 default boxes adds {peak / 2**20:.0f} MiB "
        "to the peak, compiling included (to stay below: 1024)"
    )


def _peak_bytes():
    from ssd_keras import boxes as box_ops

    anchors = box_ops.default_boxes(ssd512())
    boxes = random_boxes(np.random.default_rng(0), BATCH, 100)
    np.array(box_ops.match(boxes[:1, :1], anchors[:8]))
    before = _high_water()
    np.array(box_ops.match(boxes, anchors))
    return _high_water() - before


def _high_water():
    """Peak resident bytes of this process (Linux)."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _numpy_targets(boxes, anchors):
    matched = numpy_match(boxes, anchors)
    box = boxes[np.maximum(matched, 0)]
    center, anchor_center = (box[:, :2] + box[:, 2:]) / 2, (anchors[:, :2] + anchors[:, 2:]) / 2
    size, anchor_size = box[:, 2:] - box[:, :2], anchors[:, 2:] - anchors[:, :2]
    codes = (center - anchor_center) / anchor_size / 0.1, np.log(size / anchor_size) / 0.2
    return matched, np.concatenate(codes, axis=-1)


def _numpy_detect(codes, logits, anchors):
    center, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    box = np.concatenate(
        [codes[:, :2] * 0.1 * size + center, np.exp(codes[:, 2:] * 0.2) * size], axis=-1
    )
    return numpy_suppress(corners(box), 1 / (1 + np.exp(-logits)))


def _numpy_batch(boxes, anchors):
    return [_numpy_targets(image, anchors) for image in boxes]


def _seconds(budget, function, *inputs, warm_up=2):
    """Median time of a call after the first ones, over `budget` seconds, at least one call."""
    times, start = [], 0.0
    while len(times) <= warm_up or time.perf_counter() - start < budget:
        begin = time.perf_counter()
        if len(times) == warm_up:
            start = begin
        result = function(*inputs)
        if isinstance(result, dict):
            # A result is there when it can be read.
            [np.asarray(value) for value in result.values()]
        times.append(time.perf_counter() - begin)
    return statistics.median(times[warm_up:])


if __name__ == "__main__":
    main()
