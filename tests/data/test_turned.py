"""Boxes that CVAT gives as they were before they were turned."""

import json

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import coco_content, turned, verdict
from tests.data import samples

# 16 by 8 pixels about (28, 24) in an image of 64x48: xmin, ymin, xmax, ymax.
BOX = (20, 20, 36, 28)
DIAGONAL = 12 * 0.5**0.5

# What is written for the rotation, the box that is read, and what is said.
TURNS = {
    "none": (0.0, BOX, ""),
    "a whole turn": (360.0, BOX, ""),
    "a quarter": (90.0, (24, 16, 32, 32), "turned by 90 degrees"),
    "half": (180, BOX, "turned by 180 degrees"),
    "an eighth": (
        45.0,
        (28 - DIAGONAL, 24 - DIAGONAL, 28 + DIAGONAL, 24 + DIAGONAL),
        "turned by 45 degrees",
    ),
    "the other way": (
        -45.0,
        (28 - DIAGONAL, 24 - DIAGONAL, 28 + DIAGONAL, 24 + DIAGONAL),
        "turned by 315 degrees",
    ),
    "text": ("90", (24, 16, 32, 32), "turned by 90 degrees"),
    "no number": ("left", BOX, "the rotation 'left', which is no number"),
    "no finite number": ("nan", BOX, "no number"),
}


def read_voc(root, rotation):
    xmin, ymin, xmax, ymax = BOX
    attributes = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("colour", "red"), ("rotation", rotation))
    )
    written = samples.voc_object(box=(xmin + 1, ymin + 1, xmax, ymax))
    samples.voc_image(
        root,
        "a",
        written.replace("</object>", f"<attributes>{attributes}</attributes></object>")
        + samples.voc_object("dog", (1, 1, 9, 9)),
    )
    return data.load_source(f"voc:{root}")


def read_coco(root, rotation, **changes):
    xmin, ymin, xmax, ymax = BOX
    one = {
        "id": 1,
        "image_id": 0,
        "category_id": 7,
        "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
        "segmentation": [],
        "attributes": {"occluded": False, "rotation": rotation},
    }
    other = {"id": 2, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9]}
    samples.coco(root)
    path = root / "instances.json"
    content = json.loads(path.read_text()) | {"annotations": [one | changes, other]}
    path.write_text(json.dumps(content))
    return data.load_source(f"coco:{root}")


@pytest.mark.parametrize("read", [read_voc, read_coco])
@pytest.mark.parametrize("name", TURNS)
def test_the_upright_box_around_a_turned_one_is_read(tmp_path, read, name):
    rotation, (xmin, ymin, xmax, ymax), said = TURNS[name]
    source = read(tmp_path, rotation)
    boxes = source.ground_truth()[0].boxes * [48, 64, 48, 64]
    np.testing.assert_allclose(boxes[0], (ymin, xmin, ymax, xmax), atol=1e-4)
    found = [p for p in source.problems if p.kind == turned.KIND]
    assert [(p.action, p.image, said in p.message) for p in found] == (
        [("noted", "a.jpg" if read is read_voc else "0.jpg", True)] if said else []
    )
    assert verdict.judge(source).lost == {}


def test_an_outline_has_been_turned_already(tmp_path):
    outline = [[20, 20, 36, 20, 36, 28]]
    source = read_coco(tmp_path, 45.0, segmentation=outline)
    boxes = source.ground_truth()[0].boxes * [48, 64, 48, 64]
    np.testing.assert_allclose(boxes, [[20, 20, 28, 36]], atol=1e-4)
    assert not source.problems


def test_the_index_of_a_large_file_keeps_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_content, "_KEPT_FROM", 0)
    monkeypatch.setattr(coco_content.index_file, "_SETTLED_SECONDS", -9)
    spec = read_coco(tmp_path, 90.0).spec
    source = data.load_source(spec)
    boxes = source.ground_truth()[0].boxes * [48, 64, 48, 64]
    np.testing.assert_allclose(boxes, [[16, 24, 32, 32]], atol=1e-4)
    assert [p.kind for p in source.problems] == [turned.KIND]


@pytest.mark.parametrize(
    ("cell", "said"),
    [("", ""), ("0.0", ""), ("-360", ""), ("45", "is turned by 45 degrees"), ("left", "no number")],
)
def test_a_csv_does_not_say_about_which_point(tmp_path, cell, said):
    samples.picture(tmp_path / "a.jpg")
    lines = ["image,x,y,w,h,class,rotation", f"a.jpg,20,20,16,8,cat,{cell}"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    source = data.load_source(f"csv:{tmp_path}/boxes.csv")
    np.testing.assert_allclose(
        source.ground_truth()[0].boxes * [48, 64, 48, 64], [[20, 20, 28, 36]], atol=1e-4
    )
    found = [(p.kind, p.action, p.image, said in p.message) for p in source.problems]
    assert found == [(turned.KIND, "noted", "a.jpg", True)] * bool(said)
