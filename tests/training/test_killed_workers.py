"""Two workers on the loopback of which one is killed go on to the weights of an undisturbed run."""

import json
import signal

import numpy as np
import pytest

from ssd_keras.run_folder import RunFolder
from tests import programs
from tests.training.test_distribution import free_ports
from tests.training.test_kills import RUN, history


def start(folder) -> list[programs.Program]:
    """The same command on two machines, the first of which writes the run folder."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    flags = (*RUN, "--epochs=6", f"--run_dir={folder}")
    return [
        programs.start(
            "experiments.train", *flags, TF_CONFIG=json.dumps(task), **{programs.WITHOUT_XLA: "1"}
        )
        for task in tasks
    ]


def finish(workers: list[programs.Program]):
    for worker in workers:
        ended = worker.end(timeout=600)
        assert ended.code == 0, ended.complaint


def state(folder) -> dict[str, np.ndarray]:
    folder = RunFolder(folder)
    folder.fetch()
    with np.load(folder.state) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run of two workers that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    finish(start(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "file://"], ids=["shared folder", "remote place"])
def test_the_same_command_on_both_goes_on(straight, tmp_path, scheme):
    folder = f"{scheme}{tmp_path}/run"
    chief, other = start(folder)
    chief.wait_for("epoch   2")
    other.send_signal(signal.SIGKILL)
    assert other.end(timeout=60).code == -signal.SIGKILL
    left = chief.end(timeout=600)
    assert left.code == 2
    assert "The machines have lost each other" in left.complaint
    assert "Traceback" not in left.complaint
    finish(start(folder))
    found, expected = state(folder), state(straight)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert history(tmp_path / "run") == history(straight)
