"""COCO: ids that mean the same, and files that are damaged."""

import json
import os

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import coco_table, inspection
from ssd_keras.errors import UserError
from tests.data import samples, trees

CAT = ["cat"]
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
OBJECT = {"id": 1, "image_id": 1, "category_id": 1, "bbox": trees.BBOX}
CLASS = {"id": 1, "name": "cat"}


def written(root, images=(IMAGE,), annotations=(OBJECT,), categories=(CLASS,)) -> str:
    content = {
        "images": list(images),
        "annotations": list(annotations),
        "categories": list(categories),
    }
    return as_text(root, json.dumps(content))


def as_text(root, text) -> str:
    trees.write(root, "images/a.jpg", "images/b.jpg")
    data = text if isinstance(text, bytes) else text.encode()
    (root / "instances.json").write_bytes(data)
    return f"coco:{root}"


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), ("1", 1), (1.0, 1), (1, 1.0), ("1.0", 1), ("000001", 1), ("abc", "abc"), (0, "0")],
)
def test_ids_that_mean_the_same_are_the_same(tmp_path, one, other):
    spec = written(
        tmp_path,
        [IMAGE | {"id": one}],
        [OBJECT | {"image_id": other, "category_id": one}],
        [CLASS | {"id": other}],
    )
    source = data.load_source(spec)
    called = one if isinstance(one, str) else str(int(one))
    assert trees.objects(source) == {called: CAT}
    assert not source.problems


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, True), ("a", "b"), (1, 1.5), (1, None)])
def test_ids_that_differ_stay_apart(tmp_path, one, other):
    spec = written(tmp_path, [IMAGE | {"id": one}], [OBJECT | {"image_id": other}])
    (lost, *_) = data.load_source(spec).problems
    assert (lost.kind, lost.lost) == ("unknown_image", ("cat",))


def test_large_numbers_are_not_rounded_to_the_same_id(tmp_path):
    ids = [1 << 60, (1 << 60) + 1]
    images = [IMAGE | {"id": ids[0]}, IMAGE | {"id": ids[1], "file_name": "b.jpg"}]
    objects = [OBJECT | {"image_id": ids[1]}]
    source = data.load_source(written(tmp_path, images, objects))
    assert trees.objects(source) == {str(ids[0]): [], str(ids[1]): CAT}


@pytest.mark.parametrize("ids", [(0, 0, 0), (1, 2, 1), (None, None, None), ("", "", "")])
def test_ids_of_annotations_mean_nothing(tmp_path, ids):
    boxes = [[4, 5, 26, 35], [4, 5, 26, 34], [4, 5, 26, 33]]
    objects = [OBJECT | {"id": i, "bbox": b} for i, b in zip(ids, boxes, strict=True)]
    source = data.load_source(written(tmp_path, annotations=objects))
    assert len(source.ground_truth()[0]) == 3
    noted = [p for p in source.problems if p.kind == "duplicate_id"]
    assert len(noted) == (ids[0] is not None)
    assert all(p.action == "noted" and not p.lost for p in noted)


@pytest.mark.parametrize(
    ("bbox", "kind"),
    [
        (["4", "5", "26", "35"], None),
        ("4,5,26,35", "broken_box"),
        ([True, 5, 26, 35], "broken_box"),
        ([4, 5, 26], "broken_box"),
        ([4, 5, 26, 35, 1], "broken_box"),
        ([[4, 5, 26, 35]], "broken_box"),
        ({"x": 4}, "broken_box"),
        (None, "broken_box"),
        ([4, 5, -26, 35], "swapped_corners"),
        ([4, 5, 1e308, 1e308], None),
    ],
)
def test_a_box_is_four_numbers(tmp_path, bbox, kind):
    other = OBJECT | {"id": 2, "image_id": 2}
    images = [IMAGE, IMAGE | {"id": 2, "file_name": "b.jpg"}]
    source = data.load_source(written(tmp_path, images, [OBJECT | {"bbox": bbox}, other]))
    lost = [p for p in source.problems if p.lost]
    assert [p.kind for p in lost] == ([kind] if kind else [])
    assert all(p.lost == ("cat",) and p.place.endswith("annotations[0]") for p in lost)
    assert [len(truth) for truth in source.ground_truth()] == [int(kind is None), 1]


