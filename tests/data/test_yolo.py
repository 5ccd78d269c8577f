"""YOLO: boxes told from polygons and keypoints, label files and images that belong together."""

import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from ssd_keras import data
from ssd_keras.errors import UserError
from ssd_keras.evaluation import results
from tests.data import trees

LINE = trees.LINE
CAT = ["cat"]
BOX = LINE.split(maxsplit=1)[1].strip()
YAML = "train: images\nnames: [cat, dog]\n"
# The corners of the box of `LINE`, and of shapes within it.
MASK = "0.0625 0.1041667 0.46875 0.1041667 0.46875 0.8333333 0.0625 0.8333333"
TRIANGLE = "0.0625 0.1041667 0.46875 0.5 0.2 0.8333333"
# 17 keypoints, some of which are not seen.
POSE = " ".join(["0.2 0.3 2", "0 0 0"] * 8 + ["0.3 0.5 1"])


def written(root, *labels: str, yaml=YAML) -> str:
    """Images a.jpg, b.jpg, ... with these label files."""
    for letter, content in zip("abcdefgh", labels, strict=False):
        trees.write(root, f"images/{letter}.jpg")
        path = root / f"labels/{letter}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (root / "data.yaml").write_text(yaml)
    return f"yolo:{root}"


def shape(*numbers: str) -> str:
    return " ".join(("0", *numbers)) + "\n"


@pytest.mark.parametrize(
    ("line", "yaml", "noted"),
    [
        (LINE, "", []),
        (LINE.replace(" ", "\t").replace("\n", "\r\n"), "", []),
        (LINE.replace("0 ", "0.0 ", 1), "", []),
        (LINE.encode("utf-16"), "", ["encoding"]),
        (shape(BOX, POSE), "kpt_shape: [17, 3]", []),
        (shape(BOX, "0.2 0.3 0.4 0.5"), "kpt_shape: [2, 2]", []),
        (shape(BOX, "0.1 0.1 0.9 0.9"), "kpt_shape: [2, 2]\ntask: pose", []),
        (shape(BOX, MASK), "", ["box_and_mask"]),
        (shape(BOX, TRIANGLE), "", ["box_and_mask"]),
        (shape(BOX, MASK), "task: segment", ["box_and_mask"]),
        (shape(MASK), "", ["four_corners"]),
        (shape(TRIANGLE), "", []),
        (shape(TRIANGLE) + "1" + shape(MASK)[1:], "", []),
        (shape(TRIANGLE) + "1" + LINE[1:], "", []),
        (shape(MASK), "task: obb", ["four_corners"]),
    ],
)
def test_the_box_of_a_line_is_its_own(tmp_path, line, yaml, noted):
    source = data.load_source(written(tmp_path, line, yaml=YAML + yaml))
    labels = ["cat", "dog"][: len(source.ground_truth()[0])]
    assert trees.objects(source) == {"a": labels}
    assert [p.kind for p in source.problems] == noted
    assert all(p.action == "noted" for p in source.problems)


@pytest.mark.parametrize(
    ("line", "yaml", "said"),
    [
        (shape(BOX, POSE), "", "has 55 numbers"),
        (shape(BOX, " ".join(["0.2 0.3 2"] * 16)), "", "48 numbers that may be keypoints"),
        (shape(BOX, "0.2 0.3 0.3 0.5 0.4 0.4 0.3 0.6"), "", "8 numbers that may be keypoints"),
        (shape(BOX, "0.2 0.3 0.3 0.5"), "", "4 numbers that may be keypoints"),
        (shape(BOX, "0.2 0.3"), "", "2 numbers that may be keypoints"),
        (shape(BOX, POSE), "kpt_shape: [16, 3]", "not 4 or the 52 of a box and 16 keypoints"),
        (shape(BOX, MASK), "kpt_shape: [17, 3]", "not 4 or the 55"),
        (shape(BOX, "0.9"), "", "a confidence behind it must go"),
        (shape("0.5 0.5 0.2"), "", "expected 'class cx cy w h'"),
        (LINE.replace(" ", ","), "", "expected 'class cx cy w h'"),
        (LINE.replace(".", ","), "", "expected 'class cx cy w h'"),
        ("1.5" + LINE[1:], "", "expected 'class cx cy w h'"),
        ("-1" + LINE[1:], "", "expected 'class cx cy w h'"),
        ("1e300" + LINE[1:], "", "expected 'class cx cy w h'"),
        ("9" * 5000 + LINE[1:], "", "expected 'class cx cy w h'"),
        ("cat" + LINE[1:], "", "expected 'class cx cy w h'"),
        ("0 1_0 0.5 0.2 0.2", "", "expected 'class cx cy w h'"),
    ],
)
def test_a_line_that_may_mean_two_things_is_refused(tmp_path, line, yaml, said):
    source = data.load_source(written(tmp_path, line, LINE, yaml=YAML + yaml))
    assert trees.objects(source) == {"a": [], "b": ["cat"]}
    (problem, emptied) = source.problems
    assert (problem.kind, problem.action) == ("broken_line", "refused")
    assert problem.place == f"{tmp_path}/labels/a.txt:1"
    assert len(problem.lost) == 1
    assert said in problem.message
    assert emptied.kind == "no_objects_left"


