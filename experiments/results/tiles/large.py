"""Lays annotated photographs out on one large picture, to measure detection in tiles by.

python experiments/results/tiles/large.py --data=SPEC --out=DIR [--size=9000x12000] [--seed=0]

--out becomes a COCO folder of one image, large.jpg, and the same as a GeoTIFF if rasterio is there.
Photographs stand in rows, each 0.3 to 1.2 times as large as it is, and come again when there are
too few; between them is grey.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ssd_keras import data

GREY, GAP = 110, 24
SCALES = (0.3, 1.2)


def places(
    sizes: list[tuple[int, int]], size: tuple[int, int], seed: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, top, left, height and width of each photograph, row by row."""
    rng = np.random.default_rng(seed)
    top, number = GAP, 0
    while True:
        left, highest = GAP, 0
        while True:
            scale = rng.uniform(*SCALES)
            height, width = (max(1, round(scale * side)) for side in sizes[number % len(sizes)])
            if left + width + GAP > size[1]:
                break
            if top + height + GAP > size[0]:
                return
            yield number % len(sizes), top, left, height, width
            left, highest, number = left + width + GAP, max(highest, height), number + 1
        top += highest + GAP


def laid_out(source, size: tuple[int, int], seed: int) -> tuple[Image.Image, list[dict]]:
    """The picture and COCO's annotations of it."""
    canvas = Image.new("RGB", size[::-1], (GREY,) * 3)
    truth, objects = source.ground_truth(), []
    sizes = [(one.height, one.width) for one in truth]
    for number, top, left, height, width in places(sizes, size, seed):
        photograph = Image.fromarray(source.image(number)).resize((width, height))
        canvas.paste(photograph, (left, top))
        one = truth[number]
        for box, label, crowd in zip(one.boxes, one.labels, one.crowd, strict=True):
            y0, x0, y1, x1 = (box * np.tile([height, width], 2) + (top, left) * 2).tolist()
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": 1,
                    "category_id": int(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(crowd),
                }
            )
    return canvas, objects


def write(out: Path, canvas: Image.Image, objects: list[dict], classes) -> None:
    """Writes the COCO folder and the GeoTIFF."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    canvas.save(out / "images/large.jpg", quality=92)
    content = {
        "images": [
            {"id": 1, "file_name": "large.jpg", "height": canvas.height, "width": canvas.width}
        ],
        "annotations": objects,
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
    }
    (out / "instances.json").write_text(json.dumps(content))
    try:
        import rasterio
    except ImportError:
        return
    profile = {
        "driver": "GTiff", "height": canvas.height, "width": canvas.width, "count": 3,
        "dtype": "uint8", "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "photometric": "RGB", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with rasterio.open(out / "large.tif", "w", **profile) as file:
        for top in range(0, canvas.height, 512):
            rows = min(512, canvas.height - top)
            part = np.asarray(canvas.crop((0, top, canvas.width, top + rows)))
            window = ((top, top + rows), (0, canvas.width))
            file.write(np.moveaxis(part, -1, 0), window=window)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="9000x12000", help="height x width")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    source = data.load_source(given.data)
    height, width = map(int, given.size.split("x"))
    canvas, objects = laid_out(source, (height, width), given.seed)
    write(given.out, canvas, objects, source.classes)
    print(f"{given.out}: {width}x{height} pixels, {len(objects)} objects")


if __name__ == "__main__":
    main()