def test_crowds_are_told_by_any_yes(tmp_path):
    values = (0, False, "0", None, 1, True, "1", 1.0)
    objects = [
        OBJECT | {"iscrowd": value, "bbox": [4, 5, 26, 10 + n]} for n, value in enumerate(values)
    ]
    (truth,) = data.load_source(written(tmp_path, annotations=objects)).ground_truth()
    assert truth.crowd.tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("value", ["maybe", 2, [], {}, 0.5])
def test_a_mark_that_says_neither_yes_nor_no_is_refused(tmp_path, value):
    objects = [OBJECT | {"iscrowd": value}, OBJECT | {"id": 2, "bbox": [4, 5, 26, 10]}]
    source = data.load_source(written(tmp_path, annotations=objects))
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.lost) == ("broken_mark", "refused", ("cat",))
    assert [len(truth) for truth in source.ground_truth()] == [1]


def test_categories_of_one_name_are_one_class_which_is_noted(tmp_path):
    categories = [{"id": 7, "name": "cat"}, {"id": 1, "name": "cat"}]
    source = data.load_source(written(tmp_path, categories=categories))
    assert source.classes == ("cat",)
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("duplicate_class", "noted")
    assert "the ids 7 and 1 have the same name 'cat'" in problem.message


CORNERS = [[4, 5, 30, 40], [30, 20, 60, 44]]


@pytest.mark.parametrize(
    ("boxes", "refused"),
    [
        (CORNERS, True),
        ([[4, 5, 30, 40], [30, 20, 34, 27]], False),  # the second touches the edge
        ([*CORNERS, [20, 20, 10, 30]], False),  # no second corner: one box is misplaced
        ([*CORNERS, [4, 5, 70, 40]], False),
    ],
)
def test_corners_in_the_place_of_sizes_are_refused(tmp_path, boxes, refused):
    place = written(tmp_path, annotations=[OBJECT | {"bbox": box} for box in boxes])
    if refused:
        with pytest.raises(UserError, match=r"if the last two numbers are the second corner"):
            data.load_source(place)
        assert len(data.load_source(f"{place},units=pixels").ground_truth()[0]) == 2
    else:
        assert len(data.load_source(place).ground_truth()[0]) >= 1


def test_members_that_are_none_are_named_and_counted(tmp_path):
    strange = [1, None, [], "x", {}]
    spec = written(tmp_path, [*strange, IMAGE], [*strange, OBJECT], [*strange, CLASS])
    source = data.load_source(spec)
    assert trees.objects(source) == {"1": CAT}
    found = {
        (p.kind, p.place.rpartition(" ")[2].partition("[")[0], p.images_lost, p.lost)
        for p in source.problems
    }
    assert found == {
        ("broken_class", "categories", 0, ()),
        ("broken_image_entry", "images", 1, ()),
        ("broken_box", "annotations", 0, ("",)),
        ("unknown_image", "annotations", 0, ("",)),
    }
    assert len(source.problems) == 15


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deep"),
        (trees.coco(["a.jpg"])[:-1] + f', "x": {"[" * 9999}{"]" * 9999}}}', "nested too deep"),
        (trees.coco(["a.jpg"]).replace('"id": 0', f'"id": {"9" * 5000}'), "a number is too long"),
        (trees.coco(["a.jpg"])[:-1] + ', "annotations": []}', "'annotations' stands twice"),
        ("[]", "needs the lists"),
        ("null", "needs the lists"),
        (trees.coco([], annotations={}), "needs the lists"),
        (trees.coco([], images="x"), "needs the lists"),
        (b"\x89PNG\0\0", "holds zero bytes"),
        (trees.coco(["a.jpg"], categories=[{"id": 1, "name": "é"}]).encode("latin-1"), ""),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, text, said):
    spec = as_text(tmp_path, text)
    if not said:  # json.dumps writes é as ASCII
        assert data.load_source(spec).classes == ("é",)
        return
    for form in (spec, f"{spec}/instances.json"):
        with pytest.raises(UserError) as caught:
            data.load_source(form)
        message = str(caught.value)
        assert f"'{tmp_path}/instances.json'" in message
        assert said in message
        assert "\n" not in message


