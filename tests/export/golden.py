"""What every sample must make of the same raw outputs and the same photograph.

The samples are in Python, JavaScript and Kotlin; the library, in TensorFlow, says what is right.
"""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from ssd_keras import boxes, deploy
from ssd_keras.boxes import Suppression
from ssd_keras.boxes.merging import merge_tiles
from ssd_keras.data import images
from ssd_keras.deploy.decoding import anchor_centers
from ssd_keras.deploy.tflite_file import packed_files
from ssd_keras.resizing import boxes_in_image, place_on_canvas, resize
from tests.boxes.tile_layouts import found_on_tiles, random_layout
from tests.deploy.conftest import assemble

VARIANCES = (0.1, 0.1, 0.2, 0.2)
# Rules that each part of suppression decides on at least once.
RULES = {
    "usual": (3, Suppression()),
    "strict": (3, Suppression(score_threshold=0.3, iou_threshold=0.2, max_detections=9)),
    "agnostic": (3, Suppression(class_agnostic=True)),
    "one class": (1, Suppression()),
    "few candidates": (4, Suppression(max_per_class=5)),
    "nothing": (3, Suppression(score_threshold=0.9999)),
}
# Width and height of a photograph as the camera writes it; EXIF 6: the phone was held upright.
PHOTOGRAPHS = {
    "4:3": (64, 48, 1),
    "16:9": (80, 45, 1),
    "EXIF 6": (64, 48, 6),
    "EXIF 3": (48, 64, 3),
}
SIZE = (37, 29)
# Heights and widths of pictures, on a canvas of 192 x 320.
SIZES = [(192, 320), (1080, 1920), (4032, 3024), (67, 134), (1, 5000), (5000, 1), (201, 335)]
# Where each way of resizing has the centre of a pixel.
CENTRES = {"half_pixel": 0.5, "corner": 0.0, "letterbox": 0.5}


@functools.cache
def raw_outputs(num_classes: int, count: int = 300) -> tuple[np.ndarray, ...]:
    """Codes `[A, 4]`, scores `[A, C]` and default boxes `[A, 4]` as centres and sizes, float32."""
    rng = np.random.default_rng(num_classes)
    centres, sides = rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.5, (count, 2))
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    codes = rng.normal(0, 1, (count, 4)).astype(np.float32)
    odds = np.exp(rng.normal(0, 3, (count, num_classes + 1)))
    scores = (odds / odds.sum(1, keepdims=True))[:, 1:].astype(np.float32)
    # Equal scores: the first class and the first box win.
    scores[1] = scores[0]
    return codes, scores, anchor_centers(corners)


@functools.cache
def detections(rule: str) -> np.ndarray:
    """ymin, xmin, ymax, xmax, class and score `[D, 6]` by the library, for the rule's outputs."""
    num_classes, suppression = RULES[rule]
    codes, scores, centers = raw_outputs(num_classes)
    corners = np.concatenate(
        [centers[:, :2] - centers[:, 2:] / 2, centers[:, :2] + centers[:, 2:] / 2], 1
    )
    found = boxes.suppress(
        boxes.decode(codes[None], corners, VARIANCES), scores[None], **suppression.as_dict()
    )
    found = {key: np.asarray(value)[0] for key, value in found.items()}
    rows = np.concatenate([found["boxes"], found["labels"][:, None], found["scores"][:, None]], 1)
    return rows[: int(found["count"])]


def write_raw_outputs(rule: str, folder: Path):
    """The outputs as `codes`, `scores` and `anchors` (float32), the rule as `rule.json`."""
    num_classes, suppression = RULES[rule]
    names = ("codes", "scores", "anchors")
    for name, values in zip(names, raw_outputs(num_classes), strict=True):
        values.tofile(folder / name)
    settings = suppression.as_dict() | {"variances": VARIANCES}
    (folder / "rule.json").write_text(json.dumps(settings))


def assert_detections(found: np.ndarray, rule: str):
    """`found` `[D, 6]`, as those of `detections`, is what the library finds."""
    wanted = detections(rule)
    found = np.asarray(found, np.float64).reshape(-1, 6)
    assert len(found) == len(wanted)
    np.testing.assert_array_equal(found[:, 4], wanted[:, 4])
    np.testing.assert_allclose(found[:, 5], wanted[:, 5], atol=1e-6)
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], atol=2e-6)


