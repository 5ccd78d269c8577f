"""Detects objects on a Raspberry Pi or any Linux computer with an exported .tflite file.

Needs no ssd-keras and no TensorFlow, only this file, a 64-bit system and Python 3.10 to 3.14:

    python3 -m venv detect
    detect/bin/pip install ai-edge-litert numpy pillow
    detect/bin/python detect.py --model=pets.tflite --image=photo.jpg

Files of every --postprocess work. Without Pillow (for a camera, say), import it and give
`Detector.detect` an array:

    detector = Detector("pets.tflite", threads=4)
    for name, score, (top, left, bottom, right) in detector.detect(frame):
        ...
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import stat
import statistics
import sys
import time
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

SETTINGS_FILE = "ssd_keras.json"
ANCHORS_FILE = "anchors.f32"
LABEL_FILES = ("labels.txt", "labelmap.txt")
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
FILL = (123, 117, 104)


class Detector:
    """A .tflite file with its labels inside, and the outputs of any --postprocess.

    "builtin" and "op" give boxes, classes, scores and count; "none" codes and scores, of which
    `decode` and `suppress` make the same.
    """

    def __init__(self, path: str, threads: int = 4):
        with open_file(path) as file:
            content = file.read()
        self.labels = read_labels(content)
        self._settings = read_settings(content)
        self.centre = 0.0 if self._settings.get("resize") == "corner" else 0.5
        self.is_letterbox = self._settings.get("resize") == "letterbox"
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        if len(self._outputs) == 2:
            self._anchors = read_anchors(content)

    def detect(self, image: np.ndarray, min_score: float = 0.4) -> list[tuple]:
        """Finds the objects in an RGB image `[height, width, 3]`, 0..255, of any size.

        Returns:
            (name, score, (top, left, bottom, right) in pixels) of each, best first.
        """
        self._interpreter.set_tensor(self._input["index"], self.to_input(image))
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(output["index"])[0] for output in self._outputs]
        boxes, labels, scores = self._detections(*outputs)
        boxes = self._in_image(boxes, image) * np.array([image.shape[0], image.shape[1]] * 2)
        return [
            (self.labels[int(label)], float(score), tuple(float(x) for x in box))
            for box, label, score in zip(boxes, labels, scores)  # noqa: B905
            if score >= min_score
        ]

    def to_input(self, image: np.ndarray) -> np.ndarray:
        """The pixels that the network gets, `[1, height, width, 3]`."""
        _, height, width, _ = self._input["shape"]
        top, left, rows, columns = self._place(image)
        pixels = np.empty((height, width, 3), np.float32)
        pixels[:] = FILL
        seen = pixels[top : top + rows, left : left + columns]
        seen[:] = resize(image, rows, columns, self.centre)
        if self._input["dtype"] == np.uint8:
            pixels = np.round(pixels)
        return pixels[None].astype(self._input["dtype"])

    def _place(self, image: np.ndarray) -> tuple[int, int, int, int]:
        """Where on the network's input the image lies: top, left, height and width."""
        _, height, width, _ = (int(n) for n in self._input["shape"])
        if not self.is_letterbox:
            return 0, 0, height, width
        return letterbox(image.shape[0], image.shape[1], height, width)

    def _in_image(self, boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Boxes `[D, 4]` in shares of the network's input -> in shares of the image."""
        if not self.is_letterbox:
            return boxes
        _, height, width, _ = self._input["shape"]
        top, left, rows, columns = self._place(image)
        boxes = boxes * np.array([height, width] * 2) - np.array([top, left] * 2)
        return (boxes / np.array([rows, columns] * 2)).clip(0, 1)

    def _detections(self, *outputs: np.ndarray) -> tuple:
        """Boxes `[D, 4]` in 0..1, classes `[D]` and scores `[D]`."""
        if len(outputs) == 2:
            codes, scores = outputs
            boxes = decode(codes, self._anchors, self._settings["variances"])
            return suppress(boxes, scores, self._settings)
        boxes, classes, scores, count = outputs
        # Slots beyond the count mean nothing.
        return tuple(output[: int(count)] for output in (boxes, classes, scores))


def decode(codes: np.ndarray, anchors: np.ndarray, variances) -> np.ndarray:
    """Codes dy, dx, dh, dw `[A, 4]` -> corners ymin, xmin, ymax, xmax `[A, 4]`, float32.

    Args:
        codes: the first output of a file of --postprocess=none.
        anchors: the default boxes as centre y, centre x, height, width.
        variances: factors of the codes.
    """
    variances = np.float32(variances)
    middle = codes[:, :2] * variances[:2] * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(codes[:, 2:] * variances[2:]) * np.float32(0.5) * anchors[:, 2:]
    return np.concatenate([middle - half, middle + half], axis=1)


def suppress(boxes: np.ndarray, scores: np.ndarray, rule: dict) -> tuple:
    """The suppression of "builtin", outside of the file.

    Args:
        boxes: corners `[A, 4]`.
        scores: `[A, C]`.
        rule: score_threshold, iou_threshold, max_detections, max_per_class and class_agnostic, as
            they are in ssd_keras.json.

    Returns:
        Boxes `[D, 4]` clipped to 0..1, classes `[D]` and scores `[D]`, best first.
    """
    best_of_box = scores.argmax(axis=1)
    found = []
    for label in [None] if rule["class_agnostic"] else range(scores.shape[1]):
        column = scores.max(axis=1) if label is None else scores[:, label]
        candidates = np.argsort(-column, kind="stable")[: rule["max_per_class"]]
        candidates = candidates[column[candidates] > rule["score_threshold"]]
        for box in _survivors(boxes, candidates, rule["iou_threshold"]):
            found.append((-column[box], best_of_box[box] if label is None else label, box))
    found = sorted(found)[: rule["max_detections"]]
    chosen = [box for _, _, box in found]
    return (
        boxes[chosen].clip(0, 1),
        np.array([label for _, label, _ in found]),
        np.array([-score for score, _, _ in found]),
    )


def _survivors(boxes: np.ndarray, candidates: np.ndarray, iou_threshold: float) -> list[int]:
    """Those of the candidates, best first, that no better one overlaps by more than this."""
    survivors = []
    while len(candidates):
        best, candidates = candidates[0], candidates[1:]
        survivors.append(int(best))
        candidates = candidates[_iou(boxes[best], boxes[candidates]) <= iou_threshold]
    return survivors


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    area, areas = (b[..., 2:] - b[..., :2] for b in (box, others))
    return shared / (area.prod() + areas.prod(axis=1) - shared)


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
    raise ValueError("The model holds no label file: export it with ssd-keras export-tflite.")


def read_settings(content: bytes) -> dict:
    """What else the file says of itself."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if SETTINGS_FILE not in archive.namelist():
            return {}
        return json.loads(archive.read(SETTINGS_FILE))


def read_anchors(content: bytes) -> np.ndarray:
    """The default boxes packed into a file of --postprocess=none, `[A, 4]`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if ANCHORS_FILE not in archive.namelist():
            raise ValueError("The model has raw outputs and no default boxes: export it again.")
        return np.frombuffer(archive.read(ANCHORS_FILE), "<f4").reshape(-1, 4)


def resize(image: np.ndarray, height: int, width: int, centre: float = 0.5) -> np.ndarray:
    """Bilinear: as in training.

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


def letterbox(height: int, width: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of an image made as large as it fits in the middle of an input.

    Args:
        height, width: of the image.
        rows, columns: of the input.
    """
    seen = (
        max(1, min(rows, math.floor(height * columns / width + 0.5))),
        max(1, min(columns, math.floor(width * rows / height + 0.5))),
    )
    return (rows - seen[0]) // 2, (columns - seen[1]) // 2, *seen


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