def test_points_of_one_number_outside_of_the_boxes_are_asked_for(tmp_path):
    points = "0.9 0.9 0.1 0.95 0.8 0.02 0.5 0.9"
    lines = [shape(BOX, points), shape(BOX, points.replace("0.9 ", "0.7 "))]
    place = written(tmp_path, *lines, yaml=YAML)
    problems = [p for p in data.load_source(place).problems if p.lost]
    assert [p.kind for p in problems] == ["broken_line"] * 2
    assert "write 'kpt_shape" in problems[0].message
    yaml = tmp_path / "data.yaml"
    yaml.write_text(yaml.read_text() + "\ntask: segment\n")
    assert not [p for p in data.load_source(place).problems if p.lost]


@pytest.mark.parametrize(
    ("boxes", "refused"),
    [
        ([(0.1, 0.1), (0.2, 0.5), (0.5, 0.2), (0.6, 0.6), (0.4, 0.4)], True),
        ([(0.1, 0.1), (0.2, 0.5), (0.5, 0.2), (0.6, 0.6)], False),  # too few to tell
        ([(0.65, 0.65), (0.2, 0.5)], True),  # one of few is far out
    ],
)
def test_corners_in_the_place_of_centres_are_refused(tmp_path, boxes, refused):
    lines = "".join(f"0 {x} {y} {x + 0.35 - 0.05 * (x < 0.65)} {y + 0.3}\n" for x, y in boxes)
    place = written(tmp_path, lines)
    if refused:
        with pytest.raises(UserError, match=r"read as centre and size.*second corner"):
            data.load_source(place)
        assert data.load_source(f"{place},units=shares").ground_truth()
    else:
        assert data.load_source(place).ground_truth()


@pytest.mark.parametrize(("numbers", "refused"), [((1, 2), True), ((0, 2), False), ((1,), False)])
def test_numbers_that_begin_at_1_are_refused(tmp_path, numbers, refused):
    place = written(tmp_path, *(f"{n}{LINE[1:]}" for n in numbers), yaml=YAML)
    if refused:
        with pytest.raises(UserError, match=r"1 to 2, the names are those of 0 to 1.*from 0"):
            data.load_source(place)
    else:
        assert data.load_source(place).ground_truth()


def test_polygons_of_many_forms_are_no_poses(tmp_path):
    """Boxes around polygons, one of which could be a box and keypoints by itself."""
    unclear = "0.5 0.5 0.9 0.9 0.4 0.4 0.6 0.6"
    spec = written(
        tmp_path, f"0 {unclear}\n0 {TRIANGLE}\n", "1 0.1 0.1 0.4 0.1 0.4 0.5 0.2 0.6 0.1 0.5\n"
    )
    first, second = data.load_source(spec).ground_truth()
    np.testing.assert_allclose(first.boxes, [[0.4, 0.4, 0.9, 0.9], trees.BOX], atol=1e-6)
    np.testing.assert_allclose(second.boxes, [[0.1, 0.1, 0.6, 0.4]], atol=1e-6)


def test_lines_with_the_name_of_the_image_are_pixels(tmp_path):
    trees.write(tmp_path, "a.jpg", "a.txt", a_txt="a.jpg 4 5 26 35 cat\na.jpg 4 five 2 3 cat\n")
    source = data.load_source(f"yolo:{tmp_path}")
    assert trees.objects(source) == {"a": ["cat"]}
    assert [(p.kind, p.lost) for p in source.problems] == [("broken_line", ("cat",))]