def photograph(name: str) -> bytes:
    """A PNG file with this orientation in its EXIF data."""
    width, height, orientation = PHOTOGRAPHS[name]
    rng = np.random.default_rng(width)
    blocks = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3))
    pixels = np.kron(blocks, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", exif=exif)
    return stream.getvalue()


def upright(name: str) -> np.ndarray:
    """The photograph as the library reads it, uint8 `[H, W, 3]`."""
    return np.asarray(images.decode_image(photograph(name)))


def network_pixels(name: str, way: str) -> np.ndarray:
    """What the library feeds an int8 network, uint8 `[*SIZE, 3]`."""
    return np.round(resize(upright(name), SIZE, way)).clip(0, 255).astype(np.uint8)


def assert_pixels(found: np.ndarray, name: str, way: str):
    """Within one grey level of what the library feeds."""
    wanted = network_pixels(name, way)
    found = np.asarray(found, np.int64).reshape(wanted.shape)
    assert np.abs(found - wanted).max() <= 1


def assert_places(found):
    """Top, left, height and width of each of `SIZES` on the canvas, and in shares of the picture
    the place that has 0.4 of the canvas above it and 0.4 to its left."""
    canvas, box = (192, 320), np.full((1, 4), 0.4, np.float32)
    found = np.asarray(found, np.float64)
    assert len(found) == len(SIZES)
    for row, size in zip(found, SIZES, strict=True):
        assert tuple(row[:4]) == place_on_canvas(size, canvas, "letterbox")
        inside = boxes_in_image(box, size, canvas, "letterbox")
        np.testing.assert_allclose(row[4:], inside[0, :2], atol=1e-4)


def found_inside(image: np.ndarray, quantization: str = "none", min_score: float = 0.3):
    """The detections of the file that has the suppression inside."""
    return deploy.TFLiteDetector(assemble("builtin", quantization)).detect(image).above(min_score)


def write_photographs(paths: list[Path], folder: Path) -> list[np.ndarray]:
    """Raw outputs of photographs, and what the file with the suppression inside finds in them.

    Args:
        paths: image files.
        folder: gets `anchors`, `rule.json` and for each a numbered folder of `codes` and `scores`.

    Returns:
        ymin, xmin, ymax, xmax, class and score `[D, 6]` of each, float32 file, best first.
    """
    outside, inside = assemble("none"), deploy.TFLiteDetector(assemble("builtin"), trusted=True)
    files = packed_files(outside)
    (folder / "anchors").write_bytes(files["anchors.f32"])
    (folder / "rule.json").write_bytes(files["ssd_keras.json"])
    serve = Interpreter(model_content=outside).get_signature_runner("serving_default")
    wanted = []
    for number, path in enumerate(paths):
        image = np.asarray(images.decode_image(path.read_bytes()))
        raw = serve(image=resize(image, inside.image_size)[None].astype(np.float32))
        place = folder / f"{number:03}"
        place.mkdir()
        raw["boxes"].tofile(place / "codes")
        raw["scores"].tofile(place / "scores")
        found = inside.detect(image)
        columns = (found.boxes, found.labels[:, None], found.scores[:, None])
        wanted.append(np.concatenate(columns, 1))
    return wanted


def assert_photographs(found: list, wanted: list[np.ndarray]):
    """Each photograph has the detections `[D, 6]` that the file finds inside."""
    assert len(found) == len(wanted) >= 100
    for ours, theirs in zip(found, wanted, strict=True):
        ours = np.asarray(ours, np.float64).reshape(-1, 6)
        assert len(ours) == len(theirs) >= 1
        np.testing.assert_array_equal(ours[:, 4], theirs[:, 4])
        np.testing.assert_allclose(ours[:, 5], theirs[:, 5], atol=1e-6)
        np.testing.assert_allclose(ours[:, :4], theirs[:, :4], atol=1e-5)


# === Tiles ===


@functools.cache
def tile_cases() -> tuple[dict, ...]:
    """Detections on the tiles of images, ready for JSON, and what the library makes of them."""
    return tuple(_tile_case(seed) for seed in range(8))


def _tile_case(seed: int) -> dict:
    layout = random_layout(seed, most=12)
    found = found_on_tiles(layout, 0.05, jitter=0.08)
    tiles, tile_of, boxes, scores, labels = found
    # Equal scores: the first tile wins.
    scores[: len(scores) // 2] = scores[0]
    agnostic = seed % 2 == 1
    merged = merge_tiles(*found, layout.tiling, class_agnostic=agnostic)
    return {
        "size": list(layout.size),
        "tiling": layout.tiling.as_dict(),
        "class_agnostic": agnostic,
        "tiles": tiles.tolist(),
        "found": [
            {"tile": int(tile), "box": box, "score": float(score), "label": int(label)}
            for tile, box, score, label in zip(tile_of, boxes.tolist(), scores, labels, strict=True)
        ],
        "wanted": [
            [*box, float(score), int(label)]
            for box, score, label in zip(*(part.tolist() for part in merged), strict=True)
        ],
    }


def assert_merged(found: list, case: dict):
    """Rows of box, score and label are to the bit those of the library."""
    assert [[float(value) for value in row] for row in found] == case["wanted"]
    assert len(case["wanted"]) < len(case["found"]) or len(case["tiles"]) == 1
