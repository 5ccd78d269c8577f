"""Exports a trained detector as a SavedModel with detection inside.

ssd-keras export-saved-model --run_dir=runs/pets --out=pets_saved_model
"""

from absl import flags

import ssd_keras
from ssd_keras import deploy
from ssd_keras.commands import _suppression
from ssd_keras.folders import bytes_in

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir", None, "Run folder, .keras file, or name of published weights.", required=True
)
flags.DEFINE_alias("weights", "run_dir")
flags.DEFINE_string("out", None, "The folder to write.", required=True)
flags.adopt_module_key_flags(_suppression)


def main(_):
    """Exports with the flags' values and says how to use the folder."""
    rule = _suppression.suppression()
    detector = ssd_keras.load(FLAGS.run_dir)
    folder = deploy.to_saved_model(detector, FLAGS.out, **rule)
    size = bytes_in(folder)
    print(f"{folder}  {size / 1e6:.2f} MB")
    print("  serving_default  images: uint8 [batch, height, width, 3], RGB, any size")
    print("  encoded_images   encoded_images: JPEG or PNG files [batch], not turned by EXIF data")
    print("  outputs          boxes, scores, classes, count; names in assets.extra/labels.txt")
    if detector.tiling is not None:
        print(f"  tiles    it looks at whole images, but learned on {detector.tiling}: cut them")
        print("           outside of it, or export-tflite, whose samples in export/ cut and join")
    print(f"Next: tf.saved_model.load({str(folder)!r}).signatures['serving_default'](images=...)")