def test_pixels_are_read_if_they_are_said_to_be(tmp_path):
    spec = written(tmp_path, "0 17 22.5 26 35\n")
    with pytest.raises(UserError, match=",units=pixels"):
        data.load_source(spec)
    assert trees.objects(data.load_source(f"{spec},units=pixels")) == {"a": ["cat"]}


NFC, NFD = (unicodedata.normalize(form, "고양이") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("image", "label", "usual"),
    [
        ("images/a.jpg", "labels/a.txt", True),
        ("images/train/a.jpg", "labels/train/a.txt", True),
        ("images/a.jpg", "images/a.txt", True),
        ("train/images/a.jpg", "train/labels/a.txt", True),
        ("JPEGImages/a.jpg", "labels/a.txt", True),
        ("a.jpg", "a.txt", True),
        ("images/train/a.jpg", "labels/train/a.jpg.txt", False),
        ("images/train/a.jpg", "labels/a.txt", False),
        ("images/train/a.jpg", "annotations/train/a.txt", False),
        ("images/train/a.jpg", "Labels/training/a.txt", False),
        ("images/train/a.jpg", "label/train/a.txt", False),
        ("images/train/a.jpg", "images/train/labels/a.txt", False),
        ("images/train/a.jpg", "txt/a.txt", False),
        ("a.jpg", "labels/a.txt", False),
        ("images/a.JPG", "labels/A.TXT", False),
        (f"images/{NFC}.jpg", f"labels/{NFD}.txt", False),
    ],
)
def test_label_files_are_found_in_the_usual_other_places(tmp_path, image, label, usual):
    trees.write(tmp_path, image, label, "classes.txt", classes_txt="cat\n")
    source = data.load_source(f"yolo:{tmp_path}")
    (found,) = trees.objects(source).values()
    assert found == ["cat"]
    assert [(p.kind, p.action) for p in source.problems] == (
        [] if usual else [("label_place", "noted")]
    )


@pytest.mark.parametrize(
    ("files", "split"),
    [
        (["images/val/a.jpg", "images/train/a.jpg", "labels/train/a.txt"], "#val"),
        (["images/val/a.jpg", "labels/train/a.txt"], "#val"),
        (["images/cam1/a.jpg", "images/cam2/a.jpg", "labels/cam2/a.txt"], ""),
        (["images/train.jpg", "train.txt"], ""),
        (["images/readme.jpg", "README.txt", "classes.txt"], ""),
    ],
)
def test_the_label_file_of_another_image_is_not_taken(tmp_path, files, split):
    trees.write(tmp_path, *files, "images/val/z.jpg", "images/z.jpg", "labels/z.txt")
    (tmp_path / "data.yaml").write_text("val: images/val\ntrain: images\nnames: [cat]\n")
    source = data.load_source(f"yolo:{tmp_path}{split}")
    (empty,) = [one for one in source.ground_truth() if one.path == f"{tmp_path}/{files[0]}"]
    assert len(empty) == 0
    missing = [p for p in source.problems if p.kind == "missing_annotation"]
    assert f"{tmp_path}/{files[0]}" in [p.place for p in missing]


def test_label_files_without_image_are_counted(tmp_path):
    spec = written(tmp_path, LINE)
    (tmp_path / "labels/gone.txt").write_text(LINE + "1" + LINE[1:])
    (tmp_path / "labels/notes.txt").write_text(LINE)
    (tmp_path / "labels/words.txt").write_text("no label file")
    source = data.load_source(spec)
    assert trees.objects(source) == {"a": ["cat"]}
    assert [(p.kind, p.place, p.lost, p.images_lost) for p in source.problems] == [
        ("missing_image", f"{tmp_path}/labels/gone.txt", ("cat", "dog"), 1)
    ]


def test_two_images_with_one_label_file_are_refused(tmp_path):
    spec = written(tmp_path, LINE, LINE)
    trees.write(tmp_path, "images/a.png")
    source = data.load_source(spec)
    assert trees.objects(source) == {"b": ["cat"]}
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("shared_labels", "refused")
    assert (len(problem.lost), problem.images_lost) == (1, 2)
    assert "'a.jpg' and 'a.png'" in problem.message


