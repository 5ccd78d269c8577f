"""Exports a trained detector as a .tflite file that detects by itself.

ssd-keras export-tflite --run_dir=runs/pets --out=pets.tflite
ssd-keras export-tflite --run_dir=runs/pets --out=pets_int8.tflite --quantization=int8
    --calibration_data=voc:DIR#train
ssd-keras export-tflite --run_dir=runs/pets --out=pets_gpu.tflite --target=gpu
"""

from pathlib import Path

from absl import flags

import ssd_keras
from ssd_keras import deploy
from ssd_keras.commands import _suppression, _tiles
from ssd_keras.commands._calibration import calibration_flags, calibration_images
from ssd_keras.deploy.form_tables import target_lines
from ssd_keras.deploy.targets import PRECISIONS, Choices, choose
from ssd_keras.deploy.writing import USUAL_IMAGES
from ssd_keras.errors import UserError
from ssd_keras.files import check_writable, write_bytes
from ssd_keras.resizing import CORNER, LETTERBOX

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir", None, "Run folder, .keras file, or name of published weights.", required=True
)
flags.DEFINE_alias("weights", "run_dir")
flags.DEFINE_string("out", None, "The .tflite file to write.", required=True)
flags.DEFINE_string(
    "target",
    None,
    f"What will run it, one of {', '.join(deploy.TARGETS)}: chooses --quantization and "
    "--postprocess where they are not given.",
)
flags.DEFINE_string(
    "quantization",
    None,
    f"One of {', '.join(deploy.QUANTIZATIONS)}; else what suits the target, or none.",
)
flags.DEFINE_string(
    "calibration_data", "", "For int8: data FORMAT:PLACE#SPLIT to take value ranges from."
)
flags.DEFINE_integer("calibration_images", USUAL_IMAGES, "For int8: how many images of it to use.")
flags.DEFINE_string(
    "postprocess",
    None,
    "'builtin': exact suppression from builtin operators; 'op': TFLite_Detection_PostProcess, for "
    "old apps; 'none': raw outputs and default boxes. Else what suits the target, or builtin.",
)
flags.adopt_module_key_flags(_suppression)
flags.adopt_module_key_flags(_tiles)
flags.DEFINE_string("description", "", "Sentences for the metadata.")
flags.DEFINE_string("author", "", "Author for the metadata.")
flags.DEFINE_string("license", "", "Terms of use for the metadata.")


def main(_):
    """Exports with the flags' values and says what to do with the file."""
    chosen = _choices()
    if (useless := calibration_flags()) and chosen.quantization != "int8":
        raise UserError(
            f"{useless[0]} is for int8, but the file becomes {PRECISIONS[chosen.quantization]}: "
            "add --quantization=int8, or leave it out."
        )
    rule = _suppression.suppression()
    _tiles.check_tiles()
    check_writable(FLAGS.out)
    detector = ssd_keras.load(FLAGS.run_dir)
    detector.tiling = _tiles.tiling_of(detector)
    images = (
        calibration_images(FLAGS.calibration_data, FLAGS.calibration_images, detector.tiling)
        if chosen.quantization == "int8"
        else None
    )
    print("Converting, this takes a minute ...", flush=True)
    model = deploy.to_tflite(
        detector,
        target=FLAGS.target,
        quantization=chosen.quantization,
        calibration_images=images,
        postprocess=chosen.postprocess,
        **rule,
        description=FLAGS.description,
        author=FLAGS.author,
        license=FLAGS.license,
    )
    path = write_bytes(FLAGS.out, model)
    _report(path, detector, chosen)


def _choices() -> Choices:
    """What the flags choose; int8 comes with images to calibrate with."""
    chosen = choose(FLAGS.target, FLAGS.quantization, FLAGS.postprocess)
    if chosen.quantization == "int8" and not FLAGS.calibration_data:
        others = ", or another --quantization" if FLAGS.target in ("cpu", "mediapipe") else ""
        asked = "--quantization=int8" if FLAGS.quantization else f"--target={FLAGS.target}, int8,"
        raise UserError(
            f"{asked} needs --calibration_data=FORMAT:PLACE#SPLIT: images like those the detector "
            f"will see, from which it learns the value ranges{others}."
        )
    return chosen


def _report(path: Path, detector, chosen: Choices):
    height, width = detector.image_size
    pixels = "uint8" if chosen.quantization == "int8" else "float32"
    print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    print(f"  input    image [1, {height}, {width}, 3] {pixels}, RGB 0..255")
    if detector.resize == CORNER:
        print("  resize   bilinear, source = x * n / S, as it was trained; not half-pixel centres")
    if detector.resize == LETTERBOX:
        print(
            "  resize   letterbox, as it was trained; boxes are shares of the input with its edges"
        )
        print("           The samples in export/ do it; MediaPipe alone stretches, and finds less.")
    if detector.tiling is not None:
        print(f"  tiles    {detector.tiling}; the samples in export/ cut images so")
        print("           MediaPipe alone looks at whole images, and finds less.")
    if chosen.postprocess == "none":
        print("  outputs  box codes, class scores; anchors.f32 is packed inside (unzip it)")
        print("           The samples in export/ suppress outside of the file, by its rule.")
    else:
        print(f"  outputs  boxes, classes, scores, count; {len(detector.classes)} labels inside")
    for line in target_lines(path.read_bytes(), FLAGS.target) if FLAGS.target else ():
        print(f"  placed   {line}")
    print(f"Next: ssd_keras.deploy.TFLiteDetector({str(path)!r}).detect(image)")
