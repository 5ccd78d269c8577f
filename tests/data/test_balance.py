"""Rare classes are shown more often, and nothing is left out."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data.balance import MOST, repeats


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
    ],
)
def test_an_image_is_shown_as_often_as_its_rarest_class_asks_for(source, expected):
    np.testing.assert_array_equal(repeats(source), expected)


def test_a_balanced_order_shows_every_image_and_the_rare_ones_again():
    source = data.load_source("shapes#train,count=12,size=32")
    wanted = repeats(source)
    options = {"batch_size": 1, "balanced": True}
    total = int(wanted.sum())
    shown = [data.batch_indices(source, step, **options)[0] for step in range(total)]
    assert Counter(shown) == dict(enumerate(wanted.tolist()))
