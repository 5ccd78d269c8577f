"""The whole way in one go: train, evaluate, export to TFLite, detect, with pictures.

ssd-keras demo

It trains on shapes that are drawn on the fly, so it needs no data and no network.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from absl import flags

from ssd_keras import data, deploy, drawing, evaluation, sheets
from ssd_keras.commands import _program
from ssd_keras.deploy.timing import milliseconds
from ssd_keras.deploy.writing import USUAL_IMAGES
from ssd_keras.detector import Detector
from ssd_keras.files import refuse_remote, replace, write_text
from ssd_keras.training import RunFolder
from ssd_keras.training.one_line import MODEL, train

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", "runs/demo", "Folder of the run; the same folder goes on with it.")
flags.DEFINE_string("model", MODEL, "Model: <BoxNetwork>_<Backbone>_<size>.")
flags.DEFINE_float("width", 0.25, "Channel multiplier, 0.25 to 1.")
flags.DEFINE_string("train_data", "shapes#train,count=2500", "Data to train on.")
flags.DEFINE_string("eval_data", "shapes#val,count=100", "Data to watch the training on.")
flags.DEFINE_string("test_data", "shapes#test", "Unseen data for the table.")
flags.DEFINE_integer("epochs", 11, "Passes over the training data.")
flags.DEFINE_integer("batch_size", 8, "Images per step.")
flags.DEFINE_float("learning_rate", 2e-3, "Highest learning rate.")
flags.DEFINE_string("augmentation", "light", "'ssd', 'light' or 'none'.")
flags.DEFINE_integer("seed", 0, "Seed of weights, data order and augmentation.")
flags.DEFINE_integer("calibration_images", USUAL_IMAGES, "Training images that calibrate int8.")

SETTINGS = ("width", "augmentation", "seed", "epochs", "batch_size", "learning_rate")
PICTURED_IMAGES = 8
PICTURED_SCORE = 0.4
TIMED_IMAGES = 50


@dataclasses.dataclass(frozen=True)
class Row:
    """One exported form in the table."""

    form: str
    ap50: float
    ap: float
    milliseconds: float
    megabytes: float


def main(_):
    """Trains, measures each form on unseen images, draws, and says what to run next."""
    refuse_remote(FLAGS.run_dir, "the demonstration")
    started = time.monotonic()
    print("Training a detector on drawn shapes: 10 to 20 minutes on 2 cores.\n", flush=True)
    detector = trained_on_shapes()
    trained = time.monotonic() - started
    folder = RunFolder(FLAGS.run_dir)
    unseen = data.load_source(FLAGS.test_data, classes=detector.classes)
    print(f"\nMeasuring on {len(unseen)} unseen images of {FLAGS.test_data}.", flush=True)

    exported = export(detector, folder)
    readable = dict(unseen.readable())
    images = list(readable.values())
    found = {"Keras": evaluation.detect_source(detector, unseen)}
    speed = milliseconds_per_image(detector.detect, images)
    rows = [judge("Keras", unseen, found["Keras"], speed, folder.best)]
    for form, path in exported.items():
        runner = deploy.TFLiteDetector(path, trusted=True)
        found[form] = [None] * len(unseen)
        for index, image in readable.items():
            found[form][index] = runner.detect(image)
        speed = milliseconds_per_image(runner.detect, images)
        rows.append(judge(form, unseen, found[form], speed, path))
    write_text(
        folder.path / "table.json",
        json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n",
    )
    for form, name in (("Keras", "keras"), ("TFLite int8", "int8")):
        draw(readable, unseen, found[form], folder.pictures / f"shapes_{name}.png")
    print(f"\n{table(rows)}\n")
    print(farewell(folder, exported, trained, time.monotonic() - started))


def trained_on_shapes() -> Detector:
    """A short training by the flags; what they do not say is chosen as in any training."""
    return train(
        FLAGS.train_data,
        run_dir=FLAGS.run_dir,
        model=FLAGS.model,
        eval_data=FLAGS.eval_data,
        eval_every=4,
        warmup_epochs=0.5,
        **{name: FLAGS[name].value for name in SETTINGS},
    )


def export(detector, folder: RunFolder) -> dict[str, Path]:
    """Writes the float32 and the int8 file and returns form -> path."""
    training = data.load_source(FLAGS.train_data, classes=detector.classes)
    images = deploy.calibration_images(training, FLAGS.calibration_images)
    paths = {}
    for quantization, form in (("none", "TFLite float32"), ("int8", "TFLite int8")):
        print(f"Exporting {form}.", flush=True)
        shown = images if quantization == "int8" else None
        content = deploy.to_tflite(detector, quantization=quantization, calibration_images=shown)
        name = "float32" if quantization == "none" else quantization
        paths[form] = folder.path / "exported" / f"{detector.name}_{name}.tflite"
        replace(paths[form], lambda path, content=content: path.write_bytes(content))
    return paths


def milliseconds_per_image(detect, images) -> float:
    """Median milliseconds of one image, resizing and suppression included."""
    images = images[:TIMED_IMAGES]
    left = iter(images)
    return milliseconds(lambda: detect(next(left)), repeats=len(images), warmup=0)


def judge(form: str, source, found, milliseconds: float, path: Path) -> Row:
    """Measures detections against the ground truth."""
    ground_truth = source.ground_truth()
    return Row(
        form,
        evaluation.voc_ap(ground_truth, found, source.classes)["map"],
        evaluation.coco_ap(ground_truth, found, source.classes)["AP"],
        milliseconds,
        path.stat().st_size / 1e6,
    )


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<16}{'mAP@0.5':>9}{'mAP@0.5:0.95':>14}{'ms/image':>10}{'MB':>8}"]
    lines += [
        f"{row.form:<16}{row.ap50:>9.3f}{row.ap:>14.3f}{row.milliseconds:>10.1f}"
        f"{row.megabytes:>8.2f}"
        for row in rows
    ]
    lines.append(
        "mAP@0.5: VOC average precision over all points; mAP@0.5:0.95: COCO AP; ms: median of one\n"
        "image on this machine, one thread for TFLite, resizing and suppression included."
    )
    return "\n".join(lines)


def draw(images: dict, source, found, path: Path):
    """Saves the first images, ground truth beside prediction."""
    shown = list(images)[:PICTURED_IMAGES]
    picture = drawing.side_by_side(
        [images[index] for index in shown],
        [source.ground_truth()[index] for index in shown],
        [found[index] for index in shown],
        source.classes,
        score_threshold=PICTURED_SCORE,
    )
    replace(path, lambda temporary: sheets.save(picture, temporary))


def farewell(folder: RunFolder, exported, trained: float, total: float) -> str:
    """Where everything lies, and what to run next."""
    files = "\n".join(f"  {path}" for path in exported.values())
    text = f"""Done in {total / 60:.1f} minutes, {trained / 60:.1f} of them training.

Pictures   {folder.pictures} (curves, ground truth beside predictions)
Detector   {folder.best}
TFLite
{files}

Next, on your own images with VOC annotations (JPEGImages/, Annotations/, ImageSets/Main/):
  ssd-keras train --train_data=voc:DIR#train --eval_data=voc:DIR#val \\
      --run_dir=runs/mine --backbone_weights=imagenet
  ssd-keras detect --run_dir=runs/mine --images='photos/*.jpg' --out=detections
  ssd-keras export-tflite --run_dir=runs/mine --quantization=int8 \\
      --calibration_data=voc:DIR#train --out=mine.tflite"""
    return _program.usage(text)
