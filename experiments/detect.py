"""Finds objects in images or video, draws them and writes what was found as JSON.

python -m experiments.detect --run_dir=runs/pets --images="photos/*.jpg" --out=found

--images is an image, a folder, a glob, a video file or the number of a camera. Each picture is
written with its boxes as NAME.jpg and NAME.json; a video as NAME.mp4 and NAME.json. Video and
cameras need the optional extra: pip install "ssd-keras[video]".
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import flags

from experiments import _program
from ssd_keras import plots
from ssd_keras.errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run folder, or a .keras file.", required=True)
flags.DEFINE_string(
    "images", None, "Image, folder, glob, video file or number of a camera.", required=True
)
flags.DEFINE_string("out", None, "Folder for pictures and JSON.", required=True)
flags.DEFINE_float("score_threshold", 0.4, "Lower scores are neither drawn nor written.", 0, 1)
flags.DEFINE_integer("batch_size", 8, "Images per step.", lower_bound=1)
flags.DEFINE_integer("max_frames", 0, "Video: stop after so many frames; 0: at the end.")

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def main(argv):
    """Finds out what is given, loads the detector and works through it."""
    del argv
    camera = FLAGS.images.isdecimal() and not Path(FLAGS.images).exists()
    video = camera or Path(FLAGS.images).suffix.lower() in VIDEOS
    # Faults of the flags are told before the model is loaded, which takes seconds.
    paths = [] if video else find_images(FLAGS.images)
    out = Path(FLAGS.out)
    if any(path.parent.resolve() == out.resolve() for path in paths):
        raise UserError(f"--out='{out}' holds the images themselves: give another folder.")
    frames = Frames(int(FLAGS.images) if camera else FLAGS.images) if video else None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out='{out}' cannot be made: {error.strerror}.") from error
    _program.quiet_tensorflow()
    import ssd_keras

    detector = ssd_keras.load(FLAGS.run_dir)
    if video:
        detect_video(detector, frames, out)
    else:
        detect_images(detector, paths, out)


def find_images(place: str) -> list[Path]:
    """The image files that a path, folder or glob means, in order of their names.

    Raises:
        UserError: there is none.
    """
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file())
        images = [p for p in files if p.suffix.lower() in IMAGES]
        if not images:
            others = f", only other files ({len(files)})" if files else ""
            raise UserError(f"There are no images in the folder '{place}'{others}.")
        if len(images) < len(files):
            print(f"Left out: {len(files) - len(images)} in '{place}' that are no image files.")
        return images
    found = sorted(Path(p) for p in glob.glob(place, recursive=True) if Path(p).is_file())
    if not found:
        kind = "Nothing fits" if glob.has_magic(place) else "There is no file or folder"
        raise UserError(f"{kind} --images='{place}'.")
    return found


def detect_images(detector, paths: list[Path], out: Path) -> None:
    """Draws and describes each image; one that cannot be read is named and left out."""
    from ssd_keras.data.images import ImageError, read_image

    names, done, failed, speed, started = Names(), 0, [], Speed(), time.monotonic()
    for part in batches(paths, FLAGS.batch_size):
        images, good = [], []
        for path in part:
            try:
                images.append(read_image(path))
                good.append(path)
            except ImageError as error:
                failed.append(" ".join(str(error).split()))
                if len(paths) > 1:
                    print(f"Left out: {failed[-1]}", flush=True)
        found = speed.of(lambda images=images: detect(detector, images), len(images))
        for path, image, detections in zip(good, images, found, strict=True):
            name = names.free(path)
            write_picture(out / f"{name}.jpg", image, detections)
            write_json(out / f"{name}.json", describe(path, detections))
            if len(paths) <= 20:
                print(f"{path}: {listed(detections)}")
        done += len(good)
        progress(done, len(paths), started)
    if not done:
        what = f"None of the {len(paths)} images could be read, the first: " * (len(paths) > 1)
        raise UserError(what + failed[0])
    finish(done, "images", speed, started, out)


def detect_video(detector, frames: Frames, out: Path) -> None:
    """Draws boxes into a video, and writes a JSON list with an entry per frame."""
    name = out / frames.name
    described, speed, started = [], Speed(), time.monotonic()
    # A camera shows what is there now; frames that wait for others would be late.
    size = 1 if frames.live else FLAGS.batch_size
    limit = FLAGS.max_frames or None
    with frames, frames.writer(f"{name}.mp4") as write:
        try:
            for part in batches(itertools.islice(frames, limit), size):
                found = speed.of(lambda part=part: detect(detector, part), len(part))
                for image, detections in zip(part, found, strict=True):
                    write(detections.draw(image))
                    described.append(describe(frames.name, detections))
                progress(len(described), frames.count, started)
        except KeyboardInterrupt:
            print("\nStopped.")
    if not described:
        raise UserError(f"The video '{frames.source}' has no frame that can be read.")
    write_json(Path(f"{name}.json"), described)
    finish(len(described), "frames", speed, started, out)


def detect(detector, images: list[np.ndarray]) -> list:
    """Detections of each image."""
    # Images of different sizes make no array, so they go in as a list.
    return detector.detect(
        images, score_threshold=FLAGS.score_threshold, batch_size=FLAGS.batch_size
    )


class Speed:
    """How many images are detected in a second; the first batch builds the program."""

    def __init__(self):
        self.first, self.others = (0, 0.0), (0, 0.0)

    def of(self, detect, count: int) -> list:
        """What `detect` gives for so many images; takes the time."""
        if not count:
            return []
        started = time.monotonic()
        found = detect()
        seconds = time.monotonic() - started
        if not self.first[0]:
            self.first = (count, seconds)
        else:
            self.others = (self.others[0] + count, self.others[1] + seconds)
        return found

    def __str__(self) -> str:
        count, seconds = self.others if self.others[0] else self.first
        built = "" if self.others[0] else ", building the program included"
        return f"{count / max(seconds, 1e-9):.1f} a second detecting{built}"


def write_picture(path: Path, image: np.ndarray, detections) -> None:
    """Saves the picture with boxes; a very small one is enlarged, so that names fit on it."""
    try:
        plots.save(detections.draw(plots.legible(image)), path)
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def write_json(path: Path, value) -> None:
    """Saves what was found."""
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror}.") from error


def describe(place: str | Path, detections) -> dict:
    """What was found in one image: boxes as fractions and in pixels, [ymin, xmin, ymax, xmax]."""
    return detections.to_dict() | {"image": str(place)}


def listed(detections) -> str:
    """ "2 cat, 1 dog", or "nothing"."""
    counts = {}
    for name in detections.names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while part := list(itertools.islice(items, size)):
        yield part


def progress(done: int, total: int | None, started: float) -> None:
    """How far it is, on a terminal."""
    if sys.stdout.isatty():
        rate = done / max(time.monotonic() - started, 1e-9)
        print(f"\r  {done}/{total or '?'}  {rate:.1f}/s ", end="", flush=True)


def finish(done: int, what: str, speed: Speed, started: float, out: Path) -> None:
    """How fast it was and where the results lie."""
    if sys.stdout.isatty():
        print("\r" + " " * 40 + "\r", end="")
    whole = max(time.monotonic() - started, 1e-9)
    counted = what if done != 1 else what.removesuffix("s")
    print(
        f"{done} {counted}: {speed}; {done / whole:.1f} a second with reading, drawing and writing."
    )
    print(f"Pictures and JSON: {out}")


class Names:
    """Names of output files: a.jpg and a.png, or two a.jpg of two folders, don't collide."""

    def __init__(self):
        self.taken = set()

    def free(self, path: Path) -> str:
        """A name for the results of `path` that no earlier file got."""
        candidates = itertools.chain(
            [path.stem, f"{path.stem}_{path.suffix[1:]}"],
            (f"{path.stem}_{i}" for i in itertools.count(2)),
        )
        name = next(c for c in candidates if c.lower() not in self.taken)
        self.taken.add(name.lower())
        return name


