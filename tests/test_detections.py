"""Detections keep boxes, scores and labels together."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from ssd_keras import Detections, plots
from ssd_keras.errors import UserError

CLASSES = ("cat", "dog")


def made(scores, labels):
    boxes = [[0, 0, (i + 1) / 10, 1] for i in range(len(scores))]
    return Detections(boxes, scores, labels, CLASSES)


def test_best_score_comes_first_with_its_box_and_label():
    found = made([0.2, 0.9, 0.5], [0, 1, 0])
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(found.boxes[:, 2], [0.2, 0.3, 0.1], rtol=1e-6)
    assert found.names == ["dog", "cat", "cat"]


def test_equal_scores_keep_their_order():
    np.testing.assert_allclose(made([0.5, 0.5], [0, 1]).boxes[:, 2], [0.1, 0.2], rtol=1e-6)


def test_above_keeps_scores_that_reach_the_threshold():
    assert made([0.2, 0.9, 0.5], [0, 1, 0]).above(0.5).names == ["dog", "cat"]


def test_nothing_found_is_empty():
    empty = made([], [])
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([0.5], [2], "Labels must be 0..1"), ([0.5, 0.4], [0], "2 boxes, 2 scores and 1 labels")],
)
def test_what_does_not_fit_together_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        made(scores, labels)


@pytest.fixture
def found():
    """Two cats and a dog in an image of 100 x 200 pixels; scores 0.9, 0.5, 0.2."""
    return made([0.2, 0.9, 0.5], [0, 1, 0]).of_image((100, 200), "photo.png")


def test_one_is_taken_by_its_number(found):
    one = found[-1]
    assert (one.name, one.label, one.score) == ("cat", 0, 0.2)
    np.testing.assert_array_equal(one.box, found.boxes[2])
    np.testing.assert_array_equal(one.pixels(), found.pixels()[2])
    assert [each.name for each in found] == found.names
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(
    ("which", "scores"),
    [
        (slice(1, None), [0.5, 0.2]),
        (np.array([True, False, True]), [0.9, 0.2]),
        ([True, False, True], [0.9, 0.2]),
        ([2, 0], [0.9, 0.2]),
        ([], []),
        (np.zeros(3, bool), []),
    ],
)
def test_some_are_detections_too(found, which, scores):
    some = found[which]
    np.testing.assert_allclose(some.scores, scores, rtol=1e-6)
    assert (some.classes, some.image_size, some.image_path) == (CLASSES, (100, 200), "photo.png")


def test_classes_are_chosen_by_name(found):
    assert found.of("cat").names == ["cat", "cat"]
    assert found.of("cat", "dog").names == found.names
    assert len(found.of()) == 0
    with pytest.raises(UserError, match=r"no class 'cta'.*Did you mean 'cat'"):
        found.of("cta")


def test_pixels_are_those_of_the_image_looked_at_or_given(found):
    np.testing.assert_allclose(found.pixels()[0], [0, 0, 20, 200], rtol=1e-6)
    np.testing.assert_allclose(found.pixels((10, 20))[0], [0, 0, 2, 20], rtol=1e-6)
    np.testing.assert_allclose(found.pixels(np.zeros((10, 20, 3)))[0], [0, 0, 2, 20], rtol=1e-6)
    assert found.pixels().shape == (3, 4)
    with pytest.raises(UserError, match="size of the image is not known"):
        made([0.5], [0]).pixels()
    with pytest.raises(UserError, match=r"\[H, W, 3\] or a \(height, width\)"):
        found.pixels(np.zeros((4, 4)))


def test_drawn_on_the_image_or_on_its_file(found, tmp_path):
    image = np.full((100, 200, 3), 128, np.uint8)
    wanted = plots.draw_boxes(image, found.boxes, found.labels, CLASSES, found.scores)
    assert (wanted != image).any()
    np.testing.assert_array_equal(found.draw(image), wanted)
    Image.fromarray(image).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(found.draw(tmp_path / "photo.png"), wanted)
    known = found.of_image((100, 200), tmp_path / "photo.png")
    np.testing.assert_array_equal(known.draw(), wanted)
    known.save(tmp_path / "drawn.png")
    np.testing.assert_array_equal(Image.open(tmp_path / "drawn.png"), wanted)
    with pytest.raises(UserError, match="image itself is not kept"):
        made([0.5], [0]).draw()


def test_saved_as_json_and_csv(found, tmp_path):
    read = json.loads(found.save(tmp_path / "found.json").read_text())
    assert read == found.to_dict()
    assert (read["image"], read["height"], read["width"]) == ("photo.png", 100, 200)
    assert read["detections"][0] == {
        "class": "dog", "label": 1, "score": 0.9,
        "box": [0.0, 0.0, 0.2, 1.0], "box_pixels": [0.0, 0.0, 20.0, 200.0],
    }  # fmt: skip
    with open(found.save(tmp_path / "found.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{key: str(value) for key, value in row.items()} for row in found.rows()]
    assert rows[2]["class"] == "cat"
    assert float(rows[2]["ymax_px"]) == 10.0
    assert made([], []).save(tmp_path / "none.csv").read_text().startswith("image,class,")
    with pytest.raises(UserError, match=r"no kind of file '.jsn'.*'.json'"):
        found.save(tmp_path / "found.jsn")


def test_rows_of_an_image_of_unknown_size_have_no_pixels():
    (row,) = made([0.5], [1]).rows()
    assert row == {
        "image": None, "class": "dog", "label": 1, "score": 0.5,
        "ymin": 0.0, "xmin": 0.0, "ymax": 0.1, "xmax": 1.0,
    }  # fmt: skip


CANVAS_CASES = [
    # Boxes on a canvas of 100x100 of an image of 100x50, which lies in its columns 25 to 75.
    ([0.1, 0.25, 0.5, 0.75], [0.1, 0.0, 0.5, 1.0]),
    ([0.1, 0.1, 0.5, 0.5], [0.1, 0.0, 0.5, 0.5]),
    ([0.1, 0.0, 0.5, 0.25], None),
    ([0.1, 0.8, 0.5, 1.0], None),
]


@pytest.mark.parametrize(("box", "expected"), CANVAS_CASES)
def test_what_lies_on_the_edges_of_a_letterbox_is_no_object(box, expected):
    found = Detections([box, [0.0, 0.4, 1.0, 0.6]], [0.9, 0.8], [0, 1], ("a", "b"))
    moved = found.from_canvas((100, 50), (100, 100), "letterbox")
    wanted = [expected] * (expected is not None) + [[0.0, 0.3, 1.0, 0.7]]
    np.testing.assert_allclose(moved.boxes, wanted, atol=1e-6)
    assert len(moved) == len(wanted)
    stretched = found.from_canvas((100, 50), (100, 100), "half_pixel")
    np.testing.assert_array_equal(stretched.boxes, found.boxes)
