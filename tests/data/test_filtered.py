"""Parts of a data set, chosen by the names of its images."""

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import tfrecord
from ssd_keras.errors import UserError
from tests.data import samples
from tests.data.samples import voc_image, voc_object

NAMES = ("hill-1", "hill-2", "town-1", "town-2", "town-3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five images of two scenes; dogs live in the town only."""
    root = tmp_path_factory.mktemp("scenes")
    for seed, name in enumerate(NAMES):
        animal = "dog" if name.startswith("town") else "cat"
        voc_image(root, name, voc_object(animal), seed=seed)
    return root


def kept(source):
    return [truth.image_id for truth in source.ground_truth()]


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        ("?only=^hill", NAMES[:2]),
        ("?without=^hill", NAMES[2:]),
        ("?only=[13]\\.jpg$", ("hill-1", "town-1", "town-3")),
        ("?without=1?only=^town", NAMES[3:]),
    ],
)
def test_names_choose_the_images(folder, filtered, expected):
    assert kept(data.load_source(f"voc:{folder}{filtered}")) == list(expected)


def test_an_image_stays_with_its_ground_truth(folder):
    whole = data.load_source(f"voc:{folder}")
    part = data.load_source(f"voc:{folder}?only=^town-2")
    np.testing.assert_array_equal(part.image(0), whole.image(3))
    assert not np.array_equal(part.image(0), whole.image(0))


def test_both_parts_have_the_classes_of_the_whole(folder):
    for kind in ("only", "without"):
        part = data.load_source(f"voc:{folder}?{kind}=^hill")
        assert part.classes == data.load_source(f"voc:{folder}").classes


def test_problems_go_with_their_images(tmp_path):
    for name, box in (("good", (1, 1, 9, 20)), ("bad", (9, 9, 9, 20))):
        voc_image(tmp_path, name, voc_object() + voc_object(box=box))
    voc_image(tmp_path, "bad-size", voc_object(), size=(10, 48))
    for part, kinds in (("only=^good", []), ("without=^good", ["zero_area", "size_mismatch"])):
        source = data.load_source(f"voc:{tmp_path}?{part}")
        assert [p.kind for p in source.problems] == kinds


def test_the_numbers_of_the_classes_stay(tmp_path):
    samples.coco(tmp_path)
    source = data.load_source(f"coco:{tmp_path}?only=^1")
    assert source.category_ids == {3: 0, 7: 1}


def test_parts_are_joined(folder):
    source = data.load_source(f"voc:{folder}?only=^hill+{folder}?only=3")
    assert kept(source) == ["hill-1", "hill-2", "town-3"]


def test_batches_hold_the_images_that_were_kept(folder):
    source = data.load_source(f"voc:{folder}?only=^town")
    (batch,) = data.evaluation_batches(source, image_size=(48, 64), batch_size=3)
    for image, index in zip(batch["images"].numpy(), (2, 3, 4), strict=True):
        np.testing.assert_array_equal(image, data.load_source(f"voc:{folder}").image(index))


def test_records_are_filtered_by_their_ids(folder, tmp_path):
    tfrecord.write(data.load_source(f"voc:{folder}"), str(tmp_path / "x"))
    source = data.load_source(f"tfrecord:{tmp_path}/x-*?only=2")
    assert [name[-1] for name in kept(source)] == ["2", "2"]
    assert source.encoded(1) == (folder / "JPEGImages/town-2.jpg").read_bytes()


@pytest.mark.parametrize(
    ("filtered", "parts"),
    [
        ("?onyl=x", ["There is no filter 'onyl'", "Did you mean 'only'"]),
        ("?only=[", ["no regular expression"]),
        ("?only=^sea", ["keeps none of 5 images", "hill-1.jpg"]),
    ],
)
def test_faults_are_named(folder, filtered, parts):
    with pytest.raises(UserError) as caught:
        data.load_source(f"voc:{folder}{filtered}")
    for part in parts:
        assert part in str(caught.value)


def test_drawn_shapes_are_chosen_by_their_ids():
    whole = data.load_source("shapes#train,count=20")
    some = data.load_source("shapes#train,count=20?only=1$")
    assert [t.image_id for t in some.ground_truth()] == ["train-000001", "train-000011"]
    np.testing.assert_array_equal(some.image(1), whole.image(11))
    assert some.encoded(0).startswith(b"\x89PNG")