class Frames:
    """The frames of a video file or a camera, RGB uint8 `[H, W, 3]`.

    Raises:
        UserError: OpenCV is missing, or the video or camera cannot be opened.
    """

    def __init__(self, source: str | int):
        self.source, self.live = source, isinstance(source, int)
        self.name = f"camera{source}" if self.live else Path(source).stem
        if not self.live and not Path(source).is_file():
            raise UserError(f"There is no video '{source}'.")
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
        self.cv2 = cv2
        self.capture = cv2.VideoCapture(source)
        self.waiting = self._read() if self.capture.isOpened() else None
        if self.waiting is None:
            raise UserError(
                f"Camera {source} cannot be read: there is none of this number, or it is in use."
                if self.live
                else f"The video '{source}' cannot be read: it is damaged, empty or of an unknown "
                "kind."
            )
        count = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.waiting is not None:
            frame, self.waiting = self.waiting, None
            yield frame
            self.waiting = self._read()

    def _read(self) -> np.ndarray | None:
        good, frame = self.capture.read()
        return np.ascontiguousarray(frame[..., ::-1]) if good else None

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_):
        self.capture.release()

    def writer(self, path: str) -> VideoWriter:
        """A writer of frames of the same size and speed."""
        rate = self.capture.get(self.cv2.CAP_PROP_FPS)
        return VideoWriter(self.cv2, path, rate if 1 <= rate <= 240 else 25.0)


class VideoWriter:
    """Writes RGB frames to an .mp4; the first frame sets the size."""

    def __init__(self, cv2, path: str, rate: float):
        self.cv2, self.path, self.rate, self.file = cv2, path, rate, None

    def __call__(self, frame: np.ndarray) -> None:
        if self.file is None:
            size = frame.shape[1], frame.shape[0]
            code = self.cv2.VideoWriter_fourcc(*"mp4v")
            self.file = self.cv2.VideoWriter(self.path, code, self.rate, size)
            if not self.file.isOpened():
                raise UserError(f"The video '{self.path}' cannot be written.")
        self.file.write(np.ascontiguousarray(frame[..., ::-1]))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_):
        if self.file is not None:
            self.file.release()


if __name__ == "__main__":
    _program.run(main)