def test_korean_text_is_read_and_noted(tmp_path):
    text = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "고양이"}]}'
    content = json.loads(text) | {"images": [IMAGE], "annotations": [OBJECT]}
    spec = as_text(tmp_path, json.dumps(content, ensure_ascii=False).encode("cp949"))
    source = data.load_source(spec)
    assert source.classes == ("고양이",)
    assert [(p.kind, p.action) for p in source.problems] == [("encoding", "noted")]


def test_repeated_keys_of_one_value_do_no_harm(tmp_path):
    text = trees.coco(["a.jpg"]).replace('"id": 0, "file', '"id": 0, "id": 0, "file')
    assert trees.objects(data.load_source(as_text(tmp_path, text))) == {"0": CAT}


@pytest.mark.parametrize(
    ("make", "said"),
    [(os.mkfifo, "it is a pipe"), (lambda path: path.symlink_to("/dev/zero"), "it is a device")],
    ids=["pipe", "device"],
)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, make, said):
    trees.write(tmp_path, "images/a.jpg")
    make(tmp_path / "instances.json")
    for spec in (f"coco:{tmp_path}", str(tmp_path), f"coco:{tmp_path}/instances.json"):
        with pytest.raises(UserError, match=said):
            data.load_source(spec)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "images/a.jpg"),
        ("images/a.jpg", "images/a.jpg"),
        ("images\\a.jpg", "images/a.jpg"),
        ("a.JPG", "images/a.jpg"),
        ("D:\\data\\img\\a.jpg", "images/a.jpg"),
        ("/content/images/a.jpg", "images/a.jpg"),
        ("upload/3/a.jpg", "images/a.jpg"),
        ("other/c.jpg", "other/c.jpg"),
        ("c.jpg", "other/c.jpg"),
        ("/dev/zero", None),
        ("images", None),
        ("", None),
        ("a\0.jpg", None),
        ("x" * 5000, None),
    ],
)
def test_images_are_found_by_the_names_that_tools_write(tmp_path, name, file):
    trees.write(tmp_path, "other/c.jpg")
    images = [IMAGE | {"file_name": name}, IMAGE | {"id": 2, "file_name": "b.jpg"}]
    source = data.load_source(written(tmp_path, images))
    paths = {truth.image_id: truth.path for truth in source.ground_truth()}
    assert paths.get("1") == (file and f"{tmp_path}/{file}")
    lost = [(p.kind, p.lost, p.images_lost) for p in source.problems if p.images_lost]
    assert lost == ([] if file else [("missing_image", ("cat",), 1)])


def test_an_image_that_is_not_there_is_not_taken_from_another_folder(tmp_path):
    trees.write(tmp_path, "images/cam2/0.jpg", "images/cam1/1.jpg")
    images = [
        IMAGE | {"id": 1, "file_name": "cam1/0.jpg"},
        IMAGE | {"id": 2, "file_name": "cam1/1.jpg"},
    ]
    source = data.load_source(written(tmp_path, images))
    assert trees.objects(source) == {"2": []}
    assert [p.kind for p in source.problems if p.lost] == ["missing_image"]


@pytest.fixture
def believing(monkeypatch):
    """Sets of any size are taken for large ones."""
    monkeypatch.setattr(coco_table, "MOST_OPENED", 0)


SIZES = [(48, 64), (96, 128), (48, 80), (64, 48)]


def stated(root, **changes):
    """Four images of 64x48 that are said to be of `SIZES`, each with an object."""
    names = [f"{n}.jpg" for n in range(4)]
    trees.write(root, *(f"images/{name}" for name in names))
    images = [
        {"id": n, "file_name": name, "height": size[0], "width": size[1]} | changes
        for n, (name, size) in enumerate(zip(names, SIZES, strict=True))
    ]
    (root / "instances.json").write_text(trees.coco(names, images=images))
    return f"coco:{root}"


def test_sizes_of_large_sets_are_believed_until_an_image_is_opened(believing, tmp_path):
    source = data.load_source(stated(tmp_path))
    assert source.believed.all()
    assert not source.standard_jpeg.any()
    assert not source.problems
    assert [(t.height, t.width) for t in source.ground_truth()] == SIZES
    assert source.image(0).shape == source.image(1).shape == (48, 64, 3)
    for index in (2, 3):
        assert source.try_image(index) is None
    assert "the annotation" not in source.unread[2]
    assert "states the size 80x48, but the image is 64x48" in source.unread[2]
    assert sorted(source.unread) == [2, 3]


