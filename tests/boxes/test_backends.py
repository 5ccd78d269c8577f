"""The same results under JAX, in a process where TensorFlow cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.boxes import backends

pytestmark = pytest.mark.slow
MATCHES = ("match_argmax", "match_atss", "match_aligned")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    pytest.importorskip("jax")
    out = tmp_path_factory.mktemp("jax") / "results.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.boxes.backends", str(out)],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )
    return backends.results(), dict(np.load(out))


def test_matches_are_identical(both):
    tensorflow, jax = both
    for name in ("match", *MATCHES, "target_classes", "target_positive"):
        np.testing.assert_array_equal(jax[name], tensorflow[name], err_msg=name)


def test_everything_else_is_equal(both):
    tensorflow, jax = both
    assert jax.keys() == tensorflow.keys()
    for name in tensorflow:
        np.testing.assert_allclose(jax[name], tensorflow[name], rtol=1e-5, atol=1e-5, err_msg=name)
