"""Where tiles lie, and what of the objects they show."""

import numpy as np
import pytest

from ssd_keras.boxes import tiles
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.errors import UserError


def tiling(side=100, **values) -> Tiling:
    return Tiling(**({"height": side, "width": side, "overlap": 0.2} | values))


@pytest.mark.parametrize(
    ("size", "starts"),
    [
        ((50, 50), [0]),
        ((100, 100), [0]),
        ((100, 101), [0, 1]),
        ((100, 180), [0, 80]),
        ((100, 181), [0, 80, 81]),
        ((90, 300), [0, 80, 160, 200]),
    ],
)
def test_the_last_tile_is_moved_inwards(size, starts):
    found = tiles.tiles_of(size, tiling())
    assert found[:, 1].tolist() == starts
    assert (found[:, 3] - found[:, 1] == min(100, size[1])).all()
    assert (found[:, [0, 2]] == [0, min(100, size[0])]).all()


def test_every_pixel_is_on_a_tile_and_neighbours_overlap_as_they_should():
    found = tiles.tiles_of((333, 451), Tiling(height=64, width=96, overlap=0.25))
    seen = np.zeros((333, 451), int)
    for top, left, bottom, right in found:
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    assert np.diff(np.unique(found[:, 0])).max() == 48
    assert np.diff(np.unique(found[:, 1])).max() == 72


def test_the_whole_image_is_the_last_tile_where_there_are_several():
    assert tiles.tiles_of((150, 100), tiling(whole=True))[-1].tolist() == [0, 0, 150, 100]
    assert len(tiles.tiles_of((100, 100), tiling(whole=True))) == 1


def test_more_tiles_than_anybody_waits_for_are_refused():
    with pytest.raises(UserError, match="more than 1,048,576: take larger tiles"):
        tiles.tiles_of((1 << 31, 1 << 31), tiling())


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"height": 8}, "height of a tile"),
        ({"width": 1e9}, "width of a tile"),
        ({"overlap": 0.9}, "overlap of tiles"),
        ({"overlap": float("nan")}, "overlap of tiles"),
        ({"margin": -1}, "margin of tiles"),
        ({"iou_threshold": 0}, "iou_threshold"),
        ({"smaller_threshold": "a"}, "smaller_threshold"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, fault):
    with pytest.raises(UserError, match=fault):
        tiling(**values)


@pytest.mark.parametrize(
    ("text", "size"), [("512", (512, 512)), (64, (64, 64)), ("384x640", (384, 640))]
)
def test_sizes_are_read_height_first(text, size):
    assert tiles.tile_size(text) == size


@pytest.mark.parametrize("text", ["", "512px", "-3", "1x2x3", "auto"])
def test_other_sizes_are_refused(text):
    with pytest.raises(UserError, match="512 or 384x640"):
        tiles.tile_size(text)


def test_shares_of_objects_that_tiles_show():
    shown = np.array([[0, 0, 100, 100], [0, 80, 100, 180]])
    boxes = [[10, 10, 20, 20], [10, 70, 20, 110], [0, 90, 10, 90], [200, 0, 210, 10]]
    shares = tiles.visible_shares(boxes, shown)
    np.testing.assert_allclose(shares, [[1, 0.75, 0, 0], [0, 0.75, 0, 0]])


def test_what_no_tile_shows_enough_of_is_taught_by_the_best_one():
    shares = np.array([[0.4, 0.9, 0.0, 0.3], [0.4, 0.6, 0.0, 0.31]])
    enough = tiles.seen_enough(shares, 0.5)
    assert enough.tolist() == [[True, True, False, False], [False, True, False, True]]


def test_parts_are_shares_of_the_tile():
    part = tiles.parts_on_tile([[90, 150, 130, 400]], [80, 100, 180, 300])
    np.testing.assert_allclose(part, [[0.1, 0.25, 0.5, 1.0]])
    assert part.dtype == np.float32
