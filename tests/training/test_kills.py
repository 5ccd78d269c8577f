"""A run that is killed, asked to end or out of disk ends with the weights of one that was not."""

import csv
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ssd_keras.run_folder import RunFolder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RUN = (
    "--model=SSD_Tiny_32",
    "--backbone=tests/tiny.py:backbone",
    "--model_options=extras=[]",
    "--train_data=shapes#train,count=32,size=32",
    "--batch_size=4",
    "--epochs=5",
    "--ema=0.9",
    "--batch_norm_batches=0",
    # Every step writes a checkpoint, so that many moments lie in one.
    "--checkpoint_minutes=0.00001",
)
# Each costs a start of TensorFlow; SSD_KERAS_KILLS=10 tries more.
KILLS = int(os.environ.get("SSD_KERAS_KILLS", "4"))
TIMES = ("seconds", "images_per_second")


def start(folder, program=("-m", "experiments.train"), flags=RUN, **options):
    return subprocess.Popen(
        [sys.executable, *program, *flags, f"--run_dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def finish(process, code=0):
    told, complaint = process.communicate(timeout=600)
    assert process.returncode == code, complaint
    return told, complaint


def wait_for(process, beginning):
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(process.stderr.read())


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
        process = start(folder)
        time.sleep(chance.uniform(0, seconds))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            assert_same(folder, expected)
            shutil.rmtree(folder)
    finish(start(folder))
    assert_same(folder, expected)


# Runs the training and kills it at the so-many-th call of a function.
KILLER = """
import io, itertools, os, signal, sys

what, count = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(function, before=None, after=None):
    calls = itertools.count(1)

    def call(*args, **options):
        fatal = next(calls) == count
        if fatal and before:
            before(*args, **options)
        result = function(*args, **options)
        if fatal and after:
            after()
        return result

    return call

def half(file, **arrays):
    whole = io.BytesIO()
    savez(whole, **arrays)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    die()

import numpy

savez = numpy.savez
if what == "half a file":
    numpy.savez = deadly(savez, before=half)
elif what == "before it reaches the disk":
    os.fsync = deadly(os.fsync, before=lambda *_: die())
elif what == "before it is moved":
    os.replace = deadly(os.replace, before=lambda *_: die())
else:
    os.replace = deadly(os.replace, after=die)

from ssd_keras.commands import _program, train

_program.run(train.main, train.expand_config)
"""
MOMENTS = ("half a file", "before it reaches the disk", "before it is moved", "after it is moved")


def test_killed_while_files_are_written(straight, tmp_path):
    folder, chance = tmp_path / "run", random.Random(1)
    for what in MOMENTS:
        count = chance.randint(1, 9)
        process = start(folder, ("-c", KILLER, what, str(count)))
        finish(process, code=-signal.SIGKILL)
    finish(start(folder))
    assert_same(folder, straight[0])


def test_asked_to_end_again_and_again(straight, tmp_path):
    folder, chance, asked = tmp_path / "run", random.Random(2), 0
    while asked < 2:
        process = start(folder)
        wait_for(process, "Preparing the first step")
        time.sleep(chance.uniform(0, straight[1] / 3))
        process.terminate()
        process.communicate()
        assert process.returncode in (143, -signal.SIGTERM, 0)
        asked += 1
    finish(start(folder))
    assert_same(folder, straight[0])


def test_a_second_process_is_refused_and_changes_nothing(straight, tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    wait_for(first, "epoch   1")
    first.send_signal(signal.SIGSTOP)
    try:
        _, complaint = finish(start(folder), code=2)
        line = error_line(complaint)
        assert f"'{folder}' is in use by process {first.pid} on '" in line
        assert "Traceback" not in complaint
        # Those who only read may.
        finish(
            start(folder, ("-m", "experiments.evaluate"), ("--data=shapes#val,count=4,size=32",))
        )
    finally:
        first.send_signal(signal.SIGCONT)
    finish(first)
    for name in ("report.html", "metrics.json", "detections.json"):
        (folder / name).unlink()
    assert_same(folder, straight[0])


def test_what_a_killed_owner_left_is_no_lock(straight, tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    wait_for(first, "epoch   1")
    first.kill()
    first.communicate()
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
    for share in (0.3, 0.8, 0.95, 1.1):
        disk(int(whole * share))
        process = start(folder)
        _, complaint = process.communicate(timeout=600)
        assert process.returncode in (0, 2), complaint
        assert "Traceback" not in complaint
        if process.returncode == 2:
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
    process = start(folder)
    wait_for(process, "epoch   2")
    limit = RunFolder(folder).state.stat().st_size // 2
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    _, complaint = finish(process, code=2)
    line = error_line(complaint)
    assert "cannot be written: File too large" in line
    finish(start(folder))
    assert_same(folder, straight[0])
