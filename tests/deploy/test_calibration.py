"""Which images an int8 file is calibrated with."""

import dataclasses

import keras
import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.commands._calibration import count_shared
from ssd_keras.data.tiled import TiledSource
from ssd_keras.deploy.calibration import Calibration, calibration_images
from ssd_keras.errors import UserError


@pytest.mark.parametrize(
    ("available", "count", "chosen"),
    [(6, 3, [0, 2, 4]), (5, 2, [0, 2]), (3, 10, [0, 1, 2])],
    ids=["evenly", "rounded down", "no more than there are"],
)
def test_images_are_spread_evenly(available, count, chosen):
    source = data.load_source(f"shapes#train,count={available},size=64")
    images = calibration_images(source, count)
    assert list(images) == [source.ground_truth()[index].image_id for index in chosen]
    for image, index in zip(images.values(), chosen, strict=True):
        np.testing.assert_array_equal(image, source.image(index))


def test_a_name_that_occurs_twice_names_two_images():
    source = data.load_source("shapes#train,count=2,size=64")
    twice = data.Source("", source.classes, [source.ground_truth()[0]] * 2)
    twice.image = source.image
    images = list(calibration_images(twice, 2).values())
    assert len(images) == 2
    for index, image in enumerate(images):
        np.testing.assert_array_equal(image, source.image(index))


def source_of(spec: str, *paths: str | None) -> data.Source:
    truth = [data.GroundTruth(f"{n}", 8, 8, [], [], path=path) for n, path in enumerate(paths)]
    return data.Source(spec, ("cat",), truth)


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        (("voc:a", "a/1.jpg", "a/2.jpg"), ("yolo:a", "a/2.jpg", "a/3.jpg"), 1),
        (("voc:a", "a/1.jpg"), ("voc:b", "a/../a/1.jpg"), 1),
        (("voc:a", "a/1.jpg"), ("voc:b", "b/1.jpg"), 0),
        (("tfrecord:a", None, None), ("tfrecord:a", None, None), 2),
        (("tfrecord:a", None, None), ("tfrecord:b", None, None), 0),
    ],
    ids=["a file", "a file by another path", "none", "the same SPEC", "records"],
)
def test_images_that_two_sources_share_are_counted(ours, theirs, shared):
    assert count_shared(source_of(*ours), source_of(*theirs)) == shared


def brightness_network() -> keras.Model:
    image = keras.Input((4, 4, 3))
    return keras.Model(image, {"classes": keras.layers.GlobalAveragePooling2D()(image)})


def calibration(levels: list[int]) -> Calibration:
    images = {f"{i}.jpg": np.full((4, 4, 3), level, np.uint8) for i, level in enumerate(levels)}
    return Calibration(images, (4, 4))


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([60, 180], [[0, 60, 255], [180]]),
        ([0, 180], [[0, 255], [180]]),
        ([60, 255], [[0, 60, 255], [255]]),
        ([60, 0, 255], [[60], [0], [255]]),
    ],
    ids=["dull", "never bright", "never dark", "of the whole range"],
)
def test_what_the_converter_is_shown_reaches_from_black_to_white(levels, expected):
    images = calibration(levels)
    shown = list(images.with_whole_range())
    assert [list(np.unique(image)) for image in shown] == expected
    assert np.sum(shown[0] != levels[0]) <= 2 * 3
    assert [list(np.unique(image)) for image in images] == [[level] for level in levels]


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        ([10, 11, 12, 99], {}),
        ([10, 10, 200, 10, 250], {"4.jpg": 25.0, "2.jpg": 20.0}),
        ([250, 240, 255, 10], {}),
    ],
    ids=["usual", "explosions, worst first", "always large"],
)
def test_images_on_which_the_network_explodes_are_found(levels, found):
    explosions = calibration(levels).explosions(brightness_network())
    assert list(explosions.items()) == list(found.items())


def test_outputs_that_are_no_numbers_are_an_explosion():
    def network(images, training):
        means = images.mean((1, 2))
        return {"classes": np.where(means > 100, np.nan, means)}

    assert list(calibration([10, 11, 200, 12]).explosions(network)) == ["2.jpg"]


def test_without_some_the_others_stay():
    images = calibration([10, 11, 200, 12])
    rest = images.without(["2.jpg"])
    assert [int(image[0, 0, 0, 0]) for image in rest] == [10, 11, 12]
    assert len(images) == 4


def test_some_are_spread_evenly():
    found = calibration(list(range(10, 20))).some(4)
    assert [int(image[0, 0, 0, 0]) for image in found] == [10, 13, 16, 19]


def test_a_wrong_shape_is_named():
    with pytest.raises(UserError, match=r"but b.jpg is \(4, 4\)"):
        Calibration({"a.jpg": np.full((4, 4, 3), 9), "b.jpg": np.full((4, 4), 9)}, (4, 4))


@pytest.mark.parametrize(("way", "first"), [("half_pixel", 50), ("corner", 0)])
def test_images_are_resized_in_the_detectors_way(way, first):
    (smaller,) = Calibration([np.tile(np.uint8([[[0], [100]]]), (1, 1, 3))], (1, 1), way)
    assert smaller[0, 0, 0, 0] == first


TILING = Tiling(height=40, width=40, overlap=0.0)


def test_a_detector_of_tiles_is_calibrated_with_tiles_most_of_which_have_objects():
    source = data.load_source("shapes#train,count=6,size=160")
    images = calibration_images(source, 50, TILING)
    assert {image.shape for image in images.values()} == {(40, 40, 3)}
    tiles = TiledSource(source, TILING)
    assert len(images) == min(50, len(tiles)) > 6
    empty = {one.image_id for one in tiles.ground_truth() if not one.is_object.any()}
    assert len(empty & set(images)) <= 0.25 * len(images)


@pytest.mark.parametrize(
    ("count", "way", "each"), [(1, "half_pixel", 6), (100, "half_pixel", 2), (400, "letterbox", 1)]
)
def test_larger_images_that_are_given_are_cut_each_time_elsewhere(count, way, each):
    image = np.arange(80 * 120).reshape(80, 120, 1).repeat(3, 2) % 251
    calibration = Calibration([image.astype(np.uint8)] * count, (40, 40), way, TILING)
    assert len(calibration) == count * each
    seen = {one.tobytes() for one in calibration}
    wanted = [image[y : y + 40, x : x + 40] for y in (0, 40) for x in (0, 40, 80)]
    assert seen == {one[None].astype(np.float32).tobytes() for one in wanted}


def test_whole_images_among_the_tiles_stay_whole():
    tiling = dataclasses.replace(TILING, whole=True)
    images = calibration_images(data.load_source("shapes#train,count=3,size=80"), 50, tiling)
    sizes = [image.shape[:2] for image in images.values()]
    assert sizes.count((80, 80)) == 3
    assert Calibration(images, (40, 40), tiling=tiling)._images.keys() == set(images)


def test_images_that_are_no_larger_than_a_tile_stay():
    image = np.full((40, 30, 3), 9, np.uint8)
    assert Calibration({"a": image}, (40, 40), tiling=TILING)._images.keys() == {"a"}