def test_a_damaged_label_file_costs_its_image(tmp_path):
    spec = written(tmp_path, b"\x89PNG\0\0", LINE)
    os.mkfifo(tmp_path / "labels/c.txt")
    trees.write(tmp_path, "images/c.jpg")
    source = data.load_source(spec)
    assert trees.objects(source) == {"b": ["cat"]}
    assert [(p.kind, p.place, p.action, p.images_lost) for p in source.problems] == [
        ("broken_annotation", f"{tmp_path}/labels/{name}.txt", "refused", 1) for name in "ac"
    ]


def test_only_files_of_the_folder_are_images(tmp_path):
    spec = written(tmp_path, LINE)
    os.mkfifo(tmp_path / "images/pipe.jpg")
    (tmp_path / "images/zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "images/loop").symlink_to(tmp_path / "images")
    (tmp_path / "images/root").symlink_to("/")
    source = data.load_source(spec)
    assert trees.objects(source) == {"a": ["cat"]}
    assert sorted((p.kind, os.path.basename(p.place)) for p in source.problems) == [
        ("linked_folder", "loop"),
        ("linked_folder", "root"),
        ("no_file", "pipe.jpg"),
        ("no_file", "zero.jpg"),
    ]


@pytest.mark.parametrize(
    ("text", "ids", "kinds"),
    [
        ("images/a.jpg\n./images/b.jpg\n", ["a", "b"], []),
        ("images\\a.jpg\r\n", ["a"], []),
        ("C:\\me\\images\\a.jpg\n/content/b.jpg\n", ["a", "b"], ["image_name", "image_name"]),
        ("images/gone.jpg\nimages/a.jpg\n", ["a"], ["missing_image"]),
        ("images/a.jpg\nimages/a.jpg\n", ["a"], []),
        ("/dev/zero\nimages/a.jpg\n", ["a"], ["missing_image"]),
        ("images/a.jpg\n".encode("utf-16"), ["a"], ["encoding"]),
    ],
)
def test_images_may_be_listed(tmp_path, text, ids, kinds):
    spec = written(tmp_path, LINE, LINE, yaml="train: train.txt\nnames: [cat]\n")
    (tmp_path / "train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    source = data.load_source(spec)
    assert trees.objects(source) == dict.fromkeys(ids, CAT)
    assert [p.kind for p in source.problems] == kinds


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("cat \r\n dog\r\n\r\n\r\n", ("cat", "dog")),
        ("고양이\n강아지\n".encode("cp949"), ("고양이", "강아지")),
        ("cat\n\ndog\n", "has no class in line 2"),
        ("\ncat\n", "has no class in line 1"),
        ("狗\n汽车\n".encode("gbk"), "GB18030"),
    ],
)
def test_class_files_name_each_number(tmp_path, content, classes):
    trees.write(tmp_path, "images/a.jpg", "labels/a.txt")
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "classes.txt").write_bytes(content)
    if isinstance(classes, tuple):
        assert data.load_source(f"yolo:{tmp_path}").classes == classes
        return
    with pytest.raises(UserError) as caught:
        data.load_source(f"yolo:{tmp_path}")
    assert classes in str(caught.value)


def test_class_files_that_differ_are_refused(tmp_path):
    for split, name in (("train", "cat"), ("val", "dog")):
        trees.write(tmp_path, f"images/{split}/{split}.jpg", f"labels/{split}/{split}.txt")
        (tmp_path / f"labels/{split}/classes.txt").write_text(f"{name}\n")
    with pytest.raises(UserError, match="name different classes"):
        data.load_source(f"yolo:{tmp_path}")
    assert data.load_source(f"yolo:{tmp_path}#val").classes == ("dog",)


