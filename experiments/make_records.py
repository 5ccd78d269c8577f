"""Packs a data set into TFRecord files, the fastest form to train from.

python -m experiments.make_records --data=voc:DIR#trainval --out=records/pets-train --shards=8
"""

from absl import flags

from experiments import _program

_program.quiet_tensorflow()

from ssd_keras import data  # noqa: E402
from ssd_keras.data import tfrecord  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Data to pack, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("out", None, "Folder and beginning of the file names.", required=True)
flags.DEFINE_integer("shards", 1, "Number of files.")
flags.DEFINE_list("classes", None, "Class names in the order of their labels.")


def main(argv):
    """Writes the files and says what was left out."""
    del argv
    source = data.load_source(FLAGS.data, FLAGS.classes)
    paths = tfrecord.write(source, FLAGS.out, shards=FLAGS.shards)
    for problem in source.problems:
        print(problem)
    written = data.load_source(f"tfrecord:{FLAGS.out}-*")
    print(f"{len(written)} of {len(source)} images, {len(source.classes)} classes: {paths[0]}")
    print(f"Next: python -m experiments.check_data --data='tfrecord:{FLAGS.out}-*'")


if __name__ == "__main__":
    _program.run(main)
