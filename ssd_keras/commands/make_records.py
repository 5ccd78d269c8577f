"""Packs a data set into TFRecord files, the fastest form to train from.

ssd-keras make-records --data=voc:DIR#trainval --out=records/pets-train --shards=8
"""

import glob
import signal
import sys

from absl import flags

from ssd_keras import data
from ssd_keras.commands import _program
from ssd_keras.data import tfrecord, verdict
from ssd_keras.files import check_writable

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Data to pack, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("out", None, "Folder and beginning of the file names.", required=True)
flags.DEFINE_integer("shards", 1, "Number of files.")
flags.DEFINE_list("classes", None, "Class names in the order of their labels.")
flags.DEFINE_bool(
    "accept_losses",
    False,
    "Pack although most objects or images of the data are lost, or have none.",
)


def main(_):
    """Writes the files and says what was left out."""
    # Without it the process would end at once and leave half-written files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    check_writable(f"{FLAGS.out}.classes.txt")
    source = data.load_source(FLAGS.data, FLAGS.classes)
    chosen = FLAGS.classes is not None
    if not FLAGS.accept_losses:
        verdict.check_fit(verdict.judge(source, chosen=chosen), "to train on")
    read = list(source.problems)
    paths = tfrecord.write(source, FLAGS.out, shards=FLAGS.shards)
    unreadable = source.problems[len(read) :]
    for problem in source.problems:
        print(problem)
    truth = source.ground_truth()
    left = verdict.count(source.spec, source.classes, truth, read, unreadable, chosen=chosen)
    if losses := left.losses():
        print(losses)
    print(f"{left.images} of {len(source)} images, {len(source.classes)} classes: {paths[0]}")
    if not FLAGS.accept_losses:
        verdict.check_fit(left, "to train on")
    packed = f"tfrecord:{glob.escape(FLAGS.out)}-*"
    print(f"Next: {_program.command('check-data', f'--data={packed}')}")
