"""COCO results files, written and read."""

import json

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.evaluation import read_results, results_classes, to_results, write_results
from tests.evaluation.cases import CLASSES, found, truth

TRUTHS = [truth(image_id="000017", height=200, width=50), truth(image_id="4")]
FOUNDS = [found((1, 0.75, 10, 20, 50, 60)), found()]


def test_pixels_x_first_and_numbers_of_the_data_set():
    assert to_results(TRUTHS, FOUNDS, {3: 0, 17: 1, 90: 2}) == [
        {"image_id": 17, "category_id": 17, "bbox": [10, 20, 20, 80], "score": 0.75}
    ]


@pytest.mark.parametrize(("numbers", "written"), [({3: 1, 17: 1}, [3]), ({3: 0, 17: 2}, [])])
def test_a_class_of_two_numbers_takes_the_first_and_one_without_is_left_out(numbers, written):
    assert [row["category_id"] for row in to_results(TRUTHS, FOUNDS, numbers)] == written


def test_a_second_number_of_a_class_is_read(tmp_path):
    write_results(tmp_path / "r.json", [GOOD | {"category_id": 17}])
    assert read_results(tmp_path / "r.json", TRUTHS, CLASSES, {3: 1, 17: 1})[1].names == ["dog"]


@pytest.mark.parametrize("ids", [("7", "007"), ("a", "a")])
def test_images_of_one_name_are_refused(tmp_path, ids):
    write_results(tmp_path / "r.json", [])
    with pytest.raises(UserError, match="Two images of the data are called"):
        read_results(tmp_path / "r.json", [truth(image_id=name) for name in ids], CLASSES)


def test_names_stay_names_and_classes_count_from_one():
    (row,) = to_results([truth(image_id="2007_000027")], FOUNDS[:1])
    assert (row["image_id"], row["category_id"]) == ("2007_000027", 2)
    assert row["category_name"] == "dog"


def test_the_name_of_a_class_goes_before_a_number_that_only_one_side_counts(tmp_path):
    """Of a detector of other classes than the data, or of data whose classes have another order."""
    path = tmp_path / "r.json"
    write_results(path, to_results(TRUTHS, FOUNDS))
    for classes in (("ant", "cat", "dog"), ("dog", "cat")):
        assert read_results(path, TRUTHS, classes)[0].names == ["dog"]
    assert results_classes(path) == ["dog"]
    with pytest.raises(UserError, match="result 1: there is no class 'dog' in the data"):
        read_results(path, TRUTHS, ("cat", "ant"))
    # Data with numbers of their own are told apart by them.
    assert read_results(path, TRUTHS, ("a", "b"), {1: 1, 2: 0})[0].names == ["a"]


@pytest.mark.parametrize("category_ids", [None, {3: 0, 17: 1, 90: 2}])
def test_what_is_written_is_read(tmp_path, category_ids):
    path = tmp_path / "results.json"
    write_results(path, to_results(TRUTHS, FOUNDS, category_ids))
    first, second = read_results(path, TRUTHS, CLASSES, category_ids)
    np.testing.assert_allclose(first.boxes, FOUNDS[0].boxes, atol=1e-4)
    assert (first.scores.tolist(), first.names, len(second)) == ([0.75], ["dog"], 0)


def test_nothing_found_is_an_empty_list(tmp_path):
    write_results(tmp_path / "r.json", [])
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_scores_keep_all_their_digits(tmp_path):
    scores = np.float32([0.3333334, 0.3333333])
    rows = found(*[(0, s, 1, 1, 9, 9) for s in scores])
    write_results(tmp_path / "r.json", to_results(TRUTHS[1:], [rows]))
    assert read_results(tmp_path / "r.json", TRUTHS[1:], CLASSES)[0].scores.tolist() == list(scores)


GOOD = {"image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        (json.dumps([GOOD, GOOD | {"image_id": 5}]), "result 2: there is no image '5'"),
        (json.dumps([GOOD | {"category_id": 9}]), r"category_id 9.*1 \(cat\).*no numbers of"),
        (json.dumps([{"image_id": 4}]), "has no 'bbox'"),
        (json.dumps([GOOD | {"bbox": [1, 2, 3]}]), "4 finite numbers"),
        (json.dumps([GOOD | {"score": None}]), "not a COCO result"),
        (json.dumps([GOOD | {"score": float("nan")}]), "finite"),
        (json.dumps([7]), "not a COCO result"),
    ],
)
def test_faults_are_explained(tmp_path, text, words):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_results(path, TRUTHS, CLASSES)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json"):
        read_results(tmp_path / "nowhere.json", TRUTHS, CLASSES)
