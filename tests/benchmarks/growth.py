"""What data sets of growing size cost: seconds and memory from the annotations to the batches.

    python -m tests.benchmarks.growth [--images=1000,10000,100000] [--steps=500] [--folder=DIR]

draws COCO sets with segmentations, as large as those of COCO train2017 are for their images (7.27
objects and 4 kB of JSON an image), whose image files are hard links to 64 photographs-like JPEGs,
and prints a table in Markdown. Every measurement is made by a process of its own: CPU and wall
seconds of all its threads without the imports, and the peak of its memory with them. "again" is
the second start, with what the first one kept; the first has an empty cache.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from absl import app, flags

from tests.benchmarks import alone

FLAGS = flags.FLAGS
flags.DEFINE_list("images", ["1000", "10000", "100000"], "Sizes of the sets.")
flags.DEFINE_float("objects", 7.27, "Objects an image.")
flags.DEFINE_integer("points", 26, "Corners of a segmentation.")
flags.DEFINE_integer("classes", 80, "Classes.")
flags.DEFINE_integer("steps", 500, "Batches of 32 that are read.")
flags.DEFINE_list(
    "measures", ["load", "again", "batches", "check", "records"], "What is measured, in order."
)
flags.DEFINE_string("folder", "", "Where to put the sets, to keep them; empty: a temporary one.")
flags.DEFINE_string("only", "", "MEASURE:FOLDER, measured in this process.")

PICTURES = 64


def main(argv):
    """Prints the table."""
    del argv
    if FLAGS.only:
        from ssd_keras import data  # noqa: F401  (not part of what is measured)

        measure, _, folder = FLAGS.only.partition(":")
        print(alone.measured(lambda: MEASURES[measure](Path(folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(FLAGS.folder or temporary)
        print(f"| images | what {alone.HEAD}\n|---|---|---|---|---|---|")
        for count in map(int, FLAGS.images):
            folder = drawn(root / str(count), count)
            for measure in FLAGS.measures:
                given = [f"--only={measure}:{folder}", f"--steps={FLAGS.steps}"]
                cache = {"SSD_KERAS_CACHE": str(folder / "cache")}
                cells = alone.row("tests.benchmarks.growth", given, cache)
                print(f"| {count:,} | {measure} {cells}", flush=True)


def load(folder: Path) -> str:
    """The annotations are read and checked."""
    from ssd_keras import data

    source = data.load_source(f"coco:{folder}#train")
    return f"{len(source):,} images, {len(source.problems)} problems"


def batches(folder: Path) -> str:
    """Training batches of 32 images of 300x300."""
    from ssd_keras import data

    began = time.perf_counter()
    source = data.load_source(f"coco:{folder}#train")
    opened = time.perf_counter()
    marks = []
    for _ in data.training_batches(source, augmentation="light", steps=FLAGS.steps):
        marks.append(time.perf_counter())
    speed = 32 * (len(marks) - 1) / (marks[-1] - marks[0]) if len(marks) > 1 else 0
    return (
        f"first batch {marks[0] - began:.1f} s, {marks[0] - opened:.1f} s of them after loading; "
        f"{speed:.0f} images/s"
    )


def check(folder: Path) -> str:
    """`check_data`, which decodes every image."""
    command = [sys.executable, "-m", "experiments.check_data", f"--data=coco:{folder}#train"]
    done = subprocess.run(command, capture_output=True, text=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return f"exit code {done.returncode}, {children:.2f} GiB"


def records(folder: Path) -> str:
    """The set as records is opened; the first time they are written, which is in the columns."""
    from ssd_keras import data
    from ssd_keras.data import tfrecord

    if not (folder / "records").exists():
        source = data.load_source(f"coco:{folder}#train")
        tfrecord.write(source, f"{folder}/records/train", shards=8)
    began = time.process_time()
    source = data.load_source(f"tfrecord:{folder}/records/train-*")
    return f"{len(source):,} images in {time.process_time() - began:.1f} CPU s"


MEASURES = {
    "load": load,
    "again": load,
    "batches": batches,
    "check": check,
    "records": records,
}


def drawn(folder: Path, count: int) -> Path:
    """A COCO folder of so many images; one that is there is taken as it is."""
    path = folder / "annotations" / "instances_train.json"
    if path.exists():
        return folder
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = draw_pictures(folder / "pictures")
    (folder / "train").mkdir(exist_ok=True)
    for index in range(count):
        target = folder / "train" / f"{index:012d}.jpg"
        if not target.exists():
            os.link(folder / "pictures" / f"{index % PICTURES}.jpg", target)
    temporary = path.with_suffix(".partial")
    with open(temporary, "w", encoding="ascii") as file:
        write_json(file, count, sizes)
    temporary.rename(path)
    return folder


def draw_pictures(folder: Path) -> list[tuple[int, int]]:
    """JPEGs of smooth noise, as large as photographs; returns (width, height) of each."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    sizes = []
    for index in range(PICTURES):
        size = ((640, 480), (480, 640), (640, 427), (500, 375))[index % 4]
        coarse = Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = smooth + random.integers(-12, 13, smooth.shape)
        image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        image.save(folder / f"{index}.jpg", quality=90)
        sizes.append(size)
    return sizes


def write_json(file, count: int, sizes) -> None:
    """The annotations, in pieces, so that any number of them can be written."""
    categories = [
        {"supercategory": "x", "id": i + 1, "name": f"c{i}"} for i in range(FLAGS.classes)
    ]
    file.write('{"info": {"year": 2017}, "licenses": [{"url": "x", "id": 1}], "images": [')
    for index in range(count):
        width, height = sizes[index % len(sizes)]
        entry = {
            "license": 1 + index % 8,
            "file_name": f"{index:012d}.jpg",
            "coco_url": f"http://images.example.org/train2017/{index:012d}.jpg",
            "height": height,
            "width": width,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": f"http://farm7.example.org/6116/{index:012d}_a4fb42f4c2_z.jpg",
            "id": index,
        }
        file.write((", " if index else "") + json.dumps(entry))
    file.write('], "annotations": [')
    random, first = np.random.default_rng(1), True
    for number, index in enumerate(
        np.sort(random.integers(0, count, round(count * FLAGS.objects)))
    ):
        entry = annotation(random, number, int(index), *sizes[index % len(sizes)])
        file.write(("" if first else ", ") + json.dumps(entry))
        first = False
    file.write(f'], "categories": {json.dumps(categories)}}}')


def annotation(random, number: int, image: int, width: int, height: int) -> dict:
    """An object with a polygon around its box."""
    corner = random.uniform(0, 0.8, 2) * (width, height)
    size = random.uniform(0.02, 0.2, 2) * (width, height)
    points = corner + size * random.uniform(0, 1, (FLAGS.points, 2))
    x, y, w, h = np.round([*corner, *size], 2).tolist()
    return {
        "segmentation": [np.round(points, 2).ravel().tolist()],
        "area": float(w * h * 0.7),
        "iscrowd": 0,
        "image_id": image,
        "bbox": [x, y, w, h],
        "category_id": 1 + number % FLAGS.classes,
        "id": number + 1,
    }


if __name__ == "__main__":
    app.run(main)
