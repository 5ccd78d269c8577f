"""A detector that is right on every tile is right on the whole image."""

import numpy as np
import pytest

from ssd_keras.boxes.merging import merge_tiles
from ssd_keras.boxes.numpy_boxes import pairwise_iou
from ssd_keras.boxes.tiles import Tiling, tiles_of
from tests.boxes.tile_layouts import found_on_tiles, random_layout

TILING = Tiling(height=100, width=100, overlap=0.2)
SIZE = (180, 180)


def merge(*found, tiling=TILING, size=SIZE, **options):
    """Merged boxes, scores and labels of `(tile, box, score, label)`."""
    number, boxes, scores, labels = (np.array(column) for column in zip(*found, strict=True))
    return merge_tiles(tiles_of(size, tiling), number, boxes, scores, labels, tiling, **options)


def assert_right(layout, *, least=1e-6, jitter=0.0, iou=0.999):
    """No object twice, none lost, each where it is."""
    boxes, _, labels = merge_tiles(*found_on_tiles(layout, least, jitter), layout.tiling)
    overlap = pairwise_iou(layout.boxes, boxes) * (layout.labels[:, None] == labels)
    assert len(boxes) == len(layout.boxes)
    assert (overlap.max(1, initial=0) >= iou).all()


def check(seeds):
    for seed in seeds:
        # Parts of every object, be it larger than three tiles or across the corner of four.
        assert_right(random_layout(seed))
        # Small parts are not found; every object is wholly on some tile.
        assert_right(random_layout(seed, large=0.0), least=0.5)


def test_no_object_is_lost_and_none_found_twice():
    check(range(3))


@pytest.mark.slow
def test_no_object_is_lost_and_none_found_twice_on_1000_layouts():
    check(range(3, 1000))


def test_boxes_that_are_a_little_wrong_are_of_one_object_all_the_same():
    wrong = 0
    for seed in range(15):
        layout = random_layout(seed, large=0.0, most=6)
        boxes, _, _ = merge_tiles(*found_on_tiles(layout, 0.4, 0.06), layout.tiling)
        wrong += len(boxes) != len(layout.boxes)
    assert wrong <= 1


@pytest.mark.parametrize("way", [0, 1])
def test_an_object_across_four_tiles_is_one(way):
    # Larger than the overlap, so that no tile shows all of it.
    parts = [
        (0, [60, 60, 100, 100], 0.9, 0),
        (1, [60, 80, 100, 130], 0.8, 0),
        (2, [80, 60, 130, 100], 0.7, 0),
        (3, [80, 80, 130, 130], 0.6, 0),
    ]
    boxes, scores, labels = merge(*parts[:: 1 - 2 * way])
    np.testing.assert_allclose(boxes, [[60, 60, 130, 130]])
    assert (scores.tolist(), labels.tolist()) == ([0.9], [0])


def test_a_half_does_not_count_beside_the_whole():
    boxes, _, _ = merge((0, [10, 70, 30, 100], 0.9, 0), (1, [10, 82, 30, 125], 0.95, 0),
                             (0, [50, 50, 60, 60], 0.5, 0))  # fmt: skip
    np.testing.assert_allclose(boxes, [[10, 70, 30, 125], [50, 50, 60, 60]])
    whole = merge((0, [10, 85, 30, 98.5], 0.9, 0), (1, [10, 84.5, 30, 96], 0.6, 0))
    np.testing.assert_allclose(whole[0], [[10, 84.5, 30, 96]])
    assert whole[1].tolist() == [0.9]


def test_neighbours_stay_apart():
    """Two that meet between the tiles, and a small one before a large one."""
    assert len(merge((0, [10, 20, 30, 97], 0.9, 0), (1, [10, 83, 30, 160], 0.9, 0))[0]) == 2
    assert len(merge((0, [0, 10, 90, 90], 0.9, 0), (1, [40, 81, 50, 90], 0.9, 0))[0]) == 2


def test_detections_of_one_tile_are_never_joined():
    found = [(tile, [10, 82, 30, edge], 0.9, 0) for tile in (0, 1) for edge in (94, 96)]
    boxes, _, _ = merge(*found)
    np.testing.assert_allclose(sorted(boxes[:, 3]), [94, 96])


def test_classes_are_apart_unless_suppression_is_among_all():
    found = [(0, [10, 82, 30, 95], 0.9, 0), (1, [10, 82, 30, 95], 0.8, 1)]
    assert merge(*found)[2].tolist() == [0, 1]
    assert merge(*found, class_agnostic=True)[2].tolist() == [0]


def test_the_whole_image_finds_what_is_larger_than_a_tile():
    tiling = Tiling(height=100, width=100, overlap=0.2, whole=True)
    found = [(4, [5, 5, 175, 175], 0.4, 0), (0, [5, 5, 100, 100], 0.9, 0),
             (3, [80, 80, 175, 175], 0.8, 0), (0, [30, 30, 40, 40], 0.3, 0)]  # fmt: skip
    boxes, scores, _ = merge(*found, tiling=tiling)
    np.testing.assert_allclose(boxes, [[5, 5, 175, 175], [30, 30, 40, 40]])
    np.testing.assert_allclose(scores, [0.9, 0.3])


def test_nothing_found_is_nothing():
    nothing = np.zeros(0, int)
    boxes, scores, labels = merge_tiles(
        tiles_of(SIZE, TILING), nothing, np.zeros((0, 4)), np.zeros(0), nothing, TILING
    )
    assert (boxes.shape, len(scores), len(labels)) == ((0, 4), 0, 0)


HALF = Tiling(height=100, width=100, overlap=0.5)


def test_what_a_tile_saw_beside_a_joined_object_is_no_second_one():
    # Tile 0 saw one object as two boxes that its own suppression kept apart.
    boxes, scores, _ = merge(
        (0, [20, 55, 60, 95], 0.5, 0),
        (0, [20, 39, 60, 79], 0.4, 0),
        (1, [20, 53, 60, 93], 0.9, 0),
        tiling=HALF,
        size=(100, 150),
    )
    np.testing.assert_array_equal(boxes, [[20, 53, 60, 93]])
    assert scores == [0.9]


def test_what_the_suppression_of_a_tile_left_stays():
    boxes, _, _ = merge(
        (0, [20, 10, 60, 50], 0.9, 0),
        (0, [20, 22, 60, 62], 0.8, 0),
        tiling=HALF,
        size=(100, 150),
    )
    assert len(boxes) == 2


def test_doubles_of_another_class_stay_unless_classes_do_not_count():
    found = [
        (0, [20, 55, 60, 95], 0.5, 0),
        (0, [20, 39, 60, 79], 0.4, 1),
        (1, [20, 53, 60, 93], 0.9, 0),
    ]
    options = {"tiling": HALF, "size": (100, 150)}
    assert len(merge(*found, **options)[0]) == 2
    assert len(merge(*found, **options, class_agnostic=True)[0]) == 1
