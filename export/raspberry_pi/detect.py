"""Detects objects on a Raspberry Pi or any Linux computer with an exported .tflite file.

Needs no ssd-keras and no TensorFlow, only this file:

    pip install ai-edge-litert numpy pillow
    python detect.py --model=pets.tflite --image=photo.jpg

Without Pillow (for a camera, say), import it and give `Detector.detect` an array:

    detector = Detector("pets.tflite", threads=4)
    for name, score, (top, left, bottom, right) in detector.detect(frame):
        ...
"""

from __future__ import annotations

import argparse
import io
import json
import os
import stat
import statistics
import sys
import time
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

SETTINGS_FILE = "ssd_keras.json"
LABEL_FILES = ("labels.txt", "labelmap.txt")
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")


class Detector:
    """A .tflite file with outputs boxes, classes, scores, count and its labels inside."""

    def __init__(self, path: str, threads: int = 4):
        with open_file(path) as file:
            content = file.read()
        self.labels = read_labels(content)
        self.centre = 0.0 if read_settings(content).get("resize") == "corner" else 0.5
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def detect(self, image: np.ndarray, min_score: float = 0.4) -> list[tuple]:
        """Finds the objects in an RGB image `[height, width, 3]`, 0..255, of any size.

        Returns:
            (name, score, (top, left, bottom, right) in pixels) of each, best first.
        """
        _, height, width, _ = self._input["shape"]
        pixels = resize(image, height, width, self.centre)
        if self._input["dtype"] == np.uint8:
            pixels = np.round(pixels)
        self._interpreter.set_tensor(
            self._input["index"], pixels[None].astype(self._input["dtype"])
        )
        self._interpreter.invoke()
        boxes, classes, scores, count = (
            self._interpreter.get_tensor(output["index"])[0] for output in self._outputs
        )
        scale = np.array([image.shape[0], image.shape[1]] * 2)
        # Slots beyond the count mean nothing.
        return [
            (self.labels[int(label)], float(score), tuple(float(x) for x in box * scale))
            for box, label, score in zip(boxes[: int(count)], classes, scores)  # noqa: B905
            if score >= min_score
        ]


def open_file(path: str):
    """A file opened for reading; a pipe or a device would be waited for."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"'{path}' is not a file.")
    return open(path, "rb")


def read_image(path: str) -> np.ndarray:
    """An image file as RGB `[height, width, 3]`, the way it is held."""
    from PIL import Image, ImageOps

    # Named, because Pillow starts other programs for some formats, whatever a file is called.
    with open_file(path) as file, Image.open(file, formats=IMAGE_FORMATS) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def read_labels(content: bytes) -> list[str]:
    """The class names packed into the file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in LABEL_FILES:
            if name in archive.namelist():
                return archive.read(name).decode().splitlines()
    raise ValueError("The model holds no label file: export it with export.tflite.")


def read_settings(content: bytes) -> dict:
    """What else the file says of itself."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if SETTINGS_FILE not in archive.namelist():
            return {}
        return json.loads(archive.read(SETTINGS_FILE))


def resize(image: np.ndarray, height: int, width: int, centre: float = 0.5) -> np.ndarray:
    """Bilinear, aspect ratio not kept: as in training.

    `centre` is where a pixel has its centre: half a pixel from its corner, or at its corner in
    detectors that come from the TF Object Detection API.
    """
    (top, bottom, y), (left, right, x) = (
        _neighbours(have, want, centre)
        for have, want in ((image.shape[0], height), (image.shape[1], width))
    )
    y, x = y[:, None, None], x[None, :, None]
    rows = image[top].astype(np.float32) * (1 - y) + image[bottom].astype(np.float32) * y
    return rows[:, left] * (1 - x) + rows[:, right] * x


def _neighbours(have: int, want: int, centre: float):
    places = (np.arange(want, dtype=np.float32) + centre) * np.float32(have / want) - centre
    first = np.floor(places)
    lower = np.clip(first, 0, have - 1).astype(np.int64)
    upper = np.clip(first + 1, 0, have - 1).astype(np.int64)
    return lower, upper, places - first


def main() -> int:
    parser = argparse.ArgumentParser(description="Detects objects in an image file.")
    parser.add_argument("--model", required=True, help="the .tflite file")
    parser.add_argument("--image", required=True, help="an image file")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--min_score", type=float, default=0.4)
    parser.add_argument("--repeats", type=int, default=1, help="run more often to measure time")
    arguments = parser.parse_args()
    try:
        detector = Detector(arguments.model, arguments.threads)
        image = read_image(arguments.image)
    # A damaged file may bring any error about.
    except Exception as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    times = []
    for _ in range(max(1, arguments.repeats)):
        start = time.perf_counter()
        found = detector.detect(image, arguments.min_score)
        times.append(1000 * (time.perf_counter() - start))
    for name, score, box in found:
        top, left, bottom, right = (round(x) for x in box)
        print(f"{name:<20} {score:.2f}  top {top} left {left} bottom {bottom} right {right}")
    print(f"{len(found)} objects, {statistics.median(times):.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
