"""Says whether a data set is fit to train on: what is in it, and what is wrong.

ssd-keras check-data --data=voc:DIR#train --model=SSD_MobileNet_300

The files are only read. Exit code 1 if something must be refused or too little is left.
"""

import functools
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from ssd_keras import data, figures, zoo
from ssd_keras.backbones.kerashub import is_kerashub
from ssd_keras.boxes import coverage
from ssd_keras.commands import _problems, _program
from ssd_keras.data import inspection, pictures, verdict
from ssd_keras.data.tile_sizes import fit_tile_size
from ssd_keras.display import column, counted, named_size
from ssd_keras.errors import UserError
from ssd_keras.files import check_writable, replace
from ssd_keras.presets import find_core
from ssd_keras.resizing import HALF_PIXEL, way_of
from ssd_keras.training import suggest
from ssd_keras.training.default_boxes import describe, fit_default_boxes
from ssd_keras.training.one_line import MODEL
from ssd_keras.training.settings import RunSettings
from ssd_keras.weights.imagenet import PUBLISHED
from ssd_keras.weights.kerashub_presets import says_imagenet

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Data to check, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("model", "", "Model whose default boxes are held against the objects.")
flags.DEFINE_string(
    "backbone", None, "Your own Core Network, FILE.py:FUNCTION, or kerashub:PRESET, of --model."
)
flags.DEFINE_float("smallest_box", None, "Smallest default box, as a share of the image.")
flags.DEFINE_integer("finest_stride", None, "Stride of the finest map; 8 for small objects.")
flags.DEFINE_string(
    "resize",
    None,
    "How images come to the model's size, 'letterbox' or (by default) 'stretch'.",
)
flags.DEFINE_string("box_scale", None, "Default boxes for 'voc' or 'coco'; None: the model's own.")
flags.DEFINE_list("classes", None, "Class names in the order of their labels.")
flags.DEFINE_string("out", "", "Folder for the pictures; empty for none.")
flags.DEFINE_string(
    "augmentation", None, "Augmentation of the last mosaic; None: what training would take."
)
flags.adopt_module_key_flags(_problems)
flags.DEFINE_bool("decode", True, "Decode every image to find those that are damaged.")


def main(_):
    """Prints the report; exits with 1 if something is refused or too little is left."""
    if FLAGS.backbone and not FLAGS.model:
        raise UserError("--backbone needs a --model, such as SSD_Mine_300.")
    if FLAGS.out:
        check_writable(Path(FLAGS.out) / "images.png")
    try:
        source = data.load_source(FLAGS.data, FLAGS.classes)
    except data.UnusableError as error:
        print(f"Not fit to train on: {error}")
        if error.problems:
            _problems.show(error.problems)
        sys.exit(1)
    # An unknown model must not wait for the last image to be decoded.
    detector = None
    if FLAGS.model:
        detector = zoo.create(FLAGS.model, source.classes, **chosen_options(), **narrow())
    size = tuple(detector.image_size) if detector else (300, 300)
    way = way_of(FLAGS.resize) if FLAGS.resize else HALF_PIXEL
    inspected = inspection.inspect_images(source, say_progress(len(source)), decode=FLAGS.decode)
    problems = [*source.problems, *inspected]
    left = verdict.judge(source, inspected, chosen=FLAGS.classes is not None)
    complaint = complaint_of(left, problems)
    if complaint:
        print(complaint + "\n")
    print_summary(source, inspection.summarize(source, size, way), size)
    print_left(source, left)
    _problems.show(problems)
    result = print_coverage(source, detector, size, way) if detector and left.kept else None
    if detector and left.kept:
        print_tiles(source, detector, size, way)
    if result is not None:
        print_choice(source)
    if FLAGS.out and left.kept:
        save_pictures(source, detector, result, size, way)
    if complaint:
        print(f"\n{complaint}")
        sys.exit(1)
    print(f"\nFit to train on: {left.images} images.{advice_on_start()}")
    print(f"Next:\n{next_command(source)}")


