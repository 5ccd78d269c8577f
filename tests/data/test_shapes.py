"""Drawn pictures: the same every time, with boxes tight to what is drawn."""

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import shape_painting, shapes


def test_a_picture_is_a_function_of_its_seed():
    first, second = shapes.draw((1, 2)), shapes.draw((1, 2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], shapes.draw((1, 3))[0])


def test_ground_truth_is_what_is_drawn():
    source = data.load_source("shapes#val,count=5")
    for index, truth in enumerate(source.ground_truth()):
        image, boxes, labels = shapes.draw(shapes._seed("val", index))
        np.testing.assert_array_equal(image, source.image(index))
        assert image.shape == (300, 300, 3)
        np.testing.assert_array_equal(boxes, truth.boxes)
        np.testing.assert_array_equal(labels, truth.labels)


def test_splits_differ():
    train, val = (data.load_source(f"shapes#{name}") for name in ("train", "val"))
    assert (len(train), len(val)) == (2000, 300)
    assert not np.array_equal(train.image(0), val.image(0))


@pytest.fixture(scope="module")
def truth():
    return data.load_source("shapes#test,count=150").ground_truth()


def test_sizes_reach_from_12_pixels_to_most_of_the_image(truth):
    boxes = np.concatenate([t.boxes for t in truth])
    side = (boxes[:, 2:] - boxes[:, :2]).max(1) * 300
    assert side.min() < 16
    assert side.max() > 200
    assert 25 < np.median(side) < 80


def test_classes_are_even_and_images_hold_one_to_eight(truth):
    counts = np.bincount(np.concatenate([t.labels for t in truth]), minlength=len(shapes.CLASSES))
    assert counts.min() > 0.6 * counts.mean()
    objects = [len(t) for t in truth]
    assert min(objects) >= 1
    assert max(objects) == 8


def test_boxes_are_tight_to_visible_pixels():
    for seed in range(40):
        layout = shapes._layout(np.random.default_rng(seed), 300)
        boxes, _ = shapes._visible_boxes(layout, 300)
        for index, box in enumerate(np.round(boxes * 300).astype(int)):
            mask = layout.owner == index
            ymin, xmin, ymax, xmax = box
            assert mask[ymin:ymax, xmin:xmax].sum() == mask.sum()
            assert mask[ymin].any()
            assert mask[ymax - 1].any()
            assert mask[:, xmin].any()
            assert mask[:, xmax - 1].any()


def test_no_object_is_mostly_hidden():
    for seed in range(40):
        layout = shapes._layout(np.random.default_rng(seed), 300)
        for index, shape in enumerate(layout.shapes):
            drawn = (shape.alpha >= 0.5).sum()
            assert (layout.owner == index).sum() >= shapes.LEAST_VISIBLE * drawn


def test_an_object_differs_from_its_surroundings_on_its_own_pixels():
    """Every object can be seen: its pixels change the picture."""
    rng = np.random.default_rng(3)
    for seed in range(30):
        layout = shapes._layout(np.random.default_rng(seed), 300)
        image = shape_painting.background(rng, 300)
        for shape in layout.shapes:
            h, w = shape.alpha.shape
            patch = image[shape.top : shape.top + h, shape.left : shape.left + w]
            around = patch.mean((0, 1))
            shape_painting.paint(rng, image, shape)
            inside = shape.alpha > 0.9
            if inside.sum() > 20:
                change = np.abs(patch[inside].mean(0) - around).max()
                assert change > 12


def test_colour_tells_nothing_about_the_class():
    means = {label: [] for label in range(len(shapes.CLASSES))}
    for seed in range(120):
        image, boxes, labels = shapes.draw((11, seed))
        for box, label in zip(np.round(boxes * 300).astype(int), labels, strict=True):
            means[int(label)].append(image[box[0] : box[2], box[1] : box[3]].mean((0, 1)))
    centres = np.array([np.mean(values, 0) for values in means.values()])
    spread = np.mean([np.std(values, 0).mean() for values in means.values()])
    assert np.abs(centres - centres.mean(0)).max() < 0.5 * spread


def test_pictures_may_be_large():
    source = data.load_source("shapes#train,count=1,size=900")
    assert source.image(0).shape == (900, 900, 3)
