"""The images that `--calibration_data` and `--calibration_images` name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from absl import flags

from ssd_keras import data, deploy
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy.writing import FEW_IMAGES

FLAGS = flags.FLAGS


def calibration_images(
    spec: str, count: int, tiling: Tiling | None, *, measured_on: data.Source | None = None
) -> Mapping[str, np.ndarray]:
    """At most `count` images of the data SPEC, or tiles of them, evenly spread.

    Prints a warning if they are few, or of the data that are measured on.
    """
    source = data.load_source(spec)
    images = deploy.calibration_images(source, count, tiling)
    if len(images) < FEW_IMAGES:
        print(f"warning: only {len(images)} calibration images; {FEW_IMAGES} or more are better.")
    if measured_on is not None and (shared := count_shared(source, measured_on)):
        print(
            f"warning: {shared:,} of the {len(source):,} images of {spec} are measured on as well: "
            "int8 looks better there than on images that it was not calibrated with."
        )
    return images


def calibration_flags() -> list[str]:
    """Those of the flags for int8 that were given."""
    given = {
        "--calibration_data": bool(FLAGS.calibration_data),
        "--calibration_images": FLAGS["calibration_images"].present,
    }
    return [name for name, is_given in given.items() if is_given]


def count_shared(source: data.Source, other: data.Source) -> int:
    """How many images of a source the other has, too; all if the SPEC is one."""
    return len(source if source.spec == other.spec else data.shared_images(source, other))
