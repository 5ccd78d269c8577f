"""Rare classes are shown more often, and nothing is left out."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data.balance import MOST, count_shown, draw_shown, repeats
from ssd_keras.data.order import order_of


def source_of(*labels, classes=3, crowd=()):
    """A source of which only the labels of each image are known."""
    truth = [
        data.GroundTruth(
            str(i), 1, 1, np.zeros((len(one), 4)), one, crowd=np.full(len(one), i in crowd)
        )
        for i, one in enumerate(labels)
    ]
    return SimpleNamespace(ground_truth=lambda: truth, classes=[str(i) for i in range(classes)])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Class 0 in 9 images, 1 in 4, 2 in 1: the median is 4, class 2 is shown twice as often.
        (source_of(*[[0]] * 9, *[[1]] * 4, [2, 0]), [1] * 13 + [2]),
        (source_of([0, 0, 0], [0], [], []), [1, 1, 1, 1]),
        (source_of([], []), [1, 1]),
        (source_of(*[[0]] * 400, *[[1]] * 400, [2]), [1] * 800 + [MOST]),
        # Of a crowd nothing is learned.
        (source_of(*[[0]] * 9, *[[1]] * 4, [2], [2], crowd=(13,)), [1] * 13 + [1, 2]),
        # A class in two thirds of the images of the median class.
        (source_of(*[[0]] * 9, *[[1]] * 9, *[[2]] * 6), [1] * 18 + [1.5**0.5] * 6),
    ],
)
def test_an_image_is_shown_as_often_as_its_rarest_class_asks_for(source, expected):
    np.testing.assert_allclose(repeats(source), expected, rtol=1e-12)


def test_a_balanced_order_shows_every_image_and_the_rare_ones_again():
    source = data.load_source("shapes#train,count=12,size=32")
    often = repeats(source)
    assert often.max() > 1
    options = {"batch_size": 1, "balanced": True}
    total = count_shown(often)
    shown = [data.batch_indices(source, step, **options)[0] for step in range(total)]
    counts = np.bincount(shown, minlength=len(source))
    assert (counts >= np.floor(often)).all()
    assert (counts <= np.ceil(often)).all()
    assert total == pytest.approx(often.sum(), abs=1)


def test_over_many_epochs_each_image_is_shown_as_often_as_was_asked_for():
    often = np.array([1, 1.3, 1, 1.3, 2.6, 1, 1.25])
    rng = np.random.default_rng(0)
    epochs = [draw_shown(often, count_shown(often), rng.random()) for _ in range(4000)]
    assert all((np.diff(shown) >= 0).all() for shown in epochs)
    each = [np.bincount(shown, minlength=len(often)) for shown in epochs]
    assert np.min(each, axis=0).tolist() == [1, 1, 1, 1, 2, 1, 1]
    wanted = often * count_shown(often) / often.sum()
    np.testing.assert_allclose(np.mean(each, axis=0), wanted, atol=0.02)


def test_another_epoch_repeats_other_images():
    source = source_of(*[[0]] * 40, *[[1]] * 20, classes=2)
    source.groups = None
    order = order_of(source, 1, 0, True)
    first, second = (np.bincount(order._epoch(epoch, 0), minlength=60) for epoch in (0, 1))
    assert first.sum() == second.sum() == count_shown(repeats(source))
    assert min(first.min(), second.min()) == 1
    assert (first != second).any()
    np.testing.assert_array_equal(order._epoch(0, 0), order_of(source, 1, 0, True)._epoch(0, 0))
