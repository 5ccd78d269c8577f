"""Packs a data set into TFRecord files, the fastest form to train from.

ssd-keras make-records --data=voc:DIR#trainval --out=records/pets-train --shards=8
ssd-keras make-records --data=coco:DIR --out=records/cars-tiles --tiles=512
"""

import signal
import sys

from absl import flags

from ssd_keras import data, remote
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.commands import _problems, _program
from ssd_keras.data import tfrecord, verdict
from ssd_keras.data.tiled import EMPTY_TILES, MIN_VISIBLE, TiledSource
from ssd_keras.display import counted
from ssd_keras.files import check_writable

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Data to pack, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("out", None, "Folder and beginning of the file names.", required=True)
flags.adopt_module_key_flags(_problems)
flags.DEFINE_integer("shards", 1, "Number of files.")
flags.DEFINE_list("classes", None, "Class names in the order of their labels.")
flags.DEFINE_string(
    "tiles", "", "Pack tiles of so many pixels, 512 or 384x640 (height first), as PNG; '': images."
)
flags.DEFINE_float("tile_overlap", 0.2, "Share that tiles overlap by.")
flags.DEFINE_bool("tile_whole", False, "Pack the whole images as well.")
flags.DEFINE_float(
    "min_visible", MIN_VISIBLE, "Share of an object that a tile must show; less of it is ignored."
)
flags.DEFINE_float("empty_tiles", EMPTY_TILES, "Tiles without objects, as a share of all, at most.")
flags.DEFINE_integer("seed", 0, "Chooses the tiles without objects.")
flags.DEFINE_bool(
    "accept_losses",
    False,
    "Pack although most objects or images of the data are lost, or have none.",
)


def main(_):
    """Writes the files and says what was left out."""
    # Without it the process would end at once and leave half-written files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if remote.is_remote(FLAGS.out):
        remote.check(FLAGS.out)
    else:
        check_writable(f"{FLAGS.out}.classes.txt")
    tiling = Tiling.of(FLAGS.tiles, overlap=FLAGS.tile_overlap, whole=FLAGS.tile_whole)
    source = data.load_source(FLAGS.data, FLAGS.classes)
    chosen = FLAGS.classes is not None
    if not FLAGS.accept_losses:
        verdict.check_fit(verdict.judge(source, chosen=chosen), "to train on")
    if tiling is not None:
        source = tiles_of_source(source, tiling)
    read = list(source.problems)
    paths = tfrecord.write(source, FLAGS.out, shards=FLAGS.shards)
    unreadable = source.problems[len(read) :]
    _problems.show(source.problems)
    truth = source.ground_truth()
    left = verdict.count(source.spec, source.classes, truth, read, unreadable, chosen=chosen)
    if losses := left.losses():
        print(f"\n{losses}")
    images = f"{left.images:,} of {counted(len(source), 'image')}"
    print(f"\n{images}, {counted(len(source.classes), 'class', 'classes')}: {paths[0]}")
    if not FLAGS.accept_losses:
        verdict.check_fit(left, "to train on")
    packed = f"tfrecord:{remote.escape(FLAGS.out)}-*"
    print(f"Next: {_program.command('check-data', f'--data={packed}')}")


def tiles_of_source(source: data.Source, tiling: Tiling) -> TiledSource:
    """The source seen through tiles; says how many there are."""
    tiled = TiledSource(
        source,
        tiling,
        min_visible=FLAGS.min_visible,
        empty_tiles=FLAGS.empty_tiles,
        seed=FLAGS.seed,
    )
    left = f"; {tiled.dropped:,} without objects are left out" if tiled.dropped else ""
    print(f"{counted(len(source), 'image')} as {len(tiled):,} {tiling}{left}", flush=True)
    return tiled
