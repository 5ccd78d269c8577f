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
        # How large images are cut; None looks at them as a whole.
        self.tiling = self._settings.get("tiling")
        self.is_letterbox = self._settings.get("resize") == "letterbox"
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        if len(self._outputs) == 2:
            self._anchors = read_anchors(content)

    def detect(self, image: np.ndarray, min_score: float = 0.4) -> list[tuple]:
        """Finds the objects in an RGB image `[height, width, 3]`, 0..255, of any size.

        A large image is cut into tiles if the file, or `tiling`, says so.

        Returns:
            (name, score, (top, left, bottom, right) in pixels) of each, best first.
        """
        boxes, labels, scores = self._detect_tiles(image)
        return [
            (self.labels[int(label)], float(score), tuple(float(x) for x in box))
            for box, label, score in zip(boxes, labels, scores)  # noqa: B905
            if score >= min_score
        ]

    def _detect_tiles(self, image: np.ndarray) -> tuple:
        """Boxes `[D, 4]` in pixels, classes and scores, tile by tile."""
        if not self.tiling:
            return self._detect_whole(image)
        tiles = tiles_of(image.shape[0], image.shape[1], self.tiling)
        if len(tiles) == 1:
            return self._detect_whole(image)
        found = []
        for number, (top, left, bottom, right) in enumerate(tiles):
            boxes, labels, scores = self._detect_whole(image[top:bottom, left:right])
            boxes = np.reshape(boxes, (-1, 4)) + np.array([top, left, top, left])
            found.append((np.full(len(boxes), number), boxes, labels, scores))
        parts = [np.concatenate(column) for column in zip(*found)]  # noqa: B905
        return merge_tiles(tiles, *parts, self.tiling, self._settings.get("class_agnostic", False))

    def _detect_whole(self, image: np.ndarray) -> tuple:
        """The same, of an image that is looked at as a whole."""
        self._interpreter.set_tensor(self._input["index"], self.to_input(image))
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(output["index"])[0] for output in self._outputs]
        boxes, labels, scores = self._detections(*outputs)
        boxes = self._in_image(boxes, image) * np.array([image.shape[0], image.shape[1]] * 2)
        if self.is_letterbox:
            # What lies on the edges alone is no object.
            inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            boxes, labels, scores = boxes[inside], labels[inside], scores[inside]
        return boxes, labels, scores

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


# === Tiles, as in the library's boxes/tiles.py and boxes/merging.py ===


def tiling(side: int, known: dict | None = None) -> dict | None:
    """How images are cut into tiles of so many pixels, otherwise as is known; None for 0."""
    usual = {"overlap": 0.2, "whole": False, "iou_threshold": 0.45, "smaller_threshold": 0.5}
    usual |= {"margin": 0.02, **(known or {})}
    return usual | {"height": side, "width": side} if side > 0 else None


def tiles_of(height: int, width: int, tiling: dict) -> list[tuple]:
    """Top, left, bottom and right of the tiles of an image, and of all of it if that is wanted."""
    rows = _starts(height, tiling["height"], tiling["overlap"])
    columns = _starts(width, tiling["width"], tiling["overlap"])
    high, wide = min(height, tiling["height"]), min(width, tiling["width"])
    tiles = [(top, left, top + high, left + wide) for top in rows for left in columns]
    if tiling["whole"] and len(tiles) > 1:
        tiles.append((0, 0, height, width))
    return tiles


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    step = max(1, side - math.floor(overlap * side + 0.5))
    return [*range(0, length - side, step), length - side]


def merge_tiles(tiles, tile_of, boxes, labels, scores, tiling: dict, class_agnostic=False) -> tuple:
    """Objects of the image: halves are joined, what two tiles saw counts once.

    Args:
        tiles: as `tiles_of` gives them.
        tile_of: the tile of each detection `[N]`, ascending.
        boxes: `[N, 4]` in pixels of the image.
        labels, scores: `[N]`.
        tiling: what ssd_keras.json says of tiles.
        class_agnostic: join objects of different classes, too.

    Returns:
        Boxes `[M, 4]`, labels and scores, best first.
    """
    tiles, boxes = np.array(tiles, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)
    cut = _cut_sides(tiles[tile_of], boxes, tiles, tiling["margin"])
    pairs = []
    for one in range(len(tiles)):
        for other in range(one + 1, len(tiles)):
            rows, columns = np.flatnonzero(tile_of == one), np.flatnonzero(tile_of == other)
            pairs += _pairs(tiles[one], tiles[other], rows, columns, boxes, cut, tiling)
    pairs = [pair for pair in pairs if class_agnostic or labels[pair[1]] == labels[pair[2]]]
    groups = _groups(sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])), tile_of)
    groups = [sorted(group, key=lambda n: (-scores[n], n)) for group in groups]
    groups.sort(key=lambda group: (-scores[group[0]], group[0]))
    best = np.array([group[0] for group in groups], np.int64)
    joined = np.array([_box_of(group, boxes, cut) for group in groups]).reshape(-1, 4)
    classes = np.zeros(len(best)) if class_agnostic else np.asarray(labels)[best]
    whole = [_whole_one(group, cut) for group in groups]
    # A box that was put together is of no tile.
    of_tile = np.array([-1 - n if one < 0 else tile_of[one] for n, one in enumerate(whole)])
    kept = _suppress(joined, classes, of_tile, tiling["iou_threshold"])
    return joined[kept], np.asarray(labels)[best[kept]], np.asarray(scores)[best[kept]]


