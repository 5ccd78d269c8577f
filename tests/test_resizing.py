"""Images are resized in one way, to the bit."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.errors import UserError
from ssd_keras.resizing import (
    FILL,
    WAYS,
    boxes_in_image,
    boxes_on_canvas,
    check_way,
    fit_size,
    place_on_canvas,
    resize,
    way_of,
)
from ssd_keras.tensor_resizing import place_tensor, resize_tensor

SIZES = [
    ((7, 5), (7, 5)),
    ((7, 5), (14, 15)),
    ((40, 31), (9, 16)),
    ((1, 1), (3, 4)),
    ((333, 500), (300, 300)),
    ((3024, 4032), (512, 512)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_and_tensorflow_resize_to_the_same_bits(before, after, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(dtype)
    wanted = tf.image.resize(image.astype("float32"), after, "bilinear", antialias=False)
    found, tensor = resize(image, after), resize_tensor(image, after)
    assert found.dtype == tensor.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(tensor, wanted)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_corners_are_sampled_as_tensorflow_1_does_to_the_same_bits(before, after):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3)).astype(np.uint8)
    wanted = tf.compat.v1.image.resize_bilinear(image[None], after)[0]
    np.testing.assert_array_equal(resize(image, after, "corner"), wanted)
    np.testing.assert_array_equal(resize_tensor(image, after, "corner"), wanted)


def test_corners_are_at_whole_pixels():
    image = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 1, 3), np.uint8) * 10
    assert resize(image, (2, 1), "corner")[:, 0, 0].tolist() == [0, 20]
    assert resize(image, (2, 1))[:, 0, 0].tolist() == [5, 25]
    assert resize(image, (8, 1), "corner")[:, 0, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 30]


def test_an_unknown_way_is_refused():
    with pytest.raises(UserError, match=r"no way of resizing 'corners'.*mean 'corner'"):
        check_way("corners")


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_resized_image_by_image(way):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)
    together = resize_tensor(images, (16, 16), way)
    np.testing.assert_array_equal(together, [resize(image, (16, 16), way) for image in images])


# === Letterbox ===


@pytest.mark.parametrize(
    ("size", "canvas", "place"),
    [
        ((100, 200), (300, 300), (75, 0, 150, 300)),
        ((200, 100), (300, 300), (0, 75, 300, 150)),
        ((50, 50), (192, 320), (0, 64, 192, 192)),
        ((1080, 1920), (192, 320), (6, 0, 180, 320)),
        # 33.5 rows are 34, and the 33 left are 16 above and 17 below.
        ((67, 134), (67, 67), (16, 0, 34, 67)),
        # A strip of a thousandth keeps one row.
        ((1, 5000), (300, 300), (149, 0, 1, 300)),
    ],
)
def test_the_place_of_a_picture_on_the_canvas(size, canvas, place):
    assert place_on_canvas(size, canvas, "letterbox") == place
    assert place_on_canvas(size, canvas, "half_pixel") == (0, 0, *canvas)
    start, inside = place_tensor(tf.constant(size), canvas)
    assert (*start.numpy(), *inside.numpy()) == place


def test_tensors_and_numbers_agree_on_the_place_of_any_picture():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6000, (4000, 2))
    for canvas in ((300, 300), (192, 320), (321, 97)):
        start, inside = place_tensor(tf.constant(sizes, tf.int32), canvas)
        found = np.concatenate([start, inside], 1)
        wanted = [place_on_canvas(tuple(size.tolist()), canvas, "letterbox") for size in sizes]
        np.testing.assert_array_equal(found, wanted)


def test_the_rule_of_fitting_is_exact_where_half_a_pixel_is_met():
    for width in range(1, 400):
        for height in (1, 7, 67, 133):
            exact = (2 * height * 67 + width) // (2 * width)
            assert fit_size((height, width), (67, 67))[0] == max(1, min(67, exact))


def test_a_letterbox_is_the_stretched_picture_between_edges():
    image = np.random.default_rng(0).integers(0, 256, (30, 90, 3)).astype(np.uint8)
    found = resize(image, (40, 60), "letterbox")
    np.testing.assert_array_equal(found[10:30], resize(image, (20, 60)))
    edges = np.concatenate([found[:10], found[30:]])
    np.testing.assert_array_equal(edges, np.broadcast_to(np.float32(FILL), edges.shape))


def test_boxes_go_onto_the_canvas_and_back():
    box = np.float32([[0.0, 0.5, 1.0, 1.0]])
    laid = boxes_on_canvas(box, (100, 200), (300, 300), "letterbox")
    np.testing.assert_allclose(laid, [[0.25, 0.5, 0.75, 1.0]])
    np.testing.assert_allclose(boxes_in_image(laid, (100, 200), (300, 300), "letterbox"), box)
    whole = boxes_in_image(np.float32([[0, 0, 1, 1]]), (100, 200), (300, 300), "letterbox")
    np.testing.assert_array_equal(whole, [[0, 0, 1, 1]])
    for change in (boxes_on_canvas, boxes_in_image):
        assert change(box, (100, 200), (300, 300), "half_pixel") is box


def test_a_choice_is_a_way():
    assert (way_of("stretch"), way_of("letterbox")) == ("half_pixel", "letterbox")
    with pytest.raises(UserError, match=r"no way of resizing 'leterbox'.*mean 'letterbox'"):
        way_of("leterbox")
