"""Makes a run folder of a detector that others trained.

ssd-keras import-weights --source=frozen_inference_graph.pb --run_dir=runs/coco
ssd-keras import-weights --source=VGG_VOC0712.caffemodel --prototxt=deploy.prototxt
    --labels=labelmap_voc.prototxt --run_dir=runs/voc

Reads frozen graphs (.pb), SavedModels and checkpoints of the TF Object Detection API (SSD with
MobileNet v1 and v2, SSDLite, Inception v2, MobileDet; FPN with MobileNet v1 and v2, ResNet50), the
archives and folders of its zoos, their .tflite files, .caffemodel files of SSD and DSSD,
torchvision's ssd300_vgg16 and ssdlite320_mobilenet_v3_large (.pth) and pierluigiferrari's .h5.
Nothing in a file is executed. The run folder is like that of a training: detect, evaluate, export,
or go on with ssd-keras train --weights=runs/coco and any list of classes.
"""

from __future__ import annotations

from absl import flags

from ssd_keras.commands import _program
from ssd_keras.errors import UserError
from ssd_keras.files import replace, write_text
from ssd_keras.training import RunFolder
from ssd_keras.weights.importing import import_detector

FLAGS = flags.FLAGS
flags.DEFINE_string("source", None, "The published weights: a file or a folder.", required=True)
flags.DEFINE_string("prototxt", "", "The network of a .caffemodel (deploy.prototxt).")
flags.DEFINE_string(
    "labels", "", "Class names: a label map (.pbtxt, .prototxt) or a text file, a name a line."
)
flags.DEFINE_integer(
    "image_size", 0, "Side of the input in pixels, for checkpoints, which do not hold it.", 0, 4096
)
flags.DEFINE_string("run_dir", None, "Folder for the detector.", required=True)


def main(_):
    """Imports, writes the run folder and prints what was mapped."""
    folder = RunFolder(FLAGS.run_dir)
    folder.fetch()
    if folder.path.is_file() or folder.best.exists() or folder.settings_file.exists():
        raise UserError(f"'{folder.place}' holds a run already: give another --run_dir.")
    imported = import_detector(
        FLAGS.source,
        prototxt=FLAGS.prototxt or None,
        labels=FLAGS.labels or None,
        image_size=(FLAGS.image_size,) * 2 if FLAGS.image_size else None,
    )
    detector = imported.detector
    settings = {
        "model": detector.name,
        "imported_from": FLAGS.source,
        "origin": imported.origin,
        "suppression": imported.suppression,
    }
    with folder.lock():
        folder.open(settings, detector.classes)
        write_text(folder.path / "import_report.txt", full_report(imported))
        replace(folder.best, detector.save)
    print(imported.report())
    detect = _program.command("detect", f"--run_dir={folder.place}")
    train = _program.command("train", f"--model={detector.name}", f"--weights={folder.place}")
    print(
        f"It detects as the original does: {detector.suppression}.\n"
        f"Written: '{folder.place}/{folder.best.name}'. Next:\n"
        f"  {detect} --images=GLOB --out=DIR\n"
        f"  {train} --train_data=SPEC --run_dir=DIR"
    )


def full_report(imported) -> str:
    """The report with every layer and the tensors it was filled from."""
    lines = [imported.report(), ""]
    lines += [f"{layer}: {', '.join(names)}" for layer, names in imported.mapped.items()]
    return "\n".join(lines) + "\n"