def _cut_sides(edges, boxes, tiles, margin: float) -> np.ndarray:
    """Which sides of each box lie at an edge of its tile that is none of the image `[N, 4]`."""
    reach = np.maximum(1.0, margin * np.tile(edges[:, 2:] - edges[:, :2], 2))
    image = np.concatenate([tiles[:, :2].min(0), tiles[:, 2:].max(0)])
    beyond = np.concatenate([boxes[:, :2] < edges[:, :2], boxes[:, 2:] > edges[:, 2:]], axis=1)
    return ((np.abs(boxes - edges) <= reach) | beyond) & (edges != image)


def _pairs(tile, other, rows, columns, boxes, cut, tiling: dict) -> list[tuple]:
    """(agreement, first, second) of detections on two tiles that may be one object."""
    shared = _common(tile, other)
    rows, columns = (part[_area(_common(boxes[part], shared)) > 0] for part in (rows, columns))
    if not len(rows) or not len(columns):
        return []
    a, b = boxes[rows][:, None], boxes[columns][None]
    both, area_a, area_b = _area(_common(a, b)), _area(a), _area(b)
    seen_a, seen_b = _common(a, shared), _common(b, shared)
    seen = _area(_common(seen_a, seen_b))
    agreement = seen / (_area(seen_a) + _area(seen_b) - seen)
    open_a = (cut[rows] & _goes_on(tile, other)).any(1)[:, None]
    open_b = (cut[columns] & _goes_on(other, tile)).any(1)[None]
    least = tiling["smaller_threshold"]
    same = both / (area_a + area_b - both) > tiling["iou_threshold"]
    same |= (
        np.where(area_a <= area_b, open_a, open_b)
        & (both / np.minimum(area_a, area_b) > least)
        & (agreement > least / 2)
    )
    same |= open_a & open_b & (agreement > least)
    return [(agreement[i, j], int(rows[i]), int(columns[j])) for i, j in np.argwhere(same)]


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    return np.concatenate([low, high], axis=-1)


def _area(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.where((sides > 0).all(-1), sides[..., 0] * sides[..., 1], 0.0)


def _goes_on(tile: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Beyond which edges of a tile the other one goes on."""
    return np.concatenate([other[:2] < tile[:2], other[2:] > tile[2:]])


def _groups(pairs: list[tuple], tile_of: np.ndarray) -> list[list[int]]:
    """The detections of each object; none has two of one tile."""
    group = list(range(len(tile_of)))
    members = {number: [number] for number in group}
    for _, first, second in pairs:
        one, other = sorted((group[first], group[second]))
        tiles = [set(tile_of[members[number]].tolist()) for number in (one, other)]
        if one == other or tiles[0] & tiles[1]:
            continue
        for number in members[other]:
            group[number] = one
        members[one] += members.pop(other)
    return list(members.values())


def _whole_one(group: list[int], cut: np.ndarray) -> int:
    """The best detection of an object that no edge cuts, or -1."""
    return next((number for number in group if not cut[number].any()), -1)


def _suppress(boxes, classes, of_tile, iou_threshold: float) -> np.ndarray:
    """The boxes, best first, that none before them of another tile stands for."""
    kept = []
    for number, box in enumerate(boxes):
        rivals = np.array(kept, np.int64)
        rivals = rivals[(classes[rivals] == classes[number]) & (of_tile[rivals] != of_tile[number])]
        both = _area(_common(box, boxes[rivals]))
        with np.errstate(invalid="ignore"):  # two boxes without area
            iou = both / (_area(box) + _area(boxes[rivals]) - both)
        if not (iou > iou_threshold).any():
            kept.append(number)
    return np.array(kept, np.int64)


def _box_of(group: list[int], boxes: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The box of the best detection that no edge cuts, or each side of the best that has it."""
    whole = _whole_one(group, cut)
    if whole >= 0:
        return boxes[whole]
    sides = []
    for side, outermost in enumerate((min, min, max, max)):
        free = [boxes[number, side] for number in group if not cut[number, side]]
        sides.append(free[0] if free else outermost(boxes[group, side]))
    return np.array(sides)


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
        return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image) -> np.ndarray:
    """A picture of Pillow as training sees it: 16 bits made 8, transparent pixels on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        greatest = 4095 if values.max() <= 4095 else 65535
        levels = np.round(values / (greatest / 255)).astype(np.uint8)
        return np.repeat(levels[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


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
    parser.add_argument(
        "--tiles",
        type=int,
        help="side of tiles in pixels, 0 for the whole image; else as the file says",
    )
    parser.add_argument("--min_score", type=float, default=0.4)
    parser.add_argument("--repeats", type=int, default=1, help="run more often to measure time")
    arguments = parser.parse_args()
    try:
        detector = Detector(arguments.model, arguments.threads)
        if arguments.tiles is not None:
            detector.tiling = tiling(arguments.tiles, detector.tiling)
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
