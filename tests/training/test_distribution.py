"""Several devices and machines train as one device does with the whole batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import distribution, tensorflow_devices
from tests import programs
from tests.programs import ROOT
from tests.training import ten_steps


def start(devices: int, path: Path, **environment) -> programs.Program:
    """Ten steps in a process of their own, which alone can make virtual devices."""
    return programs.start("tests.training.ten_steps", devices, path, **environment)


def losses_of(*started) -> list[list[float]]:
    """Waits for `(program, path)` pairs and reads what they wrote."""
    found = []
    for program, path in started:
        ended = program.end(timeout=900)
        assert ended.code == 0, ended.complaint[-3000:]
        found.append(json.loads(path.read_text()))
    return found


def start_under_jax(devices: int, path: Path) -> subprocess.Popen:
    """The same in an interpreter that has not imported TensorFlow's Keras."""
    command = [sys.executable, "-m", "tests.training.ten_steps", str(devices), str(path)]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def one_device():
    losses = ten_steps.train(1)
    # Ten equal losses would agree with anything.
    assert len(losses) == 10
    assert np.ptp(losses) > 0.1
    return losses


@pytest.mark.xla
@pytest.mark.slow
def test_two_virtual_devices_under_a_mirrored_strategy(one_device, tmp_path):
    path = tmp_path / "losses.json"
    (losses,) = losses_of((start(2, path), path))
    np.testing.assert_allclose(losses, one_device, rtol=1e-4)


@pytest.mark.xla
@pytest.mark.slow
def test_two_workers_on_the_loopback_by_tf_config(one_device, tmp_path):
    workers = [f"localhost:{port}" for port in free_ports(2)]
    started = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        path = tmp_path / f"losses{index}.json"
        started.append((start(0, path, TF_CONFIG=json.dumps(task)), path))
    for losses in losses_of(*started):
        np.testing.assert_allclose(losses, one_device, rtol=1e-4)


@pytest.mark.slow
def test_two_devices_under_jax(tmp_path):
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for process in [start_under_jax(i + 1, path) for i, path in enumerate(paths)]:
        _, complaint = process.communicate(timeout=900)
        assert process.returncode == 0, complaint[-3000:]
    one, two = (json.loads(path.read_text()) for path in paths)
    assert np.ptp(one) > 0.1
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.parametrize(
    ("mine", "others", "share"),
    [
        ({"positives": 3.0}, {"positives": 5.0}, 3 / 8),
        ({"positives": 0.0}, {"positives": 4.0}, 1 / 4),
        ({"positives": 0.0}, {"positives": 0.0}, 1.0),
        ({"positives": 3.0, "normalizer": 4.0}, {"positives": 5.0, "normalizer": 4.0}, 1 / 2),
    ],
)
def test_the_loss_is_divided_by_what_the_whole_batch_is_divided_by(
    monkeypatch, mine, others, share
):
    import tensorflow as tf

    class Context:
        def all_reduce(self, operation, value):
            assert operation == tf.distribute.ReduceOp.SUM
            (name,) = (name for name in mine if mine[name] is value)
            return value + others[name]

    monkeypatch.setattr(tf.distribute, "get_replica_context", Context)

    losses = mine | {"loss": 8.0, "class_loss": 6.0, "box_loss": 2.0}
    found = tensorflow_devices._share_of_whole(losses, 2)
    assert float(found["loss"]) == pytest.approx(8 * share)
    # Metrics average over the two devices.
    assert float(found["class_loss"]) == pytest.approx(2 * 6 * share)
    assert float(found["box_loss"]) == pytest.approx(2 * 2 * share)


@pytest.mark.parametrize(
    "cluster", ["nonsense", '{"cluster": {}}', '{"cluster": {"worker": ["a:1"]}, "task": {}}']
)
def test_a_tf_config_that_cannot_be_used_is_explained(cluster):
    with pytest.raises(UserError, match="TF_CONFIG must look like"):
        distribution._find("tensorflow", 0, cluster)


def test_more_devices_than_there_are_are_refused():
    ten_steps.find_devices(1)
    with pytest.raises(UserError, match=r"--devices=5, but this machine has 1"):
        distribution._find("tensorflow", 5, "")


def test_a_batch_must_be_shared_evenly():
    devices = distribution.Devices(2)
    devices.check_batch(8)
    with pytest.raises(UserError, match="batch of 7 cannot be shared evenly by 2 devices"):
        devices.check_batch(7)
