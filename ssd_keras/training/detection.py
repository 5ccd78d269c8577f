"""Running a detector over a whole data source."""

from __future__ import annotations

import sys
import time

from ssd_keras import data
from ssd_keras.detections import Detections
from ssd_keras.detector import Detector


def detect_source(
    detector: Detector, source, batch_size: int = 16, *, progress: bool = True, **thresholds
) -> list[Detections]:
    """Detections of every image of a source, in the order of `source.ground_truth()`.

    Args:
        detector: the detector.
        source: a data source, from `data.load_source`.
        batch_size: images per step.
        progress: shows how far it is, where the output is a terminal.
        **thresholds: of `Detector.detect_batches`.
    """
    # Not rounded to whole grey levels, so that the detector sees what `Detector.detect` shows it.
    batches = data.evaluation_batches(
        source, image_size=detector.image_size, batch_size=batch_size, dtype="float32"
    )
    images = (batch["images"] for batch in batches)
    found, total, started = [], len(source), time.monotonic()
    for detections in detector.detect_batches(images, **thresholds):
        if len(found) < total:
            found.append(detections)
        if progress and sys.stdout.isatty() and len(found) % batch_size == 0:
            rate = len(found) / (time.monotonic() - started)
            print(f"\r  detecting {len(found)}/{total}  {rate:.1f} images/s ", end="", flush=True)
    if progress and sys.stdout.isatty():
        print("\r" + " " * 60 + "\r", end="", flush=True)
    return found
