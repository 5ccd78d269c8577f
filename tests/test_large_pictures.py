"""Pictures of large images with small objects."""

import numpy as np
import pytest
from PIL import Image

from ssd_keras import drawing, large_pictures
from ssd_keras.data.decoded import ArrayPicture
from ssd_keras.detections import Detections


def noise(height, width):
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return ArrayPicture(pixels)


def found_at(corners, side, size, label=0):
    boxes = np.array([[y, x, y + side, x + side] for y, x in corners])
    boxes = boxes.reshape(-1, 4) / np.tile(size, 2)
    return Detections(boxes, np.full(len(boxes), 0.9), [label] * len(boxes), ("a", "b"))


@pytest.mark.parametrize("most", [(100, 100), (37, 1000), (1000, 51)])
def test_strips_put_together_are_the_picture_made_smaller(monkeypatch, most):
    monkeypatch.setattr(large_pictures, "_MOST_READ", 400 * 50)
    picture = noise(301, 400)
    made = large_pictures.shrunk(picture, most)
    size = made.shape[1], made.shape[0]
    assert size == {100: (100, 75), 37: (49, 37), 1000: (51, 38)}[most[0]]
    wanted = np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.BOX))
    # Where strips meet, a row may be rounded to one mean or the other.
    differ = made != wanted
    assert differ.mean() < 0.03
    assert np.abs(made.astype(int) - wanted).max() < 20


def test_a_small_picture_stays_as_it_is():
    picture = noise(40, 50)
    np.testing.assert_array_equal(large_pictures.shrunk(picture, (100, 100)), picture.pixels)


def test_the_densest_parts_come_first_and_share_no_object():
    few, many = [(100, 100), (110, 120)], [(900, 900 + 10 * n) for n in range(5)]
    boxes = np.array([[y, x, y + 8, x + 8] for y, x in few + many])
    first, second = large_pictures.densest_parts(boxes, (1000, 2000), 200, 6)
    for (top, left, bottom, right), inside in ((first, many), (second, few)):
        assert (bottom - top, right - left) == (200, 200)
        assert min(top, left) >= 0
        assert (bottom <= 1000, right <= 2000) == (True, True)
        assert all(top <= y + 4 <= bottom and left <= x + 4 <= right for y, x in inside)


def test_parts_of_an_image_that_is_smaller_than_one():
    assert large_pictures.densest_parts(np.array([[1, 1, 3, 3]]), (40, 900), 200, 6) == [
        (0, 0, 40, 200)
    ]


@pytest.mark.parametrize(
    ("side", "size", "readable"),
    [(20, (3000, 4000), False), (100, (3000, 4000), True), (5, (900, 1200), True)],
)
def test_names_are_written_where_they_can_be_read(side, size, readable):
    assert large_pictures.is_readable(found_at([(1, 1)], side, size), size) == readable


def test_small_objects_are_shown_as_they_are_beside_the_whole():
    size = (2400, 3200)
    image = np.full((*size, 3), 200, np.uint8)
    image[600:620, 900:920] = (10, 200, 10)
    found = found_at([(600, 900)], 20, size, label=1)
    drawn = large_pictures.draw_large(ArrayPicture(image), found)
    assert drawn.shape[1] > large_pictures.BESIDE[0]
    beside = drawn[:, -2 * large_pictures.PART :]
    # 20 pixels become 48.
    green = (beside == (10, 200, 10)).all(2)
    assert 30 < np.sqrt(green.sum()) <= 48
    assert (beside == drawing.class_color(1)).all(2).any()
    overview = drawn[:1500, :2000]
    y, x = (round(610 * 1568 / 2400), round(910 * 1568 / 2400))
    near = overview[y - 12 : y + 16, x - 12 : x + 16]
    assert (near == drawing.class_color(1)).all(2).any()


@pytest.mark.parametrize("count", [0, 1])
def test_large_objects_and_none_give_one_picture(count):
    size = (2000, 6000)
    found = found_at([(100, 100)][:count], 1000, size)
    assert large_pictures.draw_large(noise(*size), found).shape == (1365, 4096, 3)
