"""Which image is at which place of which batch."""

import numpy as np

from ssd_keras.data.order import grouped_order


def test_an_order_of_tiles_is_one_and_keeps_some_together():
    groups = np.repeat(np.arange(20), 7)
    order = grouped_order(groups, 3, seed=5, epoch=1)
    assert sorted(order) == list(range(140))
    assert order.tolist() == grouped_order(groups, 3, 5, 1).tolist()
    others = [grouped_order(groups, 3, *which) for which in ((5, 2), (6, 1))]
    assert all((order != other).any() for other in others)
    changes = np.count_nonzero(np.diff(groups[order]))
    assert changes <= 20 * 3 - 1
    assert (np.diff(groups[order]) < 0).any()
