"""Which images an int8 file is calibrated with."""

import warnings

import keras
import numpy as np
import pytest

from ssd_keras import data
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
    assert len(list(calibration_images(twice, 2).values())) == 2


def brightness_network() -> keras.Model:
    image = keras.Input((4, 4, 3))
    return keras.Model(image, {"classes": keras.layers.GlobalAveragePooling2D()(image)})


def calibration(levels: list[int]) -> Calibration:
    images = {f"{i}.jpg": np.full((4, 4, 3), level, np.uint8) for i, level in enumerate(levels)}
    return Calibration(images, (4, 4))


@pytest.mark.parametrize(
    ("levels", "kept"),
    [
        ([10, 11, 12, 99], [10, 11, 12, 99]),
        ([10, 11, 200, 12, 250], [10, 11, 12]),
        ([250, 240, 255, 10], [250, 240, 255, 10]),
    ],
    ids=["usual", "explosions", "always large"],
)
def test_images_on_which_the_network_explodes_are_left_out(levels, kept):
    images = calibration(levels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images.leave_out_explosions(brightness_network())
    assert [int(image[0, 0, 0, 0]) for image in images] == kept


def test_an_image_whose_outputs_are_no_numbers_is_left_out():
    def network(images, training):
        means = images.mean((1, 2))
        return {"classes": np.where(means > 100, np.nan, means)}

    images = calibration([10, 11, 200, 12])
    with pytest.warns(UserWarning, match=r"2.jpg \(nan times\)"):
        images.leave_out_explosions(network)
    assert len(images) == 3


def test_images_left_out_are_counted_and_named_worst_first():
    message = r"2 of 5 calibration images .* 4.jpg \(25 times\), 2.jpg \(20 times\)"
    with pytest.warns(UserWarning, match=message):
        calibration([10, 10, 200, 10, 250]).leave_out_explosions(brightness_network())


def test_nothing_is_said_where_nothing_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibration([10, 11, 12, 99]).leave_out_explosions(brightness_network())


def test_some_are_spread_evenly():
    found = calibration(list(range(10, 20))).some(4)
    assert [int(image[0, 0, 0, 0]) for image in found] == [10, 13, 16, 19]


def test_a_wrong_shape_is_named():
    with pytest.raises(UserError, match=r"but b.jpg is \(4, 4\)"):
        Calibration({"a.jpg": np.full((4, 4, 3), 9), "b.jpg": np.full((4, 4), 9)}, (4, 4))
