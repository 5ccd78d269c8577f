"""How many training images a second the input pipeline gives, and where the time goes.

python -m tests.benchmarks.pipeline [--data=voc:DIR] [--images=100] [--seconds=8]

Without --data, photographs-like JPEGs of 375x500 are drawn into a temporary folder. Times of single
steps are CPU time of one image, over all threads.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image

from ssd_keras import data
from ssd_keras.data import augmentation as augment
from ssd_keras.data import draws, shapes, tfrecord

FLAGS = flags.FLAGS
flags.DEFINE_string("data", "", "Data to read; empty draws some.")
flags.DEFINE_integer("images", 64, "Images to draw.")
flags.DEFINE_float("seconds", 8.0, "Time spent on each measurement.")
flags.DEFINE_integer("batch_size", 32, "Images in a batch.")


def main(argv):
    """Prints images a second for each way in, and milliseconds for each step."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        if FLAGS.data:
            source = data.load_source(FLAGS.data)
        else:
            source = drawn(Path(folder), FLAGS.images)
        tfrecord.write(source, f"{folder}/packed", shards=2)
        packed = data.load_source(f"tfrecord:{folder}/packed-*")
        print(
            f"{len(source)} images, batches of {FLAGS.batch_size} at 300x300, "
            f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
        )
        print(f"{'':34}images/s  CPU ms/image")
        for name, one, options in (
            ("files, SSD chain", source, {"cache_bytes": 0}),
            ("TFRecord, SSD chain", packed, {"cache_bytes": 0}),
            ("cached in memory, SSD chain", source, {}),
            ("files, light chain", source, {"cache_bytes": 0, "augmentation": "light"}),
            ("files, resize only", source, {"cache_bytes": 0, "augmentation": "none"}),
            ("shapes, drawn anew, SSD chain", data.load_source("shapes#train"), {"cache_bytes": 0}),
        ):
            rate, cpu = speed(one, **options)
            print(f"{name:34}{rate:8.0f}  {cpu:12.2f}")
        steps(source)


def drawn(folder: Path, count: int):
    """A VOC folder of pictures with the size and file size of VOC's."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    for index in range(count):
        image, boxes, labels = shapes.draw((3, index), 512)
        image, boxes = image[:375, :500], boxes * 512
        Image.fromarray(image).save(folder / f"JPEGImages/{index}.jpg", quality=90)
        objects = ""
        for box, label in zip(boxes, labels, strict=True):
            y0, x0, y1, x1 = np.clip(box, 0, [375, 500, 375, 500]).astype(int)
            if y1 > y0 + 4 and x1 > x0 + 4:
                objects += (
                    f"<object><name>{shapes.CLASSES[label]}</name><bndbox><xmin>{x0 + 1}</xmin>"
                    f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
                )
        text = f"<annotation>{objects}</annotation>"
        (folder / f"Annotations/{index}.xml").write_text(text)
    return data.load_source(f"voc:{folder}")


def speed(source, **options) -> tuple[float, float]:
    """Images a second, and CPU milliseconds an image over all threads."""
    batches = iter(data.training_batches(source, batch_size=FLAGS.batch_size, **options))
    warm = max(3, len(source) // FLAGS.batch_size if "cache_bytes" not in options else 3)
    for _ in range(warm):
        next(batches)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < FLAGS.seconds:
        next(batches)
        count += FLAGS.batch_size
    seconds = time.perf_counter() - start
    return count / seconds, 1000 * (time.process_time() - cpu) / count


def steps(source) -> None:
    """CPU time of each step of the SSD chain: what the pipeline takes more with it than before.

    Steps are run inside tf.data, because a call from Python costs as much as a step.
    """
    truth = source.ground_truth()
    paths = tf.constant([t.path for t in truth])
    lengths = [len(t) for t in truth]
    starts = tf.constant(np.cumsum([0, *lengths]))
    all_boxes = tf.constant(np.concatenate([t.boxes for t in truth]))
    size = (300, 300)

    def read(i, state):
        state["encoded"] = tf.io.read_file(paths[i % len(truth)])
        return state["encoded"]

    def decode(i, state):
        state["image"] = tf.io.decode_jpeg(
            state["encoded"], channels=3, dct_method="INTEGER_ACCURATE"
        )
        return state["image"]

    def draw(i, state):
        at = i % len(truth)
        boxes = all_boxes[starts[at] : starts[at + 1]]
        shape = tf.shape(state["image"])
        seed = tf.stack([tf.cast(i, tf.int32), 1])
        state["draw"] = draws.draw_ssd(seed, boxes, shape[0], shape[1])
        # The sum, so that no part of the draw is left out as useless.
        return tf.add_n([tf.reduce_sum(tf.cast(v, tf.float32)) for v in state["draw"].values()])

    def resize(i, state):
        place = augment.placement(tf.shape(state["image"])[:2], state["draw"]["window"], size)
        state["place"] = place
        state["part"] = augment.sample(state["image"], place, state["draw"]["interpolation"])
        return state["part"]

    def distort(i, state):
        part = tf.clip_by_value(augment.distort(state["part"], state["draw"]), 0.0, 255.0)
        state["part"] = tf.cast(tf.round(part), tf.uint8)
        return state["part"]

    def finish(i, state):
        part = augment.lay_on_fill(state["part"], state["place"], size)
        flip = state["draw"]["flip"]
        return tf.cond(flip, lambda: tf.reverse(part, [1]), lambda: part)

    chain = {
        "read the file": read,
        "decode the JPEG": decode,
        "draw parameters, 300 crops": draw,
        "expand + crop + resize": resize,
        "photometric, round": distort,
        "fill, flip": finish,
    }
    times, before = {}, cpu_of(lambda i: tf.cast(i, tf.float32))
    parts = []
    for name, part in chain.items():
        parts.append(part)

        def prefix(i):
            state = {}
            result = [part(i, state) for part in parts][-1]
            if result.dtype == tf.string:
                return tf.cast(tf.strings.length(result), tf.float32)
            return tf.cast(tf.reshape(result, [-1])[0], tf.float32)

        after = cpu_of(prefix)
        times[name], before = after - before, after
    print(f"\n{'step':30}CPU ms/image   share")
    for name, value in times.items():
        print(f"{name:30}{value:12.2f}  {value / sum(times.values()):6.0%}")


def cpu_of(function) -> float:
    """CPU milliseconds of a function of the image's number inside tf.data, the least of three."""
    dataset = tf.data.Dataset.range(1 << 40).map(function, num_parallel_calls=2).batch(32)
    batches, taken = iter(dataset), []
    for _ in range(2):
        next(batches)
    for _ in range(3):
        count, start, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < FLAGS.seconds / 4:
            next(batches)
            count += 32
        taken.append(1000 * (time.process_time() - cpu) / count)
    return min(taken)


if __name__ == "__main__":
    app.run(main)
