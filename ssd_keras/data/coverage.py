"""Moved to `ssd_keras.boxes.coverage`; the names stay for scripts that have them."""

from collections.abc import Sequence

import numpy as np

from ssd_keras.boxes import coverage as _coverage
from ssd_keras.boxes.coverage import THRESHOLD as THRESHOLD
from ssd_keras.boxes.coverage import Coverage as Coverage
from ssd_keras.boxes.coverage import advice as advice
from ssd_keras.boxes.coverage import class_table as class_table
from ssd_keras.boxes.coverage import size_table as size_table


def coverage(boxes, labels, anchors, level_starts: Sequence[int], image_size) -> Coverage:
    """`ssd_keras.boxes.coverage.coverage` of default boxes `[A, 4]` whose levels begin there."""
    levels = np.split(np.asarray(anchors), np.asarray(level_starts)[1:])
    return _coverage.coverage(boxes, labels, levels, image_size)
