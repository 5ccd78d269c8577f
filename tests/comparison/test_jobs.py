"""How a comparison shares the machine; what it trains and writes is in tests/experiments."""

import multiprocessing
import os

import pytest

from ssd_keras import comparison
from ssd_keras.comparison import jobs
from ssd_keras.errors import UserError

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system cannot bind a process to CPUs"
)


@pytest.mark.parametrize(
    ("cpus", "count", "shares"),
    [
        ({0, 1, 2, 3}, 1, [{0, 1, 2, 3}]),
        ({0, 1, 2, 3}, 2, [{0, 2}, {1, 3}]),
        ({4, 5, 6}, 2, [{4, 6}, {5}]),
        ({0, 1}, 2, [{0}, {1}]),
        ({0}, 2, [set(), set()]),
    ],
)
def test_every_job_gets_its_own_part_of_the_cpus(monkeypatch, cpus, count, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cpus, raising=False)
    assert comparison.cpu_shares(count) == shares


def test_without_a_way_to_share_cpus_no_job_is_limited(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert comparison.cpu_shares(2) == [set(), set()]


@needs_affinity
def test_processes_started_inside_are_bound_and_this_one_is_free_again():
    before = os.sched_getaffinity(0)
    one = {min(before)}
    context = multiprocessing.get_context("spawn")
    with comparison.on_cpus(one), context.Pool(1) as pool:
        assert pool.apply(os.sched_getaffinity, (0,)) == one
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_no_cpus_means_no_limit():
    before = os.sched_getaffinity(0)
    with comparison.on_cpus(set()):
        assert os.sched_getaffinity(0) == before


def fail(argument):
    """What a process of the test below does."""
    print(f"doing {argument}")
    raise UserError(f"{argument} cannot be done.")


def test_a_task_that_fails_says_where_it_is_told(tmp_path):
    log, said = tmp_path / "logs" / "a.log", []
    task = jobs.Task("a, seed 0", fail, "this", str(log))
    with pytest.raises(UserError, match=rf"a, seed 0: failed with exit code 2, .*'{log}'"):
        jobs.run_tasks([task], say=said.append)
    assert log.read_text() == "doing this\nerror: this cannot be done.\n"
    assert said == [f"a, seed 0 ... (see {log})"]