def say_progress(count: int):
    """What is called with the number of images done; says of many how far it is, on stderr."""
    began = time.monotonic()

    def say(done: int) -> None:
        if done % max(1000, count // 20) == 0 and done < count:
            left = (time.monotonic() - began) / done * (count - done)
            print(f"{done:,} of {count:,} images, {left / 60:.0f} min left", file=sys.stderr)

    return say


def complaint_of(left, problems) -> str:
    """Why the data should not be trained on; "" where they are fit."""
    count = inspection.count_refused(problems)
    mend = f"{count} problems must be mended before this data set can be trusted." if count else ""
    return mend if left.fit else f"Not fit to train on: {left.why()} {mend}".rstrip()


def next_command(source) -> str:
    """The command that trains on these data, with all objects of each image."""
    words = [f"--model={FLAGS.model or MODEL}"]
    words += [f"--{name}={value}" for name, value in chosen_options().items()]
    if max_boxes(source) != RunSettings.max_boxes:
        words.append(f"--max_boxes={max_boxes(source)}")
    train = _program.command("train", *words, f"--train_data={FLAGS.data}")
    return f"{train} --run_dir=DIR"


def advice_on_start() -> str:
    """What is better than random weights, where such are published; "" else."""
    name = zoo.parse(FLAGS.model or MODEL, FLAGS.backbone).backbone
    if FLAGS.backbone:
        found = is_kerashub(FLAGS.backbone) and says_imagenet(FLAGS.backbone)
    else:
        found = find_core(name).application is not None or name in PUBLISHED
    advice = (
        " With --backbone_weights=imagenet, which fetches a file the first time, it needs far "
        "fewer of them."
    )
    return advice if found else ""


def chosen_options() -> dict:
    """What was chosen for the model, as arguments of `ssd_keras.create`."""
    names = ("backbone", "smallest_box", "finest_stride", "box_scale", "resize")
    return _program.values_given(names)


def max_boxes(source) -> int:
    """The usual limit of objects in an image, or what takes all where there are more."""
    return max(RunSettings.max_boxes, int(inspection.count_objects(source).max()))


def narrow() -> dict:
    """A small width, where there are widths: it changes no default box, and is there at once."""
    core = None if FLAGS.backbone else find_core(zoo.parse(FLAGS.model).backbone)
    return {"width": 0.25} if core is None or core.has_widths else {}


def augmentation_of(source) -> str:
    """The augmentation that was asked for, or that training takes for so many images."""
    model = FLAGS.model or MODEL
    given = {"train_data": FLAGS.data, "backbone": FLAGS.backbone}
    return FLAGS.augmentation or suggest(model, len(source), given).augmentation


def print_summary(source, summary, size):
    """Prints counts, classes and box sizes."""
    print(
        f"{source.spec}: {counted(summary.images, 'image')} (median {summary.median_width}x"
        f"{summary.median_height}), {counted(summary.objects, 'object')}, "
        f"{counted(len(source.classes), 'class', 'classes')}"
    )
    print(
        f"  {summary.empty_images} images without objects, {summary.difficult} difficult and "
        f"{summary.crowd} crowd objects, at most {summary.most} objects in an image"
    )
    head, *cells = column(["class", *(name for name, _, _ in summary.per_class)])
    print(f"\n  {head}  objects   images")
    for cell, (_, objects, images) in zip(cells, summary.per_class, strict=True):
        print(f"  {cell} {objects:8d} {images:8d}" + ("   none!" if not objects else ""))
    if summary.objects:
        marks = np.percentile(summary.sides, [5, 25, 50, 75, 95])
        texts = [f"{p}% {v:.0f} px" for p, v in zip((5, 25, 50, 75, 95), marks, strict=True)]
        print(f"\n  box side at {named_size(size)}: {', '.join(texts)}")


def print_left(source, left):
    """Prints what was read, what is used of it and why not the rest."""
    print(f"\n  {left.read:,} objects read, {left.kept:,} used")
    if left.emptied or left.unlabelled:
        print(
            f"  images without objects: {left.empty:,} annotated as empty, {left.emptied:,} that "
            f"lost all of theirs, {left.unlabelled:,} without a label file"
        )
    parts = left.losses().split("; ")
    for part in filter(None, dict.fromkeys((*parts, left.backgrounds()))):
        print(f"  {part}")
    cut_off = inspection.describe_cut_off(source, RunSettings.max_boxes)
    if cut_off:
        print(f"  {cut_off}")


def print_coverage(source, detector, size, way):
    """Prints how the default boxes meet the objects; returns the coverage, None for YOLO."""
    levels = detector.box_network.level_anchors
    if not levels:
        print(f"\n{FLAGS.model} has no default boxes that could miss an object.")
        return None
    truth = source.ground_truth()
    result = coverage.coverage(
        np.concatenate([inspection.resized_boxes(t, size, way)[t.is_object] for t in truth]),
        np.concatenate([t.labels[t.is_object] for t in truth]),
        levels,
        size,
    )
    print(f"\n{coverage.describe(result, levels, size, source.classes, FLAGS.model)}")
    return result


def print_tiles(source, detector, size, way):
    """Says whether tiles would let default boxes meet more of the objects, and by how much."""
    levels = detector.box_network.level_anchors
    if not levels or not any(one.is_object.any() for one in source.ground_truth()):
        return
    best, *others = fit_tile_size(source, levels, size, way)
    if best.tiling is None:
        return
    whole = next(fit for fit in others if fit.tiling is None)
    print(
        f"\nTiles would help: {best}, of whole images {whole.met:.1%}. "
        f"Train with --tiles={'x'.join(map(str, best.tiling.size))}."
    )


def print_choice(source):
    """Says which default boxes training chooses for these data, if it chooses any."""
    settings = suggest(FLAGS.model, len(source), {"train_data": FLAGS.data, **chosen_options()})
    if settings.default_boxes == "auto":
        print(f"Training chooses: {describe(fit_default_boxes(settings, source)[1])}")


def save_pictures(source, detector, result, size, way):
    """Saves the pictures into --out."""
    summary = inspection.summarize(source, size, way)
    anchors = detector.box_network.anchors if result is not None else None
    made = {
        "classes": figures.class_counts(summary),
        "box_sizes": figures.box_sizes(inspection.all_boxes(source, size, way), anchors, size),
        "images": pictures.mosaic(source),
        "augmented": pictures.augmented_mosaic(
            source,
            augmentation=augmentation_of(source),
            image_size=size,
            resize=way,
            max_boxes=max_boxes(source),
        ),
    }
    if result is not None:
        share = result.side / np.sqrt(np.prod(size))
        made["coverage"] = figures.coverage(share, result.iou, result.level)
    for name, picture in made.items():
        replace(Path(FLAGS.out) / f"{name}.png", functools.partial(figures.save, picture))
    print(f"\nPictures: {FLAGS.out}/" + "{" + ",".join(made) + "}.png")
