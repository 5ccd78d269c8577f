"""Finds objects in images or video, draws them and writes what was found as JSON.

ssd-keras detect --run_dir=runs/pets --images="photos/*.jpg" --out=found
ssd-keras detect --weights=ssd_mobilenet_v2_coco --images="photos/*.jpg"

--weights and --run_dir mean the same: a run folder, a .keras file, or published weights, whose
names ssd_keras.list_weights() shows and which are fetched the first time.

--images is an image, a folder, a glob, a video file or the number of a camera. Each picture is
written with its boxes as NAME.jpg and NAME.json, below the folders it lies in; a video as NAME.mp4
and NAME.json. What is left out is named. The scores of what is drawn and written are at least 0.4,
or what the detector asks for if that is more; --score_threshold says otherwise. Large images are
looked at tile by tile with --tiles=512, or where the detector was trained so; of those with small
objects the picture shows all of it made smaller, and where most objects are, as it is. Video and
cameras need the optional extra: pip install "ssd-keras[video]".
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import flags

import ssd_keras
from ssd_keras import files, large_pictures, sheets, video
from ssd_keras.commands import _suppression, _tiles
from ssd_keras.data.decoded import ArrayPicture
from ssd_keras.data.images import ImageError, read_image
from ssd_keras.display import pace, printable
from ssd_keras.errors import UserError
from ssd_keras.image_search import FoundImages, find_images
from ssd_keras.tiled_detection import Picture, detect_tiled, open_picture

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir", None, "Run folder, .keras file, or name of published weights.", required=True
)
flags.DEFINE_alias("weights", "run_dir")
flags.DEFINE_string(
    "images", None, "Image, folder, glob, video file or number of a camera.", required=True
)
flags.DEFINE_string("out", "detections", "Folder for pictures and JSON.")
flags.DEFINE_bool("recursive", False, "Of a folder, take the images of its sub-folders as well.")
flags.adopt_module_key_flags(_suppression)
flags.adopt_module_key_flags(_tiles)
flags.DEFINE_integer("batch_size", 8, "Images, or tiles of them, per step.", lower_bound=1)
flags.DEFINE_integer("max_frames", 0, "Video: stop after so many frames; 0: at the end.")

LISTED = 20  # images of which each gets a line


def main(_):
    """Finds out what is given, loads the detector and works through it."""
    # Faults of the flags are told before the model is loaded, which takes seconds.
    rule = _suppression.suppression()
    _tiles.check_tiles()
    frames, images = open_frames(FLAGS.images), None
    if frames is None:
        images = find_images(FLAGS.images, recursive=FLAGS.recursive, apart_from=FLAGS.out)
        if notice := images.notice():
            print(notice, flush=True)
    out = check_out(FLAGS.out, images)
    detector = ssd_keras.load(FLAGS.run_dir)
    detector.suppression = _suppression.for_pictures(detector.suppression, rule)
    detector.tiling = _tiles.tiling_of(detector)
    if detector.tiling is not None:
        print(f"Large images: {detector.tiling}.", flush=True)
    if frames is not None:
        detect_video(detector, frames, out)
    else:
        detect_images(detector, images, out)


def open_frames(place: str) -> video.Frames | None:
    """The video or camera that --images means, or None if it means images."""
    if place.isdecimal() and not Path(place).exists():
        return video.Frames(int(place))
    return video.Frames(place) if Path(place).suffix.lower() in video.EXTENSIONS else None


def check_out(place: str, images: FoundImages | None) -> Path:
    """The folder of the results, which must not be that of the images."""
    out = Path(place)
    if images and any(path.parent.resolve() == out.resolve() for path in images.paths):
        raise UserError(f"--out='{out}' holds the images themselves: give another folder.")
    files.check_writable(out / "0.json")
    return out


def detect_images(detector, images: FoundImages, out: Path) -> None:
    """Draws and describes each image; one that cannot be read is named and left out."""
    count, done, failed, speed, started = len(images.paths), 0, [], Speed(), time.monotonic()
    # Of large images one is held at a time; it fills batches by itself.
    size = 1 if detector.tiling else FLAGS.batch_size
    for part in batches(zip(images.paths, images.names(), strict=True), size):
        good = list(readable(part, failed, named=count > 1, tiled=detector.tiling is not None))
        try:
            found = speed.of(lambda good=good: detect_pictures(detector, good), len(good))
        except ImageError as error:  # of a part that is read when its turn comes
            leave_out(error, failed, named=count > 1)
            continue
        for (path, name, picture), detections in zip(good, found, strict=True):
            with contextlib.closing(picture):
                write(out / name, path, picture, detections, tiled=detector.tiling is not None)
            if count <= LISTED:
                print(f"{path}: {count_names(detections)}")
        done += len(good)
        progress(done, count, started)
    if not done:
        what = f"None of the {count} images could be read, the first: " * (count > 1)
        raise UserError(what + failed[0])
    finish(done, "images", speed, started, out)
    if failed:
        print(f"{len(failed)} of {count} images could not be read and were left out (see above).")


def readable(
    part, failed: list[str], *, named: bool, tiled: bool = False
) -> Iterator[tuple[Path, Path, Picture]]:
    """Path, name of the results and picture of the images that can be read."""
    for path, name in part:
        try:
            picture = open_picture(str(path)) if tiled else ArrayPicture(read_image(path))
        except ImageError as error:
            leave_out(error, failed, named=named)
            continue
        yield path, name, picture


def leave_out(error: ImageError, failed: list[str], *, named: bool) -> None:
    """Keeps, and says of one among several images, why it could not be read."""
    failed.append(str(error))
    if named:
        print(f"Left out: {printable(error)}", flush=True)


def detect_pictures(detector, good: list[tuple[Path, Path, Picture]]) -> list:
    """Detections of each picture, tile by tile if the detector says so."""
    if detector.tiling is None:
        return detect(detector, [picture.pixels for _, _, picture in good])
    pictures = ((picture, str(path)) for path, _, picture in good)
    return list(detect_tiled(detector, pictures, detector.tiling, FLAGS.batch_size, tiles_progress))


def write(place: Path, path: Path, picture: Picture, detections, *, tiled: bool) -> None:
    """Saves the picture with boxes and the description.

    A picture is enlarged if it is too small for names, and made smaller if it is large.
    """
    # Not `with_suffix`, which would take the end of "a.b" for one.
    detections.of_image(picture.size, path).save(place.with_name(f"{place.name}.json"))
    drawn = place.with_name(f"{place.name}.jpg")
    if tiled and max(picture.size) > large_pictures.LARGE:
        sheet = large_pictures.draw_large(picture, detections)
        files.replace(drawn, lambda temporary: sheets.save(sheet, temporary))
    else:
        detections.save(drawn, sheets.legible(picture.window((0, 0, *picture.size))))


def detect_video(detector, frames: video.Frames, out: Path) -> None:
    """Draws boxes into a video, and writes a JSON list with an entry per frame."""
    described, speed, started, at_end = [], Speed(), time.monotonic(), False
    # A camera shows what is there now; frames that wait for others would be late.
    size = 1 if frames.live else FLAGS.batch_size

    def draw_frames() -> Iterator[np.ndarray]:
        nonlocal at_end
        try:
            for part in batches(itertools.islice(frames, FLAGS.max_frames or None), size):
                found = speed.of(lambda part=part: detect(detector, part), len(part))
                for image, detections in zip(part, found, strict=True):
                    described.append(detections.to_dict() | {"image": frames.name})
                    yield detections.draw(image)
                progress(len(described), frames.count, started)
            at_end = not FLAGS.max_frames
        except KeyboardInterrupt:
            print("\nStopped.")

    with frames:
        drawn, rate = video.paced(draw_frames()) if frames.live else (draw_frames(), frames.rate)
        written = video.write_video(out / f"{frames.name}.mp4", drawn, rate)
    described = described[:written]
    files.write_text(out / f"{frames.name}.json", json.dumps(described, indent=1) + "\n")
    finish(written, "frames", speed, started, out)
    # Not where an interruption ended it, be it while a frame was written.
    if at_end and not frames.live:
        print(video.what_is_missing(written, frames.count), end="")


def detect(detector, images: list[np.ndarray]) -> list:
    """Detections of each image."""
    # Images of different sizes make no array, so they go in as a list.
    return detector.detect(images, batch_size=FLAGS.batch_size)


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
        return f"{pace(count, seconds)} detecting{built}"


def count_names(detections) -> str:
    """ "2 cat, 1 dog", or "nothing"."""
    counts = {}
    for name in detections.names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {printable(name)}" for name, count in counts.items()) or "nothing"


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


def tiles_progress(done: int, total: int) -> None:
    """How far it is with one image, on a terminal."""
    if total > 1 and sys.stdout.isatty():
        print(f"\r  tile {done}/{total} ", end="", flush=True)


def finish(done: int, what: str, speed: Speed, started: float, out: Path) -> None:
    """How fast it was and where the results lie."""
    if sys.stdout.isatty():
        print("\r" + " " * 40 + "\r", end="")
    whole = pace(done, time.monotonic() - started)
    counted = what if done != 1 else what.removesuffix("s")
    print(f"{done} {counted}: {speed}; {whole} with reading, drawing and writing.")
    print(f"Pictures and JSON: {out}")
