"""Folders of annotated images, written from tables of their files."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.data import samples

# One object in an image of 64 x 48 pixels, as every format writes it: [ymin, xmin, ymax, xmax].
BOX = np.array([5 / 48, 4 / 64, 40 / 48, 30 / 64])
LINE = "0 0.265625 0.46875 0.40625 0.7291666667\n"
BBOX = [4, 5, 26, 35]


def write(root: Path, *files: str, **texts: str) -> Path:
    """Writes files: images by their extension, .xml and .txt with the object, others empty.

    `texts` are the contents of files by names of `files`, without folder and dots.
    """
    for number, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        given = texts.get(path.name.replace(".", "_").replace("-", "_"))
        if given is not None:
            path.write_text(given, encoding="utf-8")
        elif path.suffix.lower() in (".jpg", ".png"):
            image = samples.picture(path.with_suffix(path.suffix.lower()), seed=number)
            image.rename(path)
        elif path.suffix.lower() == ".xml":
            path.write_text(xml(f"{path.stem}.jpg"), encoding="utf-8")
        elif path.suffix.lower() == ".txt":
            path.write_text(LINE)
        else:
            path.write_text("")
    return root


def xml(filename: str, *classes: str) -> str:
    """A VOC annotation with an object of each class, "cat" if there is none."""
    objects = "".join(samples.voc_object(name) for name in classes or ("cat",))
    return f"<annotation><filename>{filename}</filename>{objects}</annotation>"


def coco(names: Iterable[str], **changes) -> str:
    """COCO's JSON with one object in each image; `changes` replace its lists."""
    names = list(names)
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": BBOX} for i in range(len(names))
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return json.dumps(content | changes)


def objects(source) -> dict[str, list[str]]:
    """The class names of the objects of each image, by its id; their boxes must be `BOX`."""
    found = {}
    for truth in source.ground_truth():
        np.testing.assert_allclose(truth.boxes, np.tile(BOX, (len(truth), 1)), atol=1e-6)
        assert truth.image_id not in found
        found[truth.image_id] = [source.classes[label] for label in truth.labels]
    return found
