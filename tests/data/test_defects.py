"""Defects are reported with their place, and training goes on with what is good."""

import numpy as np
import pytest
from PIL import Image

from ssd_keras import data
from ssd_keras.data import checks, inspection
from tests.data import samples
from tests.data.samples import voc_image, voc_object


def _exif(root, stem):
    exif = Image.Exif()
    exif[0x0112] = 6
    return voc_image(root, stem, voc_object(), size=(64, 48), exif=exif)


def _image_bytes(root, stem, change):
    place = voc_image(root, stem, voc_object())
    path = root / "JPEGImages" / f"{stem}.jpg"
    path.write_bytes(change(path.read_bytes()))
    return place


def _without_image(root, stem):
    place = voc_image(root, stem, voc_object())
    (root / "JPEGImages" / f"{stem}.jpg").unlink()
    return place


def _pixels(root, stem, mode, extension=".jpg"):
    return voc_image(root, stem, voc_object(), mode=mode, extension=extension)


def _tag(name, text):
    """A VOC object of which one field is replaced."""
    import re

    return re.sub(f"<{name}>.*?</{name}>", text, voc_object())


NAN = _tag("xmin", "<xmin>nan</xmin>")
NO_BOX = "<object><name>cat</name></object>"

# Name: (how it is made in a VOC folder, kind, part of the place, action)
VOC_DEFECTS = {
    "image missing": (_without_image, "missing_image", ".xml", "left out"),
    "image empty": (
        lambda r, s: _image_bytes(r, s, lambda b: b""),
        "broken_image",
        ".jpg",
        "left out",
    ),
    "image is HTML": (
        lambda r, s: _image_bytes(r, s, lambda b: b"<html>"),
        "broken_image",
        ".jpg",
        "left out",
    ),
    "image truncated": (
        lambda r, s: _image_bytes(r, s, lambda b: b[: len(b) * 2 // 3]),
        "undecodable_image",
        ".jpg",
        "left out",
    ),
    "image without tables": (
        lambda r, s: _image_bytes(r, s, lambda b: b.replace(b"\xff\xdb", b"\xff\xfe")),
        "undecodable_image",
        ".jpg",
        "left out",
    ),
    "float pixels": (
        lambda r, s: _pixels(r, s, "F", ".tiff"),
        "undecodable_image",
        ".tiff",
        "left out",
    ),
    "greyscale": (lambda r, s: _pixels(r, s, "L"), "pixel_form", ".jpg", "noted"),
    "CMYK": (lambda r, s: _pixels(r, s, "CMYK"), "pixel_form", ".jpg", "noted"),
    "alpha": (lambda r, s: _pixels(r, s, "RGBA", ".png"), "pixel_form", ".png", "noted"),
    "16-bit": (lambda r, s: _pixels(r, s, "I;16", ".png"), "pixel_form", ".png", "noted"),
    "turned by EXIF": (_exif, "size_mismatch", ".xml", "refused"),
    "size differs": (
        lambda r, s: voc_image(r, s, voc_object(), size=(80, 48)),
        "size_mismatch",
        ".xml",
        "refused",
    ),
    "size scaled": (
        lambda r, s: voc_image(r, s, voc_object(box=(10, 12, 60, 80)), size=(128, 96)),
        "size_scaled",
        ".xml",
        "noted",
    ),
    "size 0x0": (
        lambda r, s: voc_image(r, s, voc_object(), size=(0, 0)),
        "size_missing",
        ".xml",
        "noted",
    ),
    "XML cut off": (
        lambda r, s: voc_image(r, s, annotation="<annotation><object>"),
        "broken_annotation",
        ".xml",
        "refused",
    ),
    "XML empty": (
        lambda r, s: voc_image(r, s, annotation=""),
        "broken_annotation",
        ".xml",
        "refused",
    ),
    "XML of another kind": (
        lambda r, s: voc_image(r, s, annotation="<html></html>"),
        "broken_annotation",
        ".xml",
        "refused",
    ),
    "no objects": (lambda r, s: voc_image(r, s, ""), "no_objects", ".xml", "noted"),
    "no bndbox": (lambda r, s: voc_image(r, s, NO_BOX), "no_box", "object 0", "left out"),
    "corner missing": (
        lambda r, s: voc_image(r, s, _tag("ymax", "")),
        "broken_box",
        "object 0",
        "left out",
    ),
    "corner is a word": (
        lambda r, s: voc_image(r, s, _tag("xmax", "<xmax>wide</xmax>")),
        "broken_box",
        "object 0",
        "left out",
    ),
    "corner NaN": (lambda r, s: voc_image(r, s, NAN), "not_finite", "object 0", "left out"),
    "corner infinite": (
        lambda r, s: voc_image(r, s, voc_object(box=(5, 5, "inf", 9))),
        "not_finite",
        "object 0",
        "left out",
    ),
    "zero width": (
        lambda r, s: voc_image(r, s, voc_object() + voc_object(box=(9, 9, 9, 20))),
        "zero_area",
        "object 1",
        "left out",
    ),
    "zero area": (
        lambda r, s: voc_image(r, s, voc_object(box=(9, 9, 9, 9))),
        "zero_area",
        "object 0",
        "left out",
    ),
    "corners swapped": (
        lambda r, s: voc_image(r, s, voc_object(box=(40, 9, 9, 30))),
        "swapped_corners",
        "object 0",
        "left out",
    ),
    "beyond the edge": (
        lambda r, s: voc_image(r, s, voc_object(box=(30, 9, 90, 30))),
        "beyond_edge",
        "object 0",
        "clipped",
    ),
    "before the edge": (
        lambda r, s: voc_image(r, s, voc_object(box=(-20, 9, 30, 30))),
        "beyond_edge",
        "object 0",
        "clipped",
    ),
    "wholly outside": (
        lambda r, s: voc_image(r, s, voc_object(box=(100, 9, 130, 30))),
        "outside",
        "object 0",
        "left out",
    ),
    "twice the same": (
        lambda r, s: voc_image(r, s, voc_object() * 2),
        "duplicate_box",
        "object 1",
        "left out",
    ),
    "unknown class": (
        lambda r, s: voc_image(r, s, voc_object("cta")),
        "unknown_class",
        "object 0",
        "left out",
    ),
    "class without name": (
        lambda r, s: voc_image(r, s, voc_object("")),
        "unknown_class",
        "object 0",
        "left out",
    ),
}


def _numbered(name):
    return f"d{list(VOC_DEFECTS).index(name):02d}"


def make(root, names):
    """A VOC folder with two good images and the named defects."""
    for index in range(2):
        voc_image(root, f"good{index}", voc_object(), seed=100 + index)
    for name in names:
        VOC_DEFECTS[name][0](root, _numbered(name))
    return data.load_source(f"voc:{root}", ["cat"])


def test_an_object_without_a_name_does_not_cost_the_others(tmp_path):
    voc_image(tmp_path, "a", voc_object("cat") + voc_object("", box=(9, 9, 30, 30)))
    source = data.load_source(f"voc:{tmp_path}")
    assert source.classes == ("cat",)
    assert [(p.kind, p.place.endswith("a.xml, object 1")) for p in source.problems] == [
        ("unknown_class", True)
    ]
    assert data.left_out(source) == {"unknown_class": 1}


@pytest.mark.parametrize("name", VOC_DEFECTS)
def test_a_defect_is_reported_with_its_place(tmp_path, name):
    _, kind, place, action = VOC_DEFECTS[name]
    source = make(tmp_path, [name])
    problems = source.problems + inspection.inspect_images(source)
    mine = [p for p in problems if _numbered(name) in p.place]
    assert [(p.kind, p.action) for p in mine if p.kind == kind] == [(kind, action)]
    found = next(p for p in mine if p.kind == kind)
    assert str(tmp_path) in found.place
    assert found.place.endswith(place)
    assert len(found.message) > 8


# How many objects of an image are lost, and whether the image is.
LOSSES = {
    "image empty": (1, 1),
    "size differs": (1, 1),
    "zero width": (1, 0),
    "twice the same": (1, 0),
    "unknown class": (1, 0),
    "wholly outside": (1, 0),
    "beyond the edge": (0, 0),
    "no objects": (0, 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_problem_says_which_objects_it_loses(tmp_path, name):
    source = make(tmp_path, [name])
    mine = [p for p in source.problems if _numbered(name) in p.place]
    assert (sum(len(p.lost) for p in mine), sum(p.images_lost for p in mine)) == LOSSES[name]
    assert {p.image.partition(".")[0] for p in mine} <= {_numbered(name), ""}
    assert {name for p in mine for name in p.lost} <= {"cat", "cta"}


@pytest.mark.parametrize(
    ("classes", "alike"),
    [
        (("cat", "Cat", "dog"), 1),
        (("traffic light", "traffic_light"), 1),
        (("cat", "cats", "C", "C++", "+"), 0),
        (("cat", "dog"), 0),
    ],
)
def test_classes_that_differ_in_little_but_case_are_noted(classes, alike):
    problems = []
    assert checks.check_classes(classes, "voc:x", problems) == classes
    assert [(p.kind, p.action) for p in problems] == [("classes_alike", "noted")] * alike


def test_good_images_have_no_problem(tmp_path):
    source = make(tmp_path, [])
    assert not source.problems
    assert not inspection.inspect_images(source)


def test_training_on_all_defects_runs_to_the_end(tmp_path):
    source = make(tmp_path, VOC_DEFECTS)
    batches = list(data.training_batches(source, image_size=(64, 64), batch_size=4, steps=20))
    assert len(batches) == 20
    for images, truth in batches:
        labels, boxes = truth["labels"].numpy(), truth["boxes"].numpy()
        assert set(np.unique(labels)) <= {-1, 0}
        assert np.isfinite(boxes).all()
        kept = boxes[labels >= 0]
        assert (kept[:, 2:] > kept[:, :2]).all()
        assert images.shape == (4, 64, 64, 3)
    assert any((truth["labels"].numpy() >= 0).any() for _, truth in batches)


def test_evaluation_on_all_defects_runs_to_the_end(tmp_path):
    source = make(tmp_path, VOC_DEFECTS)
    batches = list(data.evaluation_batches(source, image_size=(64, 64), batch_size=8))
    index = np.concatenate([batch["index"].numpy() for batch in batches])
    assert index[index >= 0].tolist() == list(range(len(source)))


def test_what_is_unreadable_is_said_once(tmp_path, caplog):
    source = make(tmp_path, ["image truncated"])
    with caplog.at_level("WARNING"):
        plain = {"image_size": (32, 32), "batch_size": 3, "augmentation": "none"}
        list(data.training_batches(source, steps=8, **plain))
    assert len([r for r in caplog.records if "d03.jpg" in r.getMessage()]) == 1


def test_split_files_may_name_what_is_missing(tmp_path):
    voc_image(tmp_path, "a", voc_object())
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nghost\na\n\n")
    source = data.load_source(f"voc:{tmp_path}#train")
    assert len(source) == 1
    kinds = {p.kind: p.place for p in source.problems}
    assert kinds["missing_annotation"].endswith("ghost.xml")
    assert kinds["duplicate_image"].endswith("train.txt:3")


COCO_BOX = {"id": 9, "image_id": 0, "category_id": 7, "bbox": [4, 5, 20, 31], "iscrowd": 0}
COCO_DEFECTS = {
    "unknown image": ({"image_id": 99}, "unknown_image"),
    "image that is a list": ({"image_id": [0]}, "unknown_image"),
    "unknown category": ({"category_id": 99}, "unknown_class"),
    "category that is a list": ({"category_id": [7]}, "unknown_class"),
    "no bbox": ({"bbox": None}, "broken_box"),
    "three numbers": ({"bbox": [1, 2, 3]}, "broken_box"),
    "negative width": ({"bbox": [30, 5, -20, 30]}, "swapped_corners"),
    "zero height": ({"bbox": [3, 5, 20, 0]}, "zero_area"),
    "NaN": ({"bbox": [3, float("nan"), 20, 5]}, "not_finite"),
    "outside": ({"bbox": [3, 500, 20, 5]}, "outside"),
    "beyond": ({"bbox": [3, 5, 200, 5]}, "beyond_edge"),
    "id used twice": ({"id": 0}, "duplicate_id"),
    "same box": ({"bbox": [4, 5, 20, 30]}, "duplicate_box"),
}


@pytest.mark.parametrize("name", COCO_DEFECTS)
def test_coco_defects_name_the_annotation(tmp_path, name):
    changes, kind = COCO_DEFECTS[name]
    samples.coco(tmp_path, annotations=[COCO_BOX | changes])
    problems = data.load_source(f"coco:{tmp_path}").problems
    assert [p.kind for p in problems] == [kind]
    assert problems[0].place.endswith("annotations[2]")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ({"id": 0, "file_name": "0.jpg", "width": 64, "height": 48}, "duplicate_image"),
        ({"id": 5, "file_name": "gone.jpg"}, "missing_image"),
        ({"file_name": "0.jpg"}, "broken_image_entry"),
        ({"id": 5, "file_name": "0.jpg", "width": 64, "height": 48}, "duplicate_image"),
    ],
)
def test_coco_image_defects_name_the_entry(tmp_path, image, kind):
    good = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(2)]
    samples.coco(tmp_path, images=[*good, image])
    problems = data.load_source(f"coco:{tmp_path}").problems
    assert kind in [p.kind for p in problems]
    assert "images[2]" in next(p.place for p in problems if p.kind == kind)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5 0.2", "broken_line"),
        ("cat 0.5 0.5 0.2 0.2", "broken_line"),
        ("0 320 240 20 20", "not_normalised"),
        ("4 0.5 0.5 0.2 0.2", "unknown_class"),
        ("0 0.9 0.5 0.4 0.2", "beyond_edge"),
        ("0 0.5 0.5 0 0.2", "zero_area"),
        ("0 0.5 nan 0.1 0.2", "not_finite"),
        ("0 0.5 0.5 0.2 0.3", "duplicate_box"),
    ],
)
def test_yolo_defects_name_the_line(tmp_path, line, kind):
    samples.picture(tmp_path / "images/a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(f"0 0.5 0.5 0.2 0.3\n{line}\n1 0.5 0.5 0.2 0.3\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    problems = data.load_source(f"yolo:{tmp_path}").problems
    assert [p.kind for p in problems] == [kind]
    assert problems[0].place.endswith("a.txt:2")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("gone.jpg,1,2,3,4,cat", "missing_image"),
        (",1,2,3,4,cat", "broken_line"),
        ("a.jpg,1,2,3", "broken_line"),
        ("a.jpg,1,2,x,4,cat", "broken_box"),
        ("a.jpg,1,2,30,40,", "unknown_class"),
        ("a.jpg,9,2,9,40,cat", "zero_area"),
    ],
)
def test_csv_defects_name_the_line(tmp_path, line, kind):
    samples.picture(tmp_path / "a.jpg")
    head = "image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,30,40,cat\n"
    (tmp_path / "boxes.csv").write_text(head + line + "\n")
    problems = data.load_source(f"csv:{tmp_path}/boxes.csv").problems
    assert [p.kind for p in problems] == [kind]
    assert problems[0].place.endswith("boxes.csv:3")


REAL = {
    "box_outside_image": ("beyond_edge", "PJT2905.txt:1"),
    "greyscale": ("pixel_form", "raccoon-150.jpg"),
    "missing_image_xml": ("missing_image", "road0.xml"),
    "no_objects": ("missing_annotation", "000000000250.jpg"),
    "size_0x0_xml": ("size_missing", "apple_1.xml"),
    "size_mismatch": ("size_mismatch", "000102.xml"),
    "zero_area_boxes": ("zero_area", "BloodImage_00338.xml, object 12"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_bad_input_is_reported_with_its_place(shared, name):
    kind, place = REAL[name]
    try:
        source = data.load_source(str(shared(f"data/bad_input/{name}")))
    except data.UnusableError as error:
        problems = error.problems
    else:
        problems = source.problems + inspection.inspect_images(source)
    assert place in [p.place.rsplit("/", 1)[-1] for p in problems if p.kind == kind]
