"""Sets of each format in which nine of ten objects are lost, each in a way of its own."""

import json
from pathlib import Path

import numpy as np

from tests.data import samples


def voc(root: Path) -> str:
    """Nine objects without area."""
    objects = [samples.voc_object(box=(i, 5, i, 40)) for i in range(2, 11)]
    samples.voc_image(root, "a", samples.voc_object() + "".join(objects))
    return f"voc:{root}"


def coco(root: Path) -> str:
    """Nine annotations of an image that is not listed."""
    samples.picture(root / "images/0.jpg")
    annotations = [
        {"id": i, "image_id": 0 if not i else 99, "category_id": 7, "bbox": [4 + i, 5, 20, 30]}
        for i in range(10)
    ]
    content = {
        "images": [{"id": 0, "file_name": "0.jpg", "width": 64, "height": 48}],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return f"coco:{root}"


def yolo(root: Path) -> str:
    """Nine lines of a class that the data.yaml does not name."""
    samples.picture(root / "images/a.jpg")
    (root / "labels").mkdir()
    lines = [f"{min(i, 1)} 0.5 0.5 0.2 0.{i + 1}\n" for i in range(10)]
    (root / "labels/a.txt").write_text("".join(lines))
    (root / "data.yaml").write_text("train: images\nnames: [cat]\n")
    return f"yolo:{root}"


def csv(root: Path) -> str:
    """Nine objects of an image that is not there."""
    samples.picture(root / "a.jpg")
    lines = [f"{'b' if i else 'a'}.jpg,{i},6,40,30,cat\n" for i in range(10)]
    (root / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,class\n" + "".join(lines))
    return f"csv:{root}/boxes.csv"


def tfrecord(root: Path) -> str:
    """Nine objects whose corners are swapped."""
    from ssd_keras.data import GroundTruth, Source
    from ssd_keras.data.tfrecord import write

    picture = samples.picture(root / "a.jpg")
    boxes = np.array([[0.1, 0.1 + i / 100, 0.6, 0.6] for i in range(10)])
    boxes[1:] = boxes[1:, [2, 3, 0, 1]]
    truth = GroundTruth("a", 48, 64, boxes, [0] * 10, path=str(picture))
    write(Source("drawn", ["cat"], [truth]), str(root / "x"))
    return f"tfrecord:{root}/x-*"


FORMATS = {"voc": voc, "coco": coco, "yolo": yolo, "csv": csv, "tfrecord": tfrecord}
KINDS = {
    "voc": "zero_area",
    "coco": "unknown_image",
    "yolo": "unknown_class",
    "csv": "missing_image",
    "tfrecord": "swapped_corners",
}
