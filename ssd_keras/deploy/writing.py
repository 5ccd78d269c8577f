"""From a detector to a .tflite file on the disk, in one call."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path

from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data import Source, open_source
from ssd_keras.deploy.calibration import calibration_images as images_of
from ssd_keras.deploy.targets import check_calibration_is_used, choose
from ssd_keras.deploy.tflite import to_tflite
from ssd_keras.errors import UserError, unknown
from ssd_keras.files import check_writable, write_bytes

FEW_IMAGES = 100
USUAL_IMAGES = 200


def write_tflite(
    detector,
    path: str | os.PathLike,
    *,
    calibration_data=None,
    calibration_images: int | None = None,
    **options,
) -> Path:
    """Writes a detector as a .tflite file; see `Detector.export_tflite`.

    Raises:
        UserError: a value, data or a place that cannot be used.
    """
    known = [name for name in inspect.signature(to_tflite).parameters if name != "detector"]
    for name in options:
        if name not in known:
            raise unknown("option of export_tflite", name, known)
    check_writable(path)
    images = None
    chosen = choose(*(options.get(name) for name in ("target", "quantization", "postprocess")))
    if chosen.quantization == "int8":
        count = USUAL_IMAGES if calibration_images is None else calibration_images
        images = images_to_calibrate(calibration_data, count, detector.tiling)
    else:
        given = {"calibration_data": calibration_data, "calibration_images": calibration_images}
        check_calibration_is_used(given, chosen)
    return write_bytes(path, to_tflite(detector, calibration_images=images, **options))


def images_to_calibrate(data, count: int, tiling: Tiling | None = None):
    """At most `count` images, or tiles, of a SPEC or a source; images themselves as they are.

    Raises:
        UserError: there are none.
    """
    if data is None:
        raise UserError(
            'int8 needs calibration_data, such as "voc:DIR#train": images like those the detector '
            "will see, from which it learns the value ranges."
        )
    if not isinstance(data, (str, os.PathLike, Source)):
        return data
    if count < 1:
        raise UserError(f"calibration_images must be at least 1, got {count}.")
    images = images_of(open_source(data), count, tiling)
    if len(images) < FEW_IMAGES:
        warnings.warn(
            f"Only {len(images)} calibration images; {FEW_IMAGES} or more are better.", stacklevel=2
        )
    return images
