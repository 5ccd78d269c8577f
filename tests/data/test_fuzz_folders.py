"""Damaged and hostile files in folders of annotations end in one line, or are read."""

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import images
from tests import mutations
from tests.data import trees

pytestmark = pytest.mark.slow

XML = '<?xml version="1.0" encoding="utf-8"?>\n' + trees.xml("a.jpg", "cat", "고양이").replace(
    "<object>", "\n<object>"
).replace("</filename>", "</filename>\n<size><width>64</width><height>48</height></size>")
YAML = (
    "path: .\ntrain: images/train\nval: [images/val, images/train]\nnc: 2\nkpt_shape: [2, 2]\n"
    "names:\n  0: cat\n  1: '고양이, small'\ndownload: |\n  import os\n"
)
LABELS = "0 0.26 0.46 0.4 0.7\n1 0.1 0.1 0.4 0.1 0.4 0.5 0.2 0.6\n0 .5 .5 .2 .2 .4 .4 .6 .4 .6 .6\n"
DARKNET = "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"

LISTS = ["train.txt", "obj.names"]
SIDE_BY_SIDE = ["a.jpg", "a.xml", "b.jpg", "b.xml"]
IMAGES = ["images/a.jpg", "images/b.jpg"]
SPLITS = ["images/train/a.jpg", "labels/train/a.txt", "images/val/b.jpg", "labels/val/b.txt"]

# The file that is damaged; its content; what lies around it; the SPEC.
FILES = {
    "VOC XML": ("a.xml", XML, ["a.jpg", "b.jpg", "b.xml"], "voc:{}"),
    "VOC list": ("train.txt", "a\nb 1\nc.jpg  1\n", SIDE_BY_SIDE, "voc:{}#train"),
    "COCO": ("instances.json", trees.coco(["a.jpg", "images\\b.jpg"]), IMAGES, "coco:{}"),
    "COCO, bare": ("result.json", trees.coco(["a.jpg", "b.jpg"]), IMAGES, "{}"),
    "YOLO labels": ("a.txt", LABELS, ["a.jpg", "b.jpg", "b.txt"], "yolo:{}"),
    "data.yaml": ("data.yaml", YAML, SPLITS, "yolo:{}#val"),
    "classes.txt": ("classes.txt", "cat\n고양이\n", ["a.jpg", "a.txt"], "yolo:{}"),
    "list of images": ("train.txt", "./images/a.jpg\nimages\\b.jpg\n", IMAGES, "yolo:{}#train"),
    "obj.data": ("obj.data", DARKNET, ["in/a.jpg", "in/a.txt", *LISTS], "yolo:{}"),
}


@pytest.fixture
def good(tmp_path, request):
    """The file and its reader."""
    name, content, others, spec = FILES[request.param]
    root = tmp_path / "set"
    lists = {"train_txt": "data/in/a.jpg\n", "obj_names": "cat\n"}
    trees.write(root, *others, **(lists if name == "obj.data" else {}))
    path = root / name
    path.write_text(content, encoding="utf-8")
    # What is imported when it is needed first.
    images.read_header(next(root.rglob("*.jpg")))
    for encoding in ("cp949", "shift_jis", "gb18030", "big5", "cp1251", "cp1252"):
        "".encode(encoding)

    def read(_):
        try:
            source = data.load_source(spec.format(root))
        except data.UnusableError:
            return  # nothing is left of it, and the error says why
        for truth in source.ground_truth():
            assert np.isfinite(truth.boxes).all()
            assert (truth.boxes >= 0).all()
            assert (truth.boxes <= 1).all()
            assert set(truth.labels) <= set(range(len(source.classes)))

    return path, read


@pytest.mark.parametrize("good", FILES, indirect=True)
def test_damaged_files_end_in_a_line_or_are_read(good):
    path, read = good
    found = mutations.fuzz(path, read, count=100, named="set")
    assert found["valid"] + found["UserError"] == 100
    assert found["valid"] > 5


@pytest.mark.parametrize("place", mutations.PLACES)
@pytest.mark.parametrize("good", FILES, indirect=True)
def test_what_is_no_file_ends_in_a_line(good, place):
    path, read = good
    mutations.put_in_place(path, place)
    assert mutations.outcome(path, read, named="set") in ("valid", "UserError")
