"""Parts of a data set, chosen by the names of its images."""

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import filtered, tfrecord, verdict
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
    ("chosen", "expected"),
    [
        ("?only=^hill", NAMES[:2]),
        ("?without=^hill", NAMES[2:]),
        ("?only=[13]\\.jpg$", ("hill-1", "town-1", "town-3")),
        ("?without=1?only=^town", NAMES[3:]),
    ],
)
def test_names_choose_the_images(folder, chosen, expected):
    assert kept(data.load_source(f"voc:{folder}{chosen}")) == list(expected)


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


def shares_of(names, share):
    """The names that `?share=` keeps of images that lie in records, and those of `?rest=`."""
    boxes = np.array([[0.1, 0.1, 0.5, 0.5]])
    truth = [data.GroundTruth(name, 48, 64, boxes, [0]) for name in names]
    whole = data.Source("x", ["cat"], truth)
    return [kept(filtered.FilteredSource("x", whole, kind, share)) for kind in ("share", "rest")]


@pytest.mark.parametrize("share", ["0.8", "0.5", ".1"])
def test_a_share_and_the_rest_are_the_whole(share):
    names = [f"{number:06d}" for number in range(2000)]
    chosen, rest = shares_of(names, share)
    assert not set(chosen) & set(rest)
    assert sorted([*chosen, *rest]) == names
    assert chosen == sorted(chosen)
    assert abs(len(chosen) / 2000 - float(share)) < 0.03


def test_new_photographs_move_no_others():
    names = [f"photo {number}" for number in range(300)]
    before, _ = shares_of(names[::3], "0.7")
    after, _ = shares_of(names, "0.7")
    assert before == [name for name in after if name in names[::3]]


def test_a_larger_share_holds_the_smaller():
    names = [f"{number}" for number in range(300)]
    assert set(shares_of(names, "0.5")[0]) < set(shares_of(names, "0.6")[0])


def test_the_place_of_an_image_stays_for_ever():
    places = [round(filtered.place_of(name), 4) for name in ("1", "2", "a")]
    assert places == [
        0.9648,
        0.1092,
        0.2538,
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("IMG_1.JPG", "img_1.jpg", "IMG_1.png", "IMG_1"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("dog_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg",
         "dog_jpg.rf.ffffffffffffffffffffffffffffffff.jpg"),
    ],
)  # fmt: skip
def test_copies_of_a_photograph_stay_together(names):
    assert len({filtered.place_of(name) for name in names}) == 1


def test_shares_follow_patterns(folder):
    whole = data.load_source(f"voc:{folder}?only=town")
    parts = [data.load_source(f"voc:{folder}?only=town?{kind}=0.5") for kind in ("share", "rest")]
    assert sorted(kept(parts[0]) + kept(parts[1])) == kept(whole)
    assert all(map(kept, parts))
    assert kept(data.load_source(f"voc:{folder}?share=0.5?only=town")) == kept(parts[0])


def test_packed_images_are_drawn_like_their_files(folder, tmp_path):
    tfrecord.write(data.load_source(f"voc:{folder}"), str(tmp_path / "x"))
    of_files, of_records = (
        kept(data.load_source(f"{place}?share=0.5"))
        for place in (f"voc:{folder}", f"tfrecord:{tmp_path}/x-*")
    )
    assert of_files == of_records


def test_a_part_counts_its_share_of_images_of_which_none_is_named(tmp_path):
    for number in range(40):
        voc_image(tmp_path, f"{number}", voc_object(), seed=number)
    for number in range(40, 80):
        samples.picture(tmp_path / f"JPEGImages/{number}.jpg", seed=number)
    assert verdict.judge(data.load_source(f"voc:{tmp_path}")).fit
    for part in ("share=0.2", "rest=0.2", "only=^1.?[.]"):
        source = data.load_source(f"voc:{tmp_path}?{part}")
        (problem,) = source.problems
        assert (problem.kind, problem.images_lost) == ("not_annotated", len(source))
        assert verdict.judge(source).fit


@pytest.mark.parametrize(
    ("filters", "parts"),
    [
        ("?share=80", ["'share'", "between 0 and 1, such as ?share=0.8, not '80'"]),
        ("?share=0", ["between 0 and 1"]),
        ("?rest=1", ["between 0 and 1, such as ?rest=0.8"]),
        ("?rest=-0.5", ["between 0 and 1"]),
        ("?share=nan", ["between 0 and 1"]),
        ("?share=80%", ["between 0 and 1"]),
        ("?share=", ["between 0 and 1"]),
        ("?share=0.8?rest=0.8", ["has 'share' and 'rest'", "divided once"]),
        ("?rest=0.8?only=1?rest=0.5", ["has 'rest' and 'rest'"]),
        ("?share=0.00001", ["keeps none of 5 images"]),
    ],
)
def test_shares_that_are_none_are_refused(folder, filters, parts):
    with pytest.raises(UserError) as caught:
        data.load_source(f"voc:{folder}{filters}")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "parts"),
    [
        ("?onyl=x", ["There is no filter 'onyl'", "Did you mean 'only'"]),
        ("?only=[", ["no regular expression"]),
        ("?only=^sea", ["keeps none of 5 images", "hill-1.jpg"]),
    ],
)
def test_faults_are_named(folder, chosen, parts):
    with pytest.raises(UserError) as caught:
        data.load_source(f"voc:{folder}{chosen}")
    for part in parts:
        assert part in str(caught.value)


def test_drawn_shapes_are_chosen_by_their_ids():
    whole = data.load_source("shapes#train,count=20")
    some = data.load_source("shapes#train,count=20?only=1$")
    assert [t.image_id for t in some.ground_truth()] == ["train-000001", "train-000011"]
    np.testing.assert_array_equal(some.image(1), whole.image(11))
    assert some.encoded(0).startswith(b"\x89PNG")
