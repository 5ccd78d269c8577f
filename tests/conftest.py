"""Fixtures that many tests share."""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# There are as many workers as cores; what is computed for a test is too small to be shared out.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import pytest

from tests import temporary

# Before others ask where temporary files are.
temporary.stay_in_one_folder()

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared():
    """`shared("vectors/priors.npz")`: the path of a reference file, or a skip that names it."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs the reference file {name} in {SHARED.name}/ beside the project")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Tests do without XLA, and so do the programs they start, unless they are marked `xla`.

    Those marked `eager` do without graphs, too.
    """
    if item.get_closest_marker("xla"):
        return (yield)
    # Here, as the process that hands out the tests to others does without TensorFlow.
    from tests import programs, without_xla

    chosen = {programs.WITHOUT_XLA: without_xla.leave_out_xla}
    if item.get_closest_marker("eager"):
        chosen[programs.EAGERLY] = without_xla.run_eagerly
    take_back = [leave_out() for leave_out in chosen.values()]
    os.environ |= dict.fromkeys(chosen, "1")
    try:
        return (yield)
    finally:
        for name, undo in zip(chosen, take_back, strict=True):
            del os.environ[name]
            undo()


def pytest_collection_finish():
    """What has been imported stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 5)
