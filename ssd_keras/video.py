"""Frames of videos and cameras, and videos of frames, by OpenCV (the extra `video`)."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ssd_keras import files
from ssd_keras.errors import UserError
from ssd_keras.reading import check_regular

EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_USUAL_RATE = 25.0
# The first frames of a camera, by which the rate of its recording goes.
PACED_FRAMES = 8
# A video that ends before this share of the frames it tells of is said to break off.
ENDS_EARLY = 0.9


class Frames:
    """The frames of a video file or a camera, RGB uint8 `[H, W, 3]`.

    Attributes:
        source: the file or the number of the camera.
        live: whether it is a camera.
        name: for files made of it.
        count: how many frames the file says to have, or None.
        rate: frames a second.

    Raises:
        UserError: OpenCV is missing, or the video or camera cannot be opened.
    """

    def __init__(self, source: str | int):
        self.source, self.live = source, isinstance(source, int)
        self.name = f"camera{source}" if self.live else Path(source).stem
        if not self.live:
            check_regular(source, "video")
        cv2 = _opencv()
        self._capture = cv2.VideoCapture(source)
        self._waiting = self._read() if self._capture.isOpened() else None
        if self._waiting is None:
            raise UserError(
                f"Camera {source} cannot be read: there is none of this number, or it is in use."
                if self.live
                else f"The video '{source}' cannot be read: it is damaged, empty or of an unknown "
                "kind."
            )
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 else None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else _USUAL_RATE

    def __iter__(self) -> Iterator[np.ndarray]:
        while self._waiting is not None:
            frame, self._waiting = self._waiting, None
            yield frame
            self._waiting = self._read()

    def _read(self) -> np.ndarray | None:
        good, frame = self._capture.read()
        return np.ascontiguousarray(frame[..., ::-1]) if good else None

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_):
        self._capture.release()


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], rate: float) -> int:
    """Writes RGB frames of one size as an .mp4, whole or not at all.

    An interruption (Ctrl-C) ends the video there.

    Args:
        path: the file.
        frames: uint8 `[H, W, 3]`; the first sets the size.
        rate: frames a second.

    Returns:
        how many frames were written.

    Raises:
        UserError: there is no frame, or the video cannot be written.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise UserError(f"There is no frame to write '{path}' of.")
    written = 0

    def write(temporary: Path):
        nonlocal written
        with (
            contextlib.closing(_Writer(temporary, rate)) as writer,
            contextlib.suppress(KeyboardInterrupt),
        ):
            for frame in itertools.chain([first], frames):
                writer.write(frame)
                written += 1
        # OpenCV says nothing of a full disk.
        if _frames_in(temporary) < written:
            raise OSError("OpenCV could not write all of its frames; is the disk full?")

    files.replace(path, write)
    return written


def paced(frames: Iterator[np.ndarray]) -> tuple[Iterator[np.ndarray], float]:
    """The frames of a camera, and how many of them there are in a second.

    By the first ones: no more are taken than are looked at and drawn, whatever the camera gives.
    The very first does not count, since it waits until the detector is built.
    """
    seen, times = [], []
    for frame in itertools.islice(frames, PACED_FRAMES):
        seen.append(frame)
        times.append(time.monotonic())
    seconds = times[-1] - times[0] if len(times) > 1 else 0.0
    rate = (len(times) - 1) / seconds if seconds else 1.0
    return itertools.chain(seen, frames), min(max(rate, 0.1), 240.0)


def what_is_missing(written: int, told: int | None) -> str:
    """A line on a video that ends long before the frames it tells of; "" on others."""
    if not told or written >= ENDS_EARLY * told:
        return ""
    return f"The video ends after {written:,} of {told:,} frames: it is damaged or was cut off.\n"


class _Writer:
    def __init__(self, path: Path, rate: float):
        self._path, self._rate, self._file = str(path), rate, None

    def write(self, frame: np.ndarray) -> None:
        if self._file is None:
            cv2 = _opencv()
            code = cv2.VideoWriter_fourcc(*"mp4v")
            size = frame.shape[1], frame.shape[0]
            self._file = cv2.VideoWriter(self._path, code, self._rate, size)
            if not self._file.isOpened():
                raise OSError("OpenCV cannot write videos there")
        self._file.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        if self._file is not None:
            self._file.release()


def _frames_in(path: Path) -> int:
    cv2 = _opencv()
    capture = cv2.VideoCapture(str(path))
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    capture.release()
    return int(count)


def _opencv():
    # OpenCV and FFmpeg print their own lines about a bad file; one line of ours is enough.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise UserError(
            'Video needs OpenCV: pip install "ssd-keras[video]" '
            "(or pip install opencv-python-headless)."
        ) from None
    with contextlib.suppress(AttributeError):
        cv2.utils.logging.setLogLevel(0)
    return cv2
