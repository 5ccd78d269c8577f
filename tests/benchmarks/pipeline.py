"""How many training images a second the input pipeline gives, and where the time goes.

python -m tests.benchmarks.pipeline [--data=voc:DIR] [--images=100] [--seconds=8]

Without --data, photographs-like JPEGs of 375x500 are drawn into a temporary folder. Times of single
steps are CPU time of one image on one thread.
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
from ssd_keras.data import shapes, tfrecord

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
    """CPU time of each step of the SSD chain, averaged over its random draws."""
    truth = source.ground_truth()
    encoded = [Path(t.path).read_bytes() for t in truth[:32]]
    images = [tf.io.decode_jpeg(e, 3, dct_method="INTEGER_ACCURATE") for e in encoded]
    boxes = [tf.constant(t.boxes) for t in truth[:32]]
    seeds = [tf.constant([i, 1]) for i in range(32)]

    @tf.function(reduce_retracing=True)
    def decode(e):
        return tf.io.decode_jpeg(e, 3, dct_method="INTEGER_ACCURATE")

    @tf.function(reduce_retracing=True)
    def draw(seed, box, image):
        shape = tf.shape(image)
        return augment.draw_ssd(seed, box, shape[0], shape[1])

    @tf.function(reduce_retracing=True)
    def sample(image, window, kernel):
        place = augment.placement(tf.shape(image)[:2], window, (300, 300))
        return augment.sample(image, place, kernel)

    @tf.function(reduce_retracing=True)
    def distort(part, draw):
        return tf.cast(
            tf.round(tf.clip_by_value(augment.distort(part, draw), 0.0, 255.0)), tf.uint8
        )

    @tf.function(reduce_retracing=True)
    def finish(part, image, window, flip):
        place = augment.placement(tf.shape(image)[:2], window, (300, 300))
        part = augment.lay_on_fill(part, place, (300, 300))
        return tf.cond(flip, lambda: tf.reverse(part, [1]), lambda: part)

    draws = [draw(*args) for args in zip(seeds, boxes, images, strict=True)]
    parts = [sample(i, d["window"], d["interpolation"]) for i, d in zip(images, draws, strict=True)]
    rounded = [distort(part, d) for part, d in zip(parts, draws, strict=True)]
    runs = {
        "decode": lambda i: decode(encoded[i]),
        "draw parameters, 300 crops": lambda i: draw(seeds[i], boxes[i], images[i]),
        "expand + crop + resize": lambda i: sample(
            images[i], draws[i]["window"], draws[i]["interpolation"]
        ),
        "photometric, round": lambda i: distort(parts[i], draws[i]),
        "fill, flip": lambda i: finish(rounded[i], images[i], draws[i]["window"], draws[i]["flip"]),
    }
    print("\nstep                          CPU ms/image   share")
    times = {}
    for name, run in runs.items():
        for i in range(len(images)):
            run(i)
        cpu = time.process_time()
        for _ in range(4):
            for i in range(len(images)):
                run(i)
        times[name] = 1000 * (time.process_time() - cpu) / (4 * len(images))
    for name, value in times.items():
        print(f"{name:30}{value:12.2f}  {value / sum(times.values()):6.0%}")


if __name__ == "__main__":
    app.run(main)
