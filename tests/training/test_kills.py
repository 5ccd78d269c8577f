"""A run that is killed, asked to end or out of disk ends with the weights of one that was not."""

import csv
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from ssd_keras.run_folder import RunFolder
from tests import programs
from tests.training import killer

pytestmark = pytest.mark.slow

RUN = (
    "--model=SSD_Tiny_32",
    "--backbone=tests/tiny.py:backbone",
    "--model_options=extras=[]",
    "--train_data=shapes#train,count=24,size=32",
    "--batch_size=4",
    "--max_boxes=16",
    "--epochs=3",
    "--ema=0.9",
    "--batch_norm_batches=0",
    # Every step writes a checkpoint, so that many moments lie in one.
    "--checkpoint_minutes=0.00001",
)
# SSD_KERAS_KILLS=10 tries more.
KILLS = int(os.environ.get("SSD_KERAS_KILLS", "3"))
TIMES = ("seconds", "images_per_second")


def start(folder, program=("experiments.train",), flags=RUN):
    """The program, without XLA and graphs, which have no part in what is tested here."""
    quick = dict.fromkeys((programs.WITHOUT_XLA, programs.EAGERLY), "1")
    return programs.start(*program, *flags, f"--run_dir={folder}", **quick)


def finish(program, code=0):
    ended = program.end(timeout=600)
    assert ended.code == code, ended.complaint
    return ended.complaint


def stop(program, sent):
    """Sends a signal to a program and waits for its exit code."""
    program.send_signal(sent)
    return program.end(timeout=600).code


def error_line(complaint):
    (line,) = [line for line in complaint.splitlines() if line.startswith("error:")]
    return line


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run that nothing disturbed, and how long it took."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    started = time.monotonic()
    finish(start(folder))
    return folder, time.monotonic() - started


def state(folder):
    with np.load(RunFolder(folder).state) as stored:
        return {name: stored[name] for name in stored.files}


def history(folder):
    with open(RunFolder(folder).history_file, newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def assert_same(folder, straight):
    """Weights, optimizer, averages, progress and history are those of the other run."""
    found, expected = state(folder), state(straight)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert history(folder) == history(straight)
    assert {path.name for path in folder.iterdir()} == {path.name for path in straight.iterdir()}
    assert not list(folder.rglob(".partial-*"))


def test_killed_at_random_moments(straight, tmp_path):
    expected, seconds = straight
    folder, chance, killed = tmp_path / "run", random.Random(0), 0
    while killed < KILLS:
        program = start(folder)
        time.sleep(chance.uniform(0, seconds))
        code = stop(program, signal.SIGKILL)
        killed += code == -signal.SIGKILL
        if code == 0:
            assert_same(folder, expected)
            shutil.rmtree(folder)
    finish(start(folder))
    assert_same(folder, expected)


def test_killed_while_files_are_written(straight, tmp_path):
    folder, chance = tmp_path / "run", random.Random(1)
    for what in killer.MOMENTS:
        count = chance.randint(1, 9)
        program = start(folder, ("tests.training.killer", what, count))
        finish(program, code=-signal.SIGKILL)
    finish(start(folder))
    assert_same(folder, straight[0])


TILED = (*RUN, "--train_data=shapes#train,count=6,size=48", "--tiles=32", "--tile_whole")


def test_training_on_tiles_goes_on_as_if_nothing_had_been(tmp_path):
    straight, folder = tmp_path / "straight", tmp_path / "run"
    programs = (
        start(straight, flags=TILED),
        start(folder, ("tests.training.killer", "before it is moved", 9), TILED),
    )
    for program, code in zip(programs, (0, -signal.SIGKILL), strict=True):
        finish(program, code)
    finish(start(folder, flags=TILED))
    assert RunFolder(straight).settings()["images"] > 4 * 6
    assert_same(folder, straight)


def test_asked_to_end_again_and_again(straight, tmp_path):
    folder, chance, asked = tmp_path / "run", random.Random(2), 0
    while asked < 2:
        program = start(folder)
        program.wait_for("Preparing the first step")
        time.sleep(chance.uniform(0, straight[1] / 3))
        assert stop(program, signal.SIGTERM) in (143, -signal.SIGTERM, 0)
        asked += 1
    finish(start(folder))
    assert_same(folder, straight[0])


def test_a_second_process_is_refused_and_changes_nothing(straight, tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    first.wait_for("epoch   1")
    first.send_signal(signal.SIGSTOP)
    try:
        complaint = finish(start(folder), code=2)
        line = error_line(complaint)
        assert f"'{folder}' is in use by process {first.pid} on '" in line
        assert "Traceback" not in complaint
        # Those who only read may.
        finish(start(folder, ("experiments.evaluate",), ("--data=shapes#val,count=4,size=32",)))
    finally:
        first.send_signal(signal.SIGCONT)
    finish(first)
    for name in ("report.html", "metrics.json", "detections.json"):
        (folder / name).unlink()
    assert_same(folder, straight[0])


def test_what_a_killed_owner_left_is_no_lock(straight, tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    first.wait_for("epoch   1")
    stop(first, signal.SIGKILL)
    assert (folder / ".lock").read_text().startswith(f"process {first.pid} on")
    finish(start(folder))
    assert_same(folder, straight[0])


@pytest.fixture
def disk(tmp_path):
    """A disk whose size can be changed: `resize(kB)`; a skip where mounting is not permitted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")

    def resize(kilobytes):
        options = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", options, str(place)], check=True)

    resize.place = place
    yield resize
    subprocess.run(["umount", str(place)], check=True)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024


def test_a_disk_that_fills_during_the_run(straight, disk):
    folder = disk.place / "run"
    whole, met = size_of(straight[0]), 0
    for share in (0.3, 0.8, 1.1):
        disk(int(whole * share))
        _, complaint, code = start(folder).end(timeout=600)
        assert code in (0, 2), complaint
        assert "Traceback" not in complaint
        if code == 2:
            met += 1
            line = error_line(complaint)
            assert "No space left on device" in line
            assert not list(folder.rglob(".partial-*"))
    assert met > 1
    disk(4 * whole)
    finish(start(folder))
    assert_same(folder, straight[0])


def test_files_that_may_not_grow(straight, tmp_path):
    """As on a full disk, for the checkpoint alone."""
    folder = tmp_path / "run"
    program = start(folder)
    program.wait_for("epoch   2")
    limit = RunFolder(folder).state.stat().st_size // 2
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    complaint = finish(program, code=2)
    line = error_line(complaint)
    assert "cannot be written: File too large" in line
    finish(start(folder))
    assert_same(folder, straight[0])
