"""What is left of a data set, and whether that is enough."""

import json

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import GroundTruth, Problem, inspection, verdict
from ssd_keras.errors import UserError
from tests.data import lossy, trees
from tests.data.samples import voc_image, voc_object

CLASSES = ("cat", "dog")


def truth(*counts):
    """An image with so many cats for each count."""
    return [
        GroundTruth(f"image {i}", 48, 64, np.tile([0.1, 0.1, 0.5, 0.5], (n, 1)), [0] * n)
        for i, n in enumerate(counts)
    ]


def lost(names, kind="zero_area", action="left out", images=0):
    return Problem(kind, "somewhere", "is lost", action, tuple(names), images_lost=images)


def judged(counts, *problems, **options):
    return verdict.count("voc:x", CLASSES, truth(*counts), problems, **options)


@pytest.mark.parametrize(
    ("counts", "problems", "reason"),
    [
        ([2, 3], [], ""),
        ([1, 0, 0, 0], [], ""),
        ([5], [lost(["cat"] * 5)], ""),
        ([5], [lost(["cat"] * 6)], "6 of 11 objects are lost, more than half (6 zero_area)"),
        ([5], [lost(["cat"] * 6, action="refused")], "6 of 11 objects are lost"),
        ([5], [lost(["cat"] * 6, "beyond_edge", "clipped")], ""),
        ([5], [lost(["cat"] * 50, "duplicate_box")], ""),
        ([0, 0], [], "no object in 2 images: 2 images are annotated as empty"),
        (
            [0],
            [lost(["cat"] * 4), Problem("no_objects_left", "a", "all lost", "noted")],
            "no object in 1 images: all 4 that were read are lost (4 zero_area)",
        ),
        (
            [0, 0],
            [Problem("missing_annotation", "a", "no file", "noted")] * 2,
            "no object in 2 images: 2 images have no label file",
        ),
        ([1, 1], [lost([], "broken_image", images=1)] * 2, ""),
        (
            [1, 1],
            [lost([], "broken_image", images=1)] * 3,
            "3 of 5 images are left out, more than half (3 broken_image)",
        ),
        ([1, 1], [lost([], "broken_record", images=3)], "3 of 5 images are left out"),
        ([1] * 4 + [0] * 4, [Problem("missing_annotation", "a", "no file", "noted")] * 4, ""),
        (
            [1] * 4 + [0] * 5,
            [Problem("missing_annotation", "a", "no file", "noted")] * 5,
            "5 of 9 images have no label file, more than half",
        ),
        ([9], [Problem("wrong_scale", "a", "boxes lie outside", "refused")], "boxes lie outside"),
    ],
)
def test_the_rule(counts, problems, reason):
    found = judged(counts, *problems)
    assert found.fit == (not reason)
    assert reason in found.why()
    if reason:
        with pytest.raises(UserError, match="--accept_losses") as caught:
            verdict.check_fit(found, "to train on")
        assert "'voc:x' is not fit to train on: " in str(caught.value)
    else:
        verdict.check_fit(found, "to train on")


@pytest.mark.parametrize(
    ("crowds", "reason"), [((True, True), "all 2 objects are crowd"), ((True, False), "")]
)
def test_crowds_alone_teach_nothing(crowds, reason):
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]])
    one = GroundTruth("a", 48, 64, boxes, [0, 1], crowd=crowds)
    found = verdict.count("coco:x", CLASSES, [one], [])
    assert (found.kept, found.crowd) == (2, sum(crowds))
    assert reason in found.why()
    assert found.fit != bool(reason)


def test_what_is_lost_is_counted_once_and_by_kind():
    found = judged(
        [3, 0, 0],
        lost(["cat", "dog"], "size_mismatch", "refused", images=1),
        lost(["dog"]),
        lost(["cat"]),
        lost(["cat"], "duplicate_box"),
        Problem("no_objects_left", "a", "all lost", "noted"),
    )
    assert (found.read, found.kept, found.repeated, found.images) == (7, 3, 1, 3)
    assert found.lost == {"size_mismatch": 2, "zero_area": 2}
    assert found.images_lost == {"size_mismatch": 1}
    assert (found.empty, found.emptied, found.unlabelled) == (1, 1, 0)
    assert found.classes_lost == {"dog": 2}
    assert found.losses() == (
        "4 of 7 objects are lost (2 size_mismatch, 2 zero_area); "
        "1 of 4 images are left out (1 size_mismatch); "
        "1 objects repeat another and are left out; "
        "1 images lost all of their objects; "
        "no object is left of 'dog' (2 lost); "
        "2 of 3 images have no object and count as background"
    )


