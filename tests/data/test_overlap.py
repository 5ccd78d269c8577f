"""Images that two data sets have in common."""

import shutil
import time

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import GroundTruth, Source, shared_images, tfrecord
from tests.data import samples
from tests.data.samples import voc_image, voc_object

NAMES = ("0", "1", "2")


@pytest.fixture
def folder(tmp_path):
    """Three images, the last without an object."""
    for seed, name in enumerate(NAMES):
        voc_image(tmp_path / "set", name, voc_object() * (name != "2"), seed=seed)
    return tmp_path / "set"


def linked(folder, place):
    shutil.copytree(folder, place)
    for name in NAMES:
        (place / f"JPEGImages/{name}.jpg").unlink()
        (place / f"JPEGImages/{name}.jpg").symlink_to(folder / f"JPEGImages/{name}.jpg")
    return f"voc:{place}"


def packed(folder, place):
    tfrecord.write(data.load_source(f"voc:{folder}"), str(place))
    return f"tfrecord:{place}-*"


def copied(folder, place):
    shutil.copytree(folder, place)
    return f"voc:{place}"


def joined(folder, place):
    for seed, name in enumerate(NAMES):
        voc_image(place, name, voc_object("dog"), seed=7 + seed)
    return f"voc:{place}+voc:{folder}"


OTHERS = {
    "itself": (lambda folder, place: f"voc:{folder}", NAMES),
    "a part": (lambda folder, place: f"voc:{folder}?only=^[12]", NAMES[1:]),
    "another format": (
        lambda folder, place: samples.as_coco(data.load_source(f"voc:{folder}"), place),
        NAMES,
    ),
    "links": (linked, NAMES),
    # Of an image without objects nothing but its bytes could tell.
    "records": (packed, NAMES[:2]),
    "copies": (copied, NAMES[:2]),
    "a sum": (joined, NAMES),
}


@pytest.mark.parametrize("name", OTHERS)
def test_images_are_known_by_their_files_and_objects(tmp_path, folder, name):
    make, expected = OTHERS[name]
    one, other = data.load_source(f"voc:{folder}"), data.load_source(make(folder, tmp_path / "b"))
    assert shared_images(one, other) == list(expected)


def test_two_parts_share_nothing(folder):
    parts = [data.load_source(f"voc:{folder}?{kind}=0") for kind in ("only", "without")]
    assert shared_images(*parts) == []


@pytest.mark.parametrize(
    "change",
    [
        {"objects": voc_object(box=(5, 6, 31, 40)), "seed": 0},
        {"objects": voc_object("dog"), "seed": 0},
        {"objects": voc_object() * 0, "seed": 0},
        {"objects": voc_object() + voc_object("dog"), "seed": 0},
        {"objects": voc_object(), "seed": 9},
        {"objects": voc_object(), "size": (128, 96), "width": 128, "height": 96},
    ],
    ids=("box", "class", "no object", "two objects", "bytes", "size"),
)
def test_ids_alone_say_nothing(tmp_path, change):
    for place, own in (("a", {"objects": voc_object(), "seed": 0}), ("b", change)):
        voc_image(tmp_path / place, "0", **own)
        voc_image(tmp_path / place, place, voc_object("cat") + voc_object("dog"), seed=5)
    a, b = (data.load_source(f"voc:{tmp_path}/{place}") for place in "ab")
    assert shared_images(a, b) == []


def test_boxes_of_whole_images_say_nothing():
    whole = [Source("x", ["cat"], [GroundTruth("0", 48, 64, [[0, 0, 1, 1]], [0])]) for _ in "ab"]
    assert shared_images(*whole) == []


def test_the_same_drawings_are_shared():
    few, many, others = (
        data.load_source(f"shapes#{name}") for name in ("a,count=3", "a,count=5", "b,count=5")
    )
    assert shared_images(many, few) == ["a-000000", "a-000001", "a-000002"]
    assert shared_images(many, others) == []


def test_large_sets_take_no_time():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5]])
    truth = [GroundTruth(str(i), 48, 64, boxes, [0], path=f"/none/{i}.jpg") for i in range(20_000)]
    one, other = Source("a", ["cat"], truth), Source("b", ["cat"], truth[5:])
    began = time.process_time()
    assert len(shared_images(one, other)) == 19_995
    assert time.process_time() - began < 5
