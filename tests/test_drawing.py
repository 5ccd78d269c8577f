"""Boxes on pictures: what is drawn where, whatever the names, the sizes and the boxes."""

import types

import numpy as np
import pytest

from ssd_keras import drawing, sheets
from ssd_keras.detections import Detections

CLASSES = ("cat", "dog", "a rather long class name")
GREY = 90


def image(height=200, width=300):
    return np.full((height, width, 3), GREY, np.uint8)


def changed(picture):
    """Rows and columns of pixels that are no longer the plain ground."""
    return np.argwhere((picture != GREY).any(-1))


def test_colors_of_80_classes_differ():
    assert len({drawing.class_color(i) for i in range(80)}) == 80


def test_box_is_drawn_in_the_color_of_its_class_at_its_place():
    picture = drawing.draw_boxes(image(), [[0.25, 0.2, 0.75, 0.8]], [1], CLASSES)
    color = drawing.class_color(1)
    for row, column in [(100, 60), (100, 239), (50, 150), (149, 150)]:
        assert tuple(picture[row, column]) == color
    assert (picture[60:140, 70:230] == GREY).all()


@pytest.mark.parametrize(
    "box",
    [(0, 0, 1, 1), (0, 0.9, 0.1, 1), (0.9, 0.9, 1, 1), (-1, -1, 2, 2), (0, 0.97, 0.02, 1.4)],
)
def test_label_stays_inside(box):
    # As much must be drawn as in the middle of the image, but for what covers the frame itself.
    def label_area(box):
        picture = drawing.draw_boxes(image(), [box], [2], CLASSES, [0.5])
        frame = drawing.draw_boxes(image(), [box], [2], CLASSES, captions=[""])
        return (picture != frame).any(-1).sum()

    assert label_area(box) >= 0.8 * label_area((0.4, 0.4, 0.6, 0.6))


def test_labels_of_two_equal_boxes_do_not_cover_each_other():
    box = (0.4, 0.3, 0.8, 0.7)
    one = drawing.draw_boxes(image(), [box], [0], CLASSES, [0.9])
    two = drawing.draw_boxes(image(), [box, box], [0, 0], CLASSES, [0.9, 0.8])
    frame = drawing.draw_boxes(image(), [box], [0], CLASSES, captions=[""])
    area = (one != frame).any(-1).sum()
    assert (two != frame).any(-1).sum() >= 1.7 * area


def test_letters_grow_with_the_image():
    def height_of_label(side):
        box = (0.5, 0.2, 0.9, 0.9)
        picture = drawing.draw_boxes(image(side, side), [box], [0], CLASSES)
        return side // 2 - changed(picture)[:, 0].min()

    assert 12 <= height_of_label(300) <= 30
    assert 4 <= height_of_label(3000) / height_of_label(300) <= 12


def test_letters_leave_room_for_small_objects():
    image = np.zeros((1000, 1000, 3), np.uint8)
    box = np.array([[0.5, 0.5, 0.53, 0.53]])
    rows = np.flatnonzero(drawing.draw_boxes(image, box, [0], ["cat"]).any((1, 2)))
    # 30 pixels of the box, and a name of half of that above it.
    assert 40 < np.ptp(rows) < 50


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9), (30, 30), (2000, 40)])
def test_any_size(size):
    picture = drawing.draw_boxes(image(*size), [[0, 0, 1, 1]], [2], CLASSES, [0.5])
    assert picture.shape == (*size, 3)
    assert len(changed(picture))


def test_padding_and_broken_boxes_are_left_out():
    boxes = [[-1, -1, -1, -1], [np.nan, 0, 1, 1]]
    assert not len(changed(drawing.draw_boxes(image(), boxes, [-1, 0], CLASSES)))


def test_the_image_itself_is_not_changed():
    original = image()
    drawing.draw_boxes(original, [[0.2, 0.2, 0.8, 0.8]], [0], CLASSES)
    assert (original == GREY).all()


def test_float_images_are_rounded_and_clipped():
    picture = drawing.draw_boxes(np.array([[[300.0, -5, 99.6]]]), np.zeros((0, 4)), [], CLASSES)
    assert picture.tolist() == [[[255, 0, 100]]]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (1, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="height, width, 3"):
        drawing.draw_boxes(np.zeros(shape), [], [], CLASSES)


def record(**flags):
    return types.SimpleNamespace(boxes=np.array([[0.2, 0.2, 0.8, 0.8]]), labels=[0], **flags)


def test_side_by_side_has_a_row_for_each_image():
    images = [image(), image(400, 100)]
    found = Detections([[0.2, 0.2, 0.8, 0.8]], [0.9], [0], CLASSES)
    picture = drawing.side_by_side(
        images, [record(), record()], [found, found], CLASSES, height=200
    )
    assert picture.shape == (30 + 8 + 2 * 208, 2 * 300 + 3 * 8, 3)


def test_side_by_side_draws_only_from_the_threshold_up():
    def right(score):
        found = Detections([[0.2, 0.2, 0.8, 0.8]], [score], [0], CLASSES)
        picture = drawing.side_by_side([image()], [record()], [found], CLASSES, height=200)
        return picture[40:230, 330:600]

    assert (right(0.1) == GREY).all()
    assert not (right(0.9) == GREY).all()


def test_side_by_side_of_nothing():
    assert drawing.side_by_side([], [], [], CLASSES).ndim == 3


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_objects_that_do_not_count_are_grey(flag):
    picture = drawing.draw_truth(image(), record(**{flag: np.array([True])}), CLASSES)
    assert tuple(picture[100, 60]) == (150, 150, 150)


def test_matched_boxes_are_drawn_and_counted():
    anchors = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6], [0.6, 0.6, 0.9, 0.9]])
    objects = np.array([[0.3, 0.3, 0.7, 0.7]])
    picture = drawing.matched_boxes(image(), objects, [0], CLASSES, anchors, np.array([0, 0, -1]))
    assert tuple(picture[20, 50]) == drawing.class_color(0)
    assert (picture[150:179, 220:269] == GREY).all()


STRANGE = (
    "$x^2$ & $5", "a\nb", "\x1b[31mred", "<script>alert(1)</script>", "_hidden", "very " * 200,
    "\u202egnp", "שלום", "😀", "\u3164", "", "\0", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_every_name_is_shown_and_does_nothing(name):
    truth = types.SimpleNamespace(boxes=[[0.2, 0.2, 0.8, 0.8]], labels=[0])
    anchors, matched = np.array([[0.2, 0.2, 0.7, 0.8]]), np.array([0])
    box = ([[0.2, 0.2, 0.8, 0.8]], [0])
    bare = drawing.draw_boxes(image(), *box, [name], captions=[""])
    pictures = [
        drawing.draw_boxes(image(), *box, [name], [0.5]),
        drawing.draw_truth(image(), truth, [name]),
        drawing.matched_boxes(image(), *box, [name], anchors, matched),
    ]
    for picture in pictures:
        assert (picture != bare).any(-1).sum() > 50
    assert sheets.grid([[image(20, 20)]], [name]).shape[0] == 20 + 30 + 3 * 8 - 8


def test_names_that_differ_look_different():
    def drawn(name):
        return drawing.draw_boxes(image(), [[0.4, 0.2, 0.8, 0.8]], [0], [name]).tobytes()

    names = ["cat", "cat\u200b", "ca\u202et", "", " ", "\u3164", "ca\nt", "ca\\t"]
    assert len({drawn(name) for name in names}) == len(names)
