"""Running a detector over a whole data source."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np

from ssd_keras import data
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data.decoded import ArrayPicture
from ssd_keras.data.source import Source, unread_notice
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.tiled_detection import detect_tiled, tiling_for


def detect_source(
    detector,
    source: Source,
    batch_size: int = 16,
    *,
    progress: bool = True,
    tiles: Tiling | int | str | bool | None = None,
    **thresholds,
) -> list[Detections | None]:
    """Detections of every image of a source, in the order of `source.ground_truth()`.

    None for an image that could not be read: all that is measured leaves such an image out, with
    its objects, because nobody could find them. `source.unread` says why.

    Args:
        detector: a `Detector`, or what has its `image_size`, `resize`, `tiling`, `suppression`,
            `detect_batches` and `in_image`.
        source: a data source, from `data.load_source`.
        batch_size: images per step.
        progress: shows how far it is, where the output is a terminal.
        tiles: how large images are cut, as in `Detector.detect`; None: as the detector says.
        **thresholds: of `Detector.detect_batches`, instead of the detector's own suppression.

    Raises:
        UserError: not one image could be read.
    """
    tiling = tiling_for(detector, tiles)
    report = _Progress(len(source)) if progress and sys.stdout.isatty() else None
    if tiling is not None:
        return _detect_tiled(detector, source, tiling, batch_size, report, thresholds)
    # Not rounded to whole grey levels, so that the detector sees what `Detector.detect` shows it.
    batches = data.evaluation_batches(
        source,
        image_size=detector.image_size,
        batch_size=batch_size,
        dtype="float32",
        resize=detector.resize,
    )
    readable: list[bool] = []
    found: list[Detections | None] = []
    truth = source.ground_truth()
    for detections in detector.detect_batches(_images(batches, readable), **thresholds):
        index = len(found)
        if readable[index]:
            one = truth[index]
            found.append(detector.in_image(detections, (one.height, one.width), one.path))
        else:
            found.append(None)
        if report and len(found) % batch_size == 0:
            report.show(len(found))
    if report:
        report.end()
    if not any(readable):
        raise _nothing_read(source)
    return found[: len(source)]


def _nothing_read(source: Source) -> UserError:
    return UserError(f"'{source.spec}': {unread_notice(source)}.")


def _detect_tiled(
    detector, source: Source, tiling: Tiling, batch_size: int, report: _Progress | None, thresholds
) -> list[Detections | None]:
    read: list[int] = []
    truth = source.ground_truth()

    def pictures() -> Iterator[tuple[ArrayPicture, str | None]]:
        for index, image in source.readable():
            read.append(index)
            yield ArrayPicture(image), truth[index].path

    found: list[Detections | None] = [None] * len(source)
    inside = detect_tiled(detector, pictures(), tiling, batch_size, **thresholds)
    for number, detections in enumerate(inside):
        found[read[number]] = detections
        if report:
            report.show(number + 1)
    if report:
        report.end()
    if not read:
        raise _nothing_read(source)
    return found


def _images(batches: Iterable, readable: list[bool]) -> Iterator[np.ndarray]:
    """The images of each batch; whether each could be read is added to `readable`."""
    for batch in batches:
        readable += batch["readable"].numpy().tolist()
        yield batch["images"]


class _Progress:
    """A line on the terminal."""

    def __init__(self, total: int):
        self.total, self.started = total, time.monotonic()

    def show(self, count: int):
        """Says how far it is."""
        rate = count / (time.monotonic() - self.started)
        count = min(count, self.total)
        print(f"\r  detecting {count}/{self.total}  {rate:.1f} images/s ", end="", flush=True)

    def end(self):
        """Takes the line away."""
        print("\r" + " " * 60 + "\r", end="", flush=True)