def test_images_of_one_name_are_told_apart_in_results(tmp_path):
    trees.write(tmp_path, "images/cam1/0.jpg", "images/cam2/0.jpg", "images/cam2/1.jpg")
    trees.write(tmp_path, "labels/cam1/0.txt", "labels/cam2/0.txt", "labels/cam2/1.txt")
    source = data.load_source(f"yolo:{tmp_path}")
    assert list(trees.objects(source)) == ["cam1/0", "cam2/0", "1"]
    written = [
        {"image_id": name, "category_id": 1, "bbox": trees.BBOX, "score": score}
        for name, score in (("cam2/0", 0.5), ("cam1/0", 0.25))
    ]
    (tmp_path / "detections.json").write_text(json.dumps(written))
    found = results.read_results(tmp_path / "detections.json", source.ground_truth(), ["0"])
    assert [list(one.scores) for one in found] == [[0.25], [0.5], []]
    again = results.to_results(source.ground_truth(), found)
    assert [one["image_id"] for one in again] == ["cam1/0", "cam2/0"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("train = train.txt\nnames = obj.names\n", None),
        ("train=data/train.txt\nnames=data/obj.names\n", None),
        ("names = obj.names\n", "names no images"),
        ("train = gone.txt\nnames = obj.names\n", "'train: gone.txt' in .* does not exist"),
        ("train = train.txt\nnames = gone.names\n", "'names = gone.names' in .* does not exist"),
    ],
)
def test_darknet_data_names_lists_and_classes(tmp_path, content, said):
    files = ["in/a.jpg", "in/a.txt", "train.txt", "obj.names", "obj.data"]
    trees.write(tmp_path, *files, train_txt="in/a.jpg\n", obj_names="cat\n", obj_data=content)
    for spec in (f"yolo:{tmp_path}", f"yolo:{tmp_path}/obj.data", f"{tmp_path}/obj.data"):
        if said is None:
            assert trees.objects(data.load_source(spec)) == {"a": ["cat"]}
            continue
        with pytest.raises(UserError, match=said):
            data.load_source(spec)


@pytest.mark.parametrize(
    ("trained_on", "numbers", "wanted"),
    [
        ((1, 2, 3), (1, 2), ["1", "2"]),
        ((0, 2), (1, 2), ["2"]),
        ((1, 2), (1, 2), ["1", "2"]),
        ((0, 2), (2,), ["2"]),
        ((1,), (1,), ["1"]),
    ],
)
def test_numbers_without_names_are_the_classes_of_the_same_numbers(
    tmp_path, trained_on, numbers, wanted
):
    roots = [tmp_path / "train", tmp_path / "val"]
    for root, labels in zip(roots, (trained_on, numbers), strict=True):
        root.mkdir()
        written(root, "".join(f"{n} {BOX}\n" for n in labels), yaml="train: images\n")
        (root / "data.yaml").unlink()
    train = data.load_source(f"yolo:{roots[0]}")
    assert list(train.classes) == [str(n) for n in trained_on]
    val = data.load_source(f"yolo:{roots[1]}", classes=train.classes)
    assert trees.objects(val) == {"a": wanted}
    new = set(numbers) - set(trained_on)
    assert [problem.kind for problem in val.problems] == ["unknown_class"] * len(new)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


def test_a_photograph_that_is_not_read_says_what_it_is(tmp_path):
    trees.write(tmp_path, "images/a.jpg", "labels/a.txt", "labels/b.txt")
    for name in ("b.HEIC", "c.heic"):
        (tmp_path / "images" / name).write_bytes(HEIC)
    source = data.load_source(f"yolo:{tmp_path}")
    assert trees.objects(source) == {"a": ["0"]}
    found = [p for p in source.problems if p.kind == "broken_image"]
    assert [(os.path.basename(p.place), p.action, p.lost, p.images_lost) for p in found] == [
        ("b.HEIC", "left out", ("0",), 1),
        ("c.heic", "left out", (), 1),
    ]
    assert all("it is a HEIC file: save it as JPEG" in p.message for p in found)


def test_a_photograph_that_is_not_read_gives_way_to_one_that_is(tmp_path):
    trees.write(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "images/a.heic").write_bytes(HEIC)
    source = data.load_source(f"yolo:{tmp_path}")
    assert trees.objects(source) == {"a": ["0"]}
    assert [p.kind for p in source.problems] == ["class_numbers"]


@pytest.mark.parametrize("extension", [".jfif", ".jpe", ".JFIF", ".ppm"])
def test_rare_extensions_of_images_are_read(tmp_path, extension):
    trees.write(tmp_path, "a.jpg", "labels/a.txt")
    (tmp_path / "images").mkdir()
    Image.open(tmp_path / "a.jpg").save(
        tmp_path / f"images/a{extension}", "PPM" if extension == ".ppm" else "JPEG"
    )
    (tmp_path / "a.jpg").unlink()
    assert trees.objects(data.load_source(f"yolo:{tmp_path}")) == {"a": ["0"]}
