"""Lays tiles of aerial photographs together again, as large scenes with one class.

python experiments/results/tiles/scenes.py --data=DIR --out=DIR [--held_out=REGEX]

--data is a COCO folder whose images are called SCENE_TOP_LEFT.jpg. --out gets train/ and val/, COCO
folders of scenes, val/ those whose name matches --held_out. What was cut at the edges of tiles is
joined, what two overlapping tiles have counts once. Objects of other classes than --keep become
crowds, which are neither learned nor measured. Where a tile is missing, the scene is grey.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

NAME = re.compile(r"(.*)_(\d+)_(\d+)\.\w+$")
GREY = (123, 117, 104)
# Boxes of two tiles are one object if they share so much of the smaller one, or, where both end at
# a common edge, of the shorter of the two cuts.
SAME = 0.5
EDGE = 3


def scenes_of(images: list[dict]) -> dict[str, list[tuple[int, int, dict]]]:
    """Top, left and image of the tiles of each scene."""
    found = collections.defaultdict(list)
    for image in images:
        if match := NAME.match(image["file_name"]):
            found[match[1]].append((int(match[2]), int(match[3]), image))
    return {name: sorted(tiles, key=lambda t: t[:2]) for name, tiles in sorted(found.items())}


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Common area as a share of the smaller box; boxes are top, left, bottom, right."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    return float(sides.clip(0).prod() / max(smaller, 1e-9))


def are_halves(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether one box goes on where the other ends."""
    for axis in (0, 1):
        across = 1 - axis
        touch = min(abs(a[axis + 2] - b[axis]), abs(b[axis + 2] - a[axis])) <= EDGE
        both = min(a[across + 2], b[across + 2]) - max(a[across], b[across])
        shorter = min(a[across + 2] - a[across], b[across + 2] - b[across])
        if touch and both > SAME * shorter:
            return True
    return False


def joined(boxes: list[tuple[int, int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    """Class and box of each object, of `(tile, class, box)`."""
    found: list[tuple[set, int, np.ndarray]] = []
    for tile, kind, box in boxes:
        tiles, rest = {tile}, []
        for other in found:
            apart = other[0] & tiles or other[1] != kind
            if not apart and (shared(other[2], box) > SAME or are_halves(other[2], box)):
                tiles |= other[0]
                box = np.r_[np.minimum(box[:2], other[2][:2]), np.maximum(box[2:], other[2][2:])]
            else:
                rest.append(other)
        found = [*rest, (tiles, kind, box)]
    return [(kind, box) for _, kind, box in found]


def laid_out(folder: Path, tiles) -> np.ndarray:
    """The picture of a scene."""
    height = max(top + image["height"] for top, _, image in tiles)
    width = max(left + image["width"] for _, left, image in tiles)
    canvas = np.full((height, width, 3), GREY, np.uint8)
    for top, left, image in tiles:
        with Image.open(folder / "images" / image["file_name"]) as file:
            pixels = np.asarray(file.convert("RGB"))
        canvas[top : top + len(pixels), left : left + pixels.shape[1]] = pixels
    return canvas


def boxes_of(tiles, annotations: dict[int, list[dict]]) -> list[tuple[int, int, np.ndarray]]:
    """Tile, class and box in the scene of each annotation."""
    found = []
    for number, (top, left, image) in enumerate(tiles):
        for one in annotations.get(image["id"], ()):
            x, y, width, height = one["bbox"]
            box = np.array([top + y, left + x, top + y + height, left + x + width])
            found.append((number, one["category_id"], box))
    return found


def write(folder: Path, out: Path, scenes: dict, annotations: dict, keep: int, name: str) -> None:
    """Writes a COCO folder of scenes."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    images, objects = [], []
    for scene, tiles in scenes.items():
        picture = laid_out(folder, tiles)
        number = len(images) + 1
        Image.fromarray(picture).save(out / "images" / f"{scene}.jpg", quality=92)
        height, width, _ = picture.shape
        images.append({"id": number, "file_name": f"{scene}.jpg", "height": height, "width": width})
        for kind, (top, left, bottom, right) in joined(boxes_of(tiles, annotations)):
            objects.append({
                "id": len(objects) + 1, "image_id": number, "category_id": 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top), "iscrowd": int(kind != keep),
            })  # fmt: skip
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": name}]}
    (out / "instances.json").write_text(json.dumps(content))
    kept = sum(not one["iscrowd"] for one in objects)
    sizes = collections.Counter(f"{one['width']}x{one['height']}" for one in images)
    usual = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(3))
    others = len(objects) - kept
    print(f"{out}: {len(images)} scenes ({usual} ...), {kept} of {name}, {others} others")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held_out", default="DJI-00760|MOS1")
    parser.add_argument("--keep", default="car")
    given = parser.parse_args()
    content = json.loads((given.data / "instances.json").read_text())
    keep = next(one["id"] for one in content["categories"] if one["name"] == given.keep)
    annotations = collections.defaultdict(list)
    for one in content["annotations"]:
        annotations[one["image_id"]].append(one)
    scenes = scenes_of(content["images"])
    for part in ("train", "val"):
        chosen = {
            name: tiles
            for name, tiles in scenes.items()
            if bool(re.search(given.held_out, name)) == (part == "val")
        }
        write(given.data, given.out / part, chosen, annotations, keep, given.keep)


if __name__ == "__main__":
    main()
