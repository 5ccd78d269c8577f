"""The SSD chain: colours as other implementations give them, boxes that stay on their objects."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.data import augmentation as augment
from ssd_keras.data import draws
from ssd_keras.resizing import boxes_on_canvas, resize


@pytest.fixture(scope="module")
def vectors(shared):
    return np.load(shared("vectors/aug.npz"))


def neutral(**changes):
    draw = draws.draw_none(None, None, None, None)
    return draw | {name: tf.constant(value) for name, value in changes.items()}


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("brightness_plus20", {"brightness": 20.0}),
        ("contrast_1p3", {"contrast": 1.3}),
        ("sat_0p6_rgb", {"saturation": 0.6}),
        ("hue_plus15deg_rgb", {"hue": 15.0}),
        ("hue_minus15deg_rgb", {"hue": -15.0}),
        (
            "photometric_contrast_first",
            {
                "brightness": 20.0,
                "contrast": 1.3,
                "saturation": 0.6,
                "hue": 15.0,
                "contrast_first": True,
            },
        ),
        (
            "photometric_contrast_last",
            {
                "brightness": 20.0,
                "contrast": 1.3,
                "saturation": 0.6,
                "hue": 15.0,
                "contrast_first": False,
            },
        ),
    ],
)
def test_colours_equal_the_reference(vectors, key, changes):
    image = vectors["image_u8"].astype(np.float32)
    result = augment.distort(image, neutral(**changes))
    np.testing.assert_allclose(result, vectors[key], atol=5e-4)


def test_saturation_is_limited_to_full():
    image = tf.constant([[[200.0, 100.0, 50.0]]])  # saturation 0.75
    result = augment.adjust_saturation(image, tf.constant(1.5))
    np.testing.assert_allclose(result[0, 0], [200.0, 200 / 3, 0.0], atol=1e-3)


def test_mirror_equals_the_reference(vectors):
    image = vectors["image_u8"]
    scale = np.array([120, 160, 120, 160], np.float32)
    boxes = (vectors["boxes"] / scale)[:, [1, 0, 3, 2]]
    flipped, moved = augment.mirror(image, tf.constant(boxes))
    np.testing.assert_array_equal(flipped, vectors["mirror_image"])
    expected = (vectors["mirror_boxes"] / scale)[:, [1, 0, 3, 2]]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_crop_keeps_the_boxes_the_reference_keeps(vectors):
    scale = np.array([120, 160, 120, 160], np.float32)
    boxes = (vectors["boxes"] / scale)[:, [1, 0, 3, 2]]
    # The reference cuts at whole pixels: left 12, top 30.
    window = tf.constant([30 / 160, 12 / 120, 130 / 160, 92 / 120])
    result, labels = augment.transform_boxes(boxes, vectors["labels"], window)
    np.testing.assert_array_equal(labels, vectors["crop_labels"])
    expected = vectors["crop_boxes"][:, [1, 0, 3, 2]] / [100, 80, 100, 80]
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_crop_takes_the_pixels_of_the_reference(vectors):
    window = tf.constant([30 / 160, 12 / 120, 130 / 160, 92 / 120])
    place = augment.placement(tf.constant([160, 120]), window, (100, 80))
    result = augment.sample(tf.constant(vectors["image_u8"]), place, tf.constant(0))
    np.testing.assert_allclose(result, vectors["crop_iou0.1_w80_h100_l12.4_t30.6_image"], atol=1e-3)


def test_plain_resize_equals_the_reference(vectors):
    image, _, _ = augment.apply(
        tf.constant(vectors["image_u8"]),
        tf.zeros([0, 4]),
        tf.zeros([0], tf.int32),
        neutral(),
        (300, 300),
    )
    np.testing.assert_allclose(image, vectors["resize300_bilinear_float"], atol=1e-2)


def test_expansion_equals_the_reference(vectors):
    """Ratio 2.3 with the image at row 99, column 41 of a canvas filled with the mean."""
    window = tf.constant([-99 / 160, -41 / 120, (368 - 99) / 160, (276 - 41) / 120])
    place = augment.placement(tf.constant([160, 120]), window, (368, 276))
    picture = augment.sample(tf.constant(vectors["image_u8"]), place, tf.constant(0))
    result = augment.lay_on_fill(picture, place, (368, 276)).numpy()
    expected = vectors["expand_r2.3_l41.7_t99.2_image"]
    inside = np.zeros((368, 276), bool)
    inside[99:259, 41:161] = True
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-3)
    np.testing.assert_array_equal(
        result[~inside], np.broadcast_to(augment.FILL, result.shape)[~inside]
    )


@tf.function(autograph=False)
def _draw_many(seeds, boxes):
    return tf.map_fn(
        lambda seed: draws.draw_ssd(seed, boxes, 375, 500),
        seeds,
        fn_output_signature={
            "brightness": tf.float32,
            "contrast": tf.float32,
            "saturation": tf.float32,
            "hue": tf.float32,
            "contrast_first": tf.bool,
            "window": tf.float32,
            "flip": tf.bool,
            "interpolation": tf.int32,
        },
        parallel_iterations=1,
    )


@pytest.fixture(scope="module")
def many():
    boxes = tf.constant([[0.1, 0.2, 0.5, 0.4], [0.5, 0.5, 0.53, 0.56], [0.0, 0.0, 1.0, 1.0]])
    seeds = tf.stack([tf.range(4_000), tf.zeros([4_000], tf.int32) + 3], 1)
    return {name: value.numpy() for name, value in _draw_many(seeds, boxes).items()}


@pytest.mark.parametrize(
    ("name", "neutral_value", "low", "high"),
    [
        ("brightness", 0.0, -32, 32),
        ("contrast", 1.0, 0.5, 1.5),
        ("saturation", 1.0, 0.5, 1.5),
        ("hue", 0.0, -36, 36),
    ],
)
def test_colour_draws_fill_their_range_half_the_time(many, name, neutral_value, low, high):
    values = many[name]
    assert abs((values == neutral_value).mean() - 0.5) < 0.03
    assert values.min() == pytest.approx(low, abs=0.02 * (high - low))
    assert values.max() == pytest.approx(high, abs=0.02 * (high - low))


def test_four_thousand_draws_give_sound_windows(many):
    window = many["window"]
    side = window[:, 2:] - window[:, :2]
    assert np.isfinite(window).all()
    assert side.min() > 0.2
    assert side.max() <= 4.01


def test_draws_flip_half_and_use_every_interpolation(many):
    assert abs(many["flip"].mean() - 0.5) < 0.03
    shares = np.bincount(many["interpolation"], minlength=5) / len(many["flip"])
    np.testing.assert_allclose(shares, 0.2, atol=0.02)


def test_random_regions_keep_scale_and_ratio():
    u = tf.random.stateless_uniform([4, 10_000], [1, 2])
    region = draws.random_regions(u).numpy()
    height, width = region[:, 2] - region[:, 0], region[:, 3] - region[:, 1]
    assert region.min() >= 0
    assert region.max() <= 1 + 1e-6
    scale = np.sqrt(height * width)
    assert scale.min() >= 0.3 - 1e-5
    ratio = width / height
    assert ratio.min() >= 0.5 - 1e-4
    assert ratio.max() <= 2 + 1e-4


@pytest.mark.parametrize(
    "limit", [0.1, *(pytest.param(x, marks=pytest.mark.slow) for x in (0.3, 0.5, 0.7)), 0.9]
)
def test_a_crop_meets_its_constraint(limit, monkeypatch):
    monkeypatch.setattr(draws, "MIN_IOUS", (limit,))
    boxes = np.array([[0.2, 0.2, 0.8, 0.8]], np.float32)
    for seed in range(60):
        region = draws.draw_crop([seed, 1], tf.constant(boxes), tf.constant(0.9)).numpy()
        whole = np.array_equal(region, [0, 0, 1, 1])
        assert whole or _best_iou(region, boxes) >= limit - 1e-5


def test_an_image_without_objects_is_never_cropped():
    region = draws.draw_crop([3, 1], tf.zeros([0, 4]), tf.constant(0.99))
    np.testing.assert_array_equal(region, [0, 0, 1, 1])


def _best_iou(region, boxes):
    low, high = np.maximum(region[:2], boxes[:, :2]), np.minimum(region[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), 1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1) + np.prod(region[2:] - region[:2])
    return (common / (areas - common)).max()


COLOURS = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [250, 250, 10]], np.uint8)


def painted(rng, height, width):
    """An image of grey with four boxes, each in a colour of its own, and the boxes."""
    image = np.full((height, width, 3), 128, np.uint8)
    boxes = []
    for quarter, colour in enumerate(COLOURS):
        top, left = (quarter // 2) * height // 2, (quarter % 2) * width // 2
        y = np.sort(rng.choice(height // 2 - 4, 2, replace=False)) + top + 2
        x = np.sort(rng.choice(width // 2 - 4, 2, replace=False)) + left + 2
        y[1], x[1] = max(y[1], y[0] + 20), max(x[1], x[0] + 20)
        y[1], x[1] = min(y[1], top + height // 2), min(x[1], left + width // 2)
        image[y[0] : y[1], x[0] : x[1]] = colour
        boxes.append([y[0] / height, x[0] / width, y[1] / height, x[1] / width])
    return image, np.array(boxes, np.float32)


@pytest.mark.parametrize("draw_of", [draws.draw_ssd, draws.draw_light])
def test_boxes_stay_on_their_colour(draw_of):
    rng = np.random.default_rng(0)
    size = (160, 200)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([4, 4], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def change(image, boxes, seed):
        shape = tf.shape(image)
        draw = draw_of(seed, boxes, shape[0], shape[1])
        # Colours are told apart by their paint here, so only the geometry may change.
        plain = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
        draw |= {name: tf.constant(value) for name, value in plain.items()}
        return augment.apply(image, boxes, tf.range(4), draw, size)

    checked = 0
    for seed in range(75):
        image, boxes = painted(rng, *rng.integers(120, 400, 2))
        picture, moved, labels = (x.numpy() for x in change(image, boxes, [seed, 7]))
        assert picture.shape == (*size, 3)
        for box, label in zip(moved, labels, strict=True):
            y0, x0, y1, x1 = box * np.array([*size, *size])
            assert y1 > y0
            assert x1 > x0
            near = np.abs(picture - COLOURS[label].astype(np.float32)).max(-1) < 60
            rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
            if min(y1 - y0, x1 - x0) < 4:
                continue
            checked += 1
            found = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            np.testing.assert_allclose(found, [y0, x0, y1, x1], atol=2.1)
    assert checked > 75


@pytest.mark.parametrize("interpolation", range(5), ids=draws.INTERPOLATIONS)
def test_every_interpolation_keeps_the_place(interpolation):
    """A ramp stays a ramp: resizing must neither shift nor stretch."""
    ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (120, 1, 3))
    place = augment.placement(tf.constant([120, 200]), tf.constant([0.0, 0.0, 1.0, 1.0]), (60, 100))
    result = augment.sample(tf.constant(ramp), place, tf.constant(interpolation)).numpy()
    expected = np.arange(100) * 2 + 0.5
    np.testing.assert_allclose(result[30, 5:-5, 0], expected[5:-5], atol=0.76)


@pytest.mark.parametrize("size", [(1, 1), (30, 50), (90, 40), (300, 7)])
def test_lanczos_in_two_steps_changes_no_bit(size):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    place = {
        "source": tf.constant([2, 3, 40, 55]),
        "target": tf.constant([5, 6, 5 + size[0], 6 + size[1]]),
    }
    at_once = tf.raw_ops.ScaleAndTranslate(
        images=image[None, 2:40, 3:55],
        size=size,
        scale=np.float32(size) / np.float32([38, 52]),
        translation=tf.zeros([2]),
        kernel_type="lanczos3",
        antialias=False,
    )
    result = augment.sample(
        tf.constant(image), place, tf.constant(draws.INTERPOLATIONS.index("lanczos"))
    )
    np.testing.assert_array_equal(result, at_once[0])


def test_mosaic_puts_boxes_into_their_quarters():
    pictures = [
        (tf.fill([4, 6, 3], float(i)), tf.constant([[0.0, 0.5, 1.0, 1.0]]), tf.constant([i]))
        for i in range(4)
    ]
    image, boxes, labels = augment.mosaic(pictures)
    np.testing.assert_array_equal(image[::4, ::6, 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(labels, range(4))
    np.testing.assert_allclose(boxes[3], [0.5, 0.75, 1.0, 1.0])


# A window that is wider than the result shows more above and below, and the fill beyond the image.
LETTERBOXED = [
    # An image of 100 x 200, whole, on 300 x 300.
    ((0.0, 0.0, 1.0, 1.0), (75, 0, 225, 300), (-0.5, 0.0, 1.5, 1.0)),
    # Its upper left quarter: 50 x 100 pixels grow to 100 x 100, of which 75 rows are in the image.
    ((0.0, 0.0, 0.5, 0.5), (75, 0, 300, 300), (-0.25, 0.0, 0.75, 0.5)),
    # The middle of it: all that it grows to is in the image.
    ((0.25, 0.25, 0.75, 0.75), (0, 0, 300, 300), (0.0, 0.25, 1.0, 0.75)),
]


@pytest.mark.parametrize(("window", "target", "grown"), LETTERBOXED)
def test_the_window_of_a_letterbox_grows_to_the_shape_of_the_result(window, target, grown):
    place = augment.placement(tf.constant([100, 200]), tf.constant(window), (300, 300), "letterbox")
    np.testing.assert_array_equal(place["target"], target)
    np.testing.assert_allclose(place["window"], grown, atol=1e-6)


@pytest.mark.parametrize("size", [(100, 200), (67, 134), (333, 500), (1080, 1920), (7, 300)])
@pytest.mark.parametrize("canvas", [(300, 300), (192, 320), (67, 67)])
def test_a_whole_image_is_letterboxed_in_training_as_in_detection(size, canvas):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    box = np.float32([[0.1, 0.2, 0.5, 0.9]])
    found, boxes, _ = augment.apply(
        tf.constant(image),
        tf.constant(box),
        tf.constant([0]),
        neutral(),
        canvas,
        resize="letterbox",
    )
    np.testing.assert_allclose(found, resize(image, canvas, "letterbox"), atol=1e-3)
    np.testing.assert_allclose(boxes, boxes_on_canvas(box, size, canvas, "letterbox"), atol=1e-6)


# --- scale jitter


def test_a_scale_is_uniform_and_the_place_of_the_picture_too():
    amount, window = 0.5, tf.constant([0.1, 0.2, 0.9, 0.8])
    drawn = np.array([draws.draw_scale((3, seed), window, amount)["window"] for seed in range(400)])
    spans = (drawn[:, 2:] - drawn[:, :2]) / [0.8, 0.6]
    np.testing.assert_allclose(spans[:, 0], spans[:, 1], rtol=1e-5)
    factor = 1 / spans[:, 0]
    assert 0.5 <= factor.min() < 0.55
    assert 1.45 < factor.max() <= 1.5
    assert abs(factor.mean() - 1) < 0.05
    larger, smaller = drawn[factor > 1], drawn[factor < 1]
    # Shown larger, the window lies in the old one; shown smaller, around it.
    edges = np.array([0.1, 0.2, 0.9, 0.8])
    signs = np.array([1, 1, -1, -1])
    assert ((larger - edges) * signs >= -1e-6).all()
    assert ((smaller - edges) * signs <= 1e-6).all()


def test_no_jitter_is_the_window_itself():
    window = tf.constant([0.1, 0.2, 0.9, 0.8])
    drawn = draws.draw_scale((1, 2), window, 0.0)["window"]
    np.testing.assert_allclose(drawn, window, rtol=1e-6)
