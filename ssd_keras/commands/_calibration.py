"""The images that `--calibration_data` and `--calibration_images` name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssd_keras import data, deploy
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy.writing import FEW_IMAGES


def calibration_images(spec: str, count: int, tiling: Tiling | None) -> Mapping[str, np.ndarray]:
    """At most `count` images of the data SPEC, or tiles of them, evenly spread.

    Prints a warning if they are few.
    """
    images = deploy.calibration_images(data.load_source(spec), count, tiling)
    if len(images) < FEW_IMAGES:
        print(f"warning: only {len(images)} calibration images; {FEW_IMAGES} or more are better.")
    return images