@pytest.mark.parametrize("decode", [True, False])
def test_opening_all_images_finds_what_was_not_believed_rightly(believing, tmp_path, decode):
    source = data.load_source(stated(tmp_path))
    (tmp_path / "images/0.jpg").write_bytes(b"x")
    done = []
    found = inspection.inspect_images(source, done.append, decode=decode)
    wanted = {("undecodable_image", 1), ("size_scaled", 0), ("size_mismatch", 1)}
    assert {(p.kind, p.images_lost) for p in found if p.kind != "tiny_box"} == wanted
    assert [p.lost for p in found if p.images_lost] == [("cat",)] * 3
    assert done == [1, 2, 3, 4]


def test_images_of_a_stated_size_are_read_in_batches_as_those_that_were_opened(
    monkeypatch, tmp_path
):
    spec = stated(tmp_path, height=48, width=64)
    samples.picture(tmp_path / "images/1.jpg", seed=9, progressive=True)
    samples.picture(tmp_path / "images/2.jpg", seed=9, width=128, height=96)

    def batches():
        source = data.load_source(spec)
        found = data.evaluation_batches(source, image_size=(32, 32), batch_size=4)
        (batch,) = found
        return source, {key: value.numpy() for key, value in batch.items()}

    with monkeypatch.context() as patch:
        opened, one = batches()
        patch.setattr(coco_table, "MOST_OPENED", 0)
        believing, other = batches()
    assert believing.believed.all()
    assert not opened.believed.any()
    assert one["readable"].all()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(
    "changes", [{"height": 0}, {"width": None}, {"height": 48.5}, {"height": "x"}, {"width": 10**9}]
)
def test_what_is_no_size_is_not_believed(believing, tmp_path, changes):
    spec = stated(tmp_path, height=48, width=64)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["images"][0] |= changes
    (tmp_path / "instances.json").write_text(json.dumps(content))
    source = data.load_source(spec)
    assert source.believed.tolist()[-3:] == [True] * 3
    assert not source.believed[:-3].any()
    assert {problem.image for problem in source.problems} == {"0.jpg"}


PROJECT = {"id": 0, "name": "pets", "supercategory": "none"}
ROBOFLOW = [
    PROJECT,
    {"id": 1, "name": "cat", "supercategory": "pets"},
    {"id": 2, "name": "dog", "supercategory": "pets"},
]


def test_the_name_of_a_project_of_roboflow_is_no_class(tmp_path):
    source = data.load_source(written(tmp_path, categories=ROBOFLOW))
    assert (source.classes, source.category_ids) == (("cat", "dog"), {1: 0, 2: 1})
    assert trees.objects(source) == {"1": CAT}
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("placeholder_class", "noted")
    assert "'pets' (id 0)" in problem.message


@pytest.mark.parametrize(
    ("classes", "kinds"), [(("cat", "dog"), ["placeholder_class"]), (("pets", "cat", "dog"), [])]
)
def test_classes_that_are_given_stay(tmp_path, classes, kinds):
    source = data.load_source(written(tmp_path, categories=ROBOFLOW), classes)
    assert source.classes == classes
    assert trees.objects(source) == {"1": CAT}
    assert [problem.kind for problem in source.problems] == kinds


@pytest.mark.parametrize(
    ("annotations", "categories"),
    [
        ([OBJECT, OBJECT | {"id": 2, "category_id": 0, "bbox": [4, 5, 9, 9]}], ROBOFLOW),
        ([OBJECT, OBJECT | {"id": 2, "category_id": "0", "bbox": [4, 5, 9, 9]}], ROBOFLOW),
        ([OBJECT], [PROJECT | {"id": 9}, *ROBOFLOW[1:]]),
        ([OBJECT], [*ROBOFLOW, {"id": 3, "name": "cow", "supercategory": "none"}]),
        ([OBJECT], [*ROBOFLOW, {"id": 3, "name": "cow"}]),
        ([OBJECT | {"category_id": 0}], [PROJECT]),
    ],
    ids=("annotated", "annotated by text", "a higher id", "another above", "none above", "alone"),
)
def test_other_categories_stay_classes(tmp_path, annotations, categories):
    source = data.load_source(written(tmp_path, annotations=annotations, categories=categories))
    assert "pets" in source.classes
    assert "placeholder_class" not in [problem.kind for problem in source.problems]
