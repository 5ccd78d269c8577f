"""How much longer detecting in a data set takes than the model alone, and how long measuring takes.

python -m tests.benchmarks.evaluation [--data=SPEC] [--model=NAME] [--background=4]

The detector is untrained: nearly every score passes the threshold and every image has the most
detections there can be, the worst case for suppression and metrics. --background is added to the
logits of the background; 4 leaves no detection at all, the other end. Bare model time and detection
time are taken in turns over the same images; the best of each counts.
"""

import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from absl import app, flags

ROOT = Path(__file__).resolve().parents[2]
FLAGS = flags.FLAGS
flags.DEFINE_string(
    "data", f"coco:{ROOT.parent / 'shared/data/coco_subset/val'}", "Data to detect in."
)
flags.DEFINE_string("model", "SSD_MobileNet_300", "Model.")
flags.DEFINE_integer("batch_size", 16, "Images per step.")
flags.DEFINE_float("background", 0.0, "What is added to the logits of the background.")
flags.DEFINE_integer("rounds", 3, "How often each time is taken.")


def main(argv):
    """Prints milliseconds an image of each step, and seconds of the metrics."""
    del argv
    import ssd_keras
    from ssd_keras import data, evaluation
    from ssd_keras.evaluation import detect_source

    source = data.load_source(FLAGS.data)
    detector = ssd_keras.create(FLAGS.model, source.classes)
    raise_background(detector, FLAGS.background)
    images = list(batches(source, detector))
    count = len(source)
    print(
        f"{count} images of {FLAGS.data}, {len(source.classes)} classes, {FLAGS.model}, batches of "
        f"{FLAGS.batch_size}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    predictions = [detector.predict_on_batch(batch) for batch in images]
    finish = finisher(detector)
    found = detect_source(detector, source, FLAGS.batch_size, progress=False)
    steps = {
        "model alone": lambda: [detector.predict_on_batch(batch) for batch in images],
        "detecting, all of it": lambda: detect_source(
            detector, source, FLAGS.batch_size, progress=False
        ),
        "reading, decoding, resizing": lambda: list(batches(source, detector)),
        "decoding boxes, suppression": lambda: [finish(batch) for batch in predictions],
    }
    taken = {name: [] for name in steps}
    for _ in range(FLAGS.rounds):
        for name, step in steps.items():
            taken[name].append(seconds(step))
    print(f"\n{'':30}ms an image: wall    CPU")
    best = {name: min(times) for name, times in taken.items()}
    for name, (wall, cpu) in best.items():
        print(f"{name:30}{1e3 * wall / count:17.2f}{1e3 * cpu / count:7.2f}")
    ratio = best["detecting, all of it"][0] / best["model alone"][0]
    print(f"\ndetecting takes {ratio:.2f} times as long as the model alone")
    print(f"{sum(map(len, found))} detections, {sum(map(len, found)) / count:.0f} an image")

    truth = source.ground_truth()
    anchors = detector.box_network.level_anchors
    wall, _ = seconds(
        lambda: evaluation.measure(truth, found, source.classes, level_anchors=anchors)
    )
    print(f"metrics, errors, curves: {wall:.1f} s")
    measured = evaluation.measure(truth, found, source.classes, level_anchors=anchors)
    wall, _ = seconds(
        lambda: evaluation.report(
            measured, truth, found, source.classes, title="benchmark", image=source.image
        )
    )
    print(f"report with pictures: {wall:.1f} s")


def raise_background(detector, amount: float) -> None:
    """Adds `amount` to every bias of the background, which comes first among the classes."""
    outputs = len(detector.classes) + 1
    for weight in detector.weights:
        if weight.path.endswith("_classes/bias"):
            bias = weight.numpy().reshape(-1, outputs)
            bias[:, 0] += amount
            weight.assign(bias.reshape(-1))


def batches(source, detector):
    """The images as `detect_source` reads them."""
    from ssd_keras import data

    for batch in data.evaluation_batches(
        source, image_size=detector.image_size, batch_size=FLAGS.batch_size
    ):
        yield batch["images"].numpy()


def finisher(detector):
    """From raw predictions to suppressed detections, as `Detector.detect_batches` does it."""
    function = detector._finisher(0.01, 0.45, 200)
    return lambda predictions: {key: value.numpy() for key, value in function(predictions).items()}


def seconds(step) -> tuple[float, float]:
    """Wall and CPU seconds of a step."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    app.run(main)