def test_nothing_lost_says_nothing():
    assert verdict.line(judged([1, 0])) == ""
    assert judged([1, 0]).unused_classes == ("dog",)


@pytest.mark.parametrize(("empty", "is_said"), [(0, False), (150, False), (151, True), (240, True)])
def test_that_most_images_are_background_is_said_and_not_refused(empty, is_said):
    found = judged([1] * (300 - empty) + [0] * empty)
    said = f"{empty} of 300 images have no object and count as background"
    assert found.fit
    assert found.background == empty
    assert found.backgrounds() == said * bool(empty)
    assert found.losses() == said * is_said
    assert verdict.line(found).startswith(f"voc:x: {said}. ") == is_said


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv"])
def test_every_format_says_that_most_images_are_background(tmp_path, form):
    names = [f"{number}.jpg" for number in range(3)]
    if form == "voc":
        for name in names:
            voc_image(tmp_path, name[0], voc_object() if name == names[0] else "")
    else:
        trees.write(tmp_path, *(f"images/{name}" for name in names), "labels/0.txt")
        content = json.loads(trees.coco(names))
        content["annotations"] = content["annotations"][:1]
        (tmp_path / "instances.json").write_text(json.dumps(content))
        lines = ["image,xmin,ymin,xmax,ymax,class", "0.jpg,4,5,30,40,cat", *names[1:]]
        (tmp_path / "boxes.csv").write_text("\n".join(lines))
    place = f"{tmp_path}/boxes.csv" if form == "csv" else str(tmp_path)
    losses = verdict.judge(data.load_source(f"{form}:{place}")).losses()
    assert losses.endswith("2 of 3 images have no object and count as background")


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("cow", True, (0, 9, True)),
        ("cow", False, (9, 0, False)),
        # Asked for, but written in another way.
        ("Cat", True, (9, 0, False)),
        ("Dog_", True, (9, 0, False)),
    ],
)
def test_objects_of_classes_that_were_not_asked_for_are_no_loss(name, chosen, expected):
    found = judged([1], lost([name] * 9, "unknown_class"), chosen=chosen)
    assert (sum(found.lost.values()), found.others, found.fit) == expected


def test_what_decoding_finds_is_lost_as_well(tmp_path):
    for index in range(3):
        voc_image(tmp_path, f"{index}", voc_object() + voc_object("dog", (1, 1, 9, 9)), seed=index)
    for index in range(2):
        path = tmp_path / f"JPEGImages/{index}.jpg"
        path.write_bytes(path.read_bytes()[:-200])
    source = data.load_source(f"voc:{tmp_path}")
    assert verdict.judge(source).fit
    found = verdict.judge(source, inspection.inspect_images(source))
    assert (found.kept, found.images, found.images_lost) == (2, 1, {"undecodable_image": 2})
    assert found.lost == {"undecodable_image": 4}
    assert "4 of 6 objects are lost" in found.why()


@pytest.mark.parametrize(
    ("part", "expected"),
    [("", (2, 1, 1)), ("?only=^good", (1, 0, 0)), ("?without=^good", (1, 1, 1))],
)
def test_a_filter_counts_its_own_images(tmp_path, part, expected):
    voc_image(tmp_path, "good", voc_object())
    voc_image(tmp_path, "bad", voc_object() + voc_object("dog", (9, 9, 9, 20)), seed=1)
    voc_image(tmp_path, "bad-size", voc_object(), size=(10, 48), seed=2)
    found = verdict.judge(data.load_source(f"voc:{tmp_path}{part}"))
    assert (found.kept, found.lost.get("zero_area", 0), sum(found.images_lost.values())) == expected


def test_joined_sets_are_counted_together(tmp_path):
    for name, box in (("a", (1, 1, 9, 9)), ("b", (9, 9, 9, 20))):
        voc_image(tmp_path / name, name, voc_object() + voc_object("dog", box))
    found = verdict.judge(data.load_source(f"voc:{tmp_path}/a+voc:{tmp_path}/b"))
    assert (found.kept, found.lost) == (3, {"zero_area": 1})


@pytest.mark.parametrize("name", lossy.FORMATS)
def test_every_format_counts_what_it_loses(tmp_path, name):
    found = verdict.judge(data.load_source(lossy.FORMATS[name](tmp_path)))
    assert (found.kept, found.read, found.lost) == (1, 10, {lossy.KINDS[name]: 9})
    assert not found.fit
