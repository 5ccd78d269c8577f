"""How many images, or tiles of them, a training sees in an epoch: count.py SPEC [--tiles=512]."""

import sys

from ssd_keras import data
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data.tiled import TiledSource

source = data.load_source(sys.argv[1])
sides = [word.partition("=")[2] for word in sys.argv[2:] if word.startswith("--tiles=")]
print(len(TiledSource(source, Tiling.of(sides[-1])) if sides else source))
