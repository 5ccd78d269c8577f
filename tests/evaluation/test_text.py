"""Numbers as they are printed."""

import math

import numpy as np
import pytest

from ssd_keras.evaluation.text import below


@pytest.mark.parametrize(
    ("score", "shown"), [(0.4567, 0.456), (0.4563, 0.456), (0.456, 0.455), (1.0, 0.999)]
)
def test_a_threshold_as_it_is_shown_keeps_the_score_that_it_stands_for(score, shown):
    assert below(score) == shown
    assert np.float32(score) > np.float32(shown)
    assert math.isnan(below(math.nan))
