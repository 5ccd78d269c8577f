"""The training program: what goes wrong ends in one clear sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(program, *flags):
    """Starts a program as a user would, without waiting for it."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", program, *flags],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


FAULTS = {
    "misspelt model": (
        ["--model=SSD_MobilNet_300", "--train_data=shapes#train"],
        "error: There is no model 'SSD_MobilNet_300'. Did you mean 'SSD_MobileNet_300'?",
    ),
    "missing folder": (["--train_data=voc:nowhere#train"], "nowhere"),
    "missing weights": (
        ["--train_data=shapes#train", "--backbone_weights=missing.h5"],
        "error: Weights file 'missing.h5' does not exist",
    ),
    "misspelt flag": (["--train_dta=shapes#train"], "error: There is no flag --train_dta. Did you"),
    "no data": ([], "--train_data"),
    "misspelt optimizer": (
        ["--train_data=shapes#train", "--optimizer=adamm"],
        "error: There is no optimizer 'adamm'. Did you mean 'adamw'?",
    ),
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The end of every faulty command: exit code, standard error and what it left behind."""
    ended = {}
    names = list(FAULTS)
    for pair in zip(names[::2], names[1::2], strict=True):
        # Two at a time: starting up takes longer than finding the fault.
        running = {}
        for name in pair:
            folder = tmp_path_factory.mktemp("runs") / "run"
            flags = [*FAULTS[name][0], f"--run_dir={folder}"]
            running[name] = (start("experiments.train", *flags), folder)
        for name, (process, folder) in running.items():
            _, complaint = process.communicate(timeout=120)
            ended[name] = (process.returncode, complaint, folder.exists())
    return ended


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_user_ends_in_one_sentence(faults, name):
    code, complaint, left_something = faults[name]
    assert code != 0
    assert FAULTS[name][1] in complaint
    assert "Traceback" not in complaint
    assert len([line for line in complaint.splitlines() if line.startswith("error:")]) == 1
    assert not left_something


def test_killed_at_any_moment_the_same_command_goes_on(tmp_path):
    """SIGKILL after the first epoch; the second start ends as if nothing had happened."""
    flags = [
        "--model=SSD_MobileNet_96",
        "--width=0.25",
        "--train_data=shapes#train,count=16",
        "--batch_size=4",
        "--epochs=3",
        f"--run_dir={tmp_path / 'run'}",
    ]
    process = start("experiments.train", *flags)
    for line in process.stdout:
        if line.startswith("epoch   1/3"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    again = start("experiments.train", *flags)
    told, complaint = again.communicate(timeout=240)
    assert again.returncode == 0, complaint
    assert "going on after epoch" in told
    assert "epoch   1/3" not in told
    assert "epoch   3/3" in told
    epochs = [line.split(",")[0] for line in (tmp_path / "run/history.csv").open()]
    assert epochs == ["epoch", "1", "2", "3"]
    finished = start("experiments.train", *flags)
    told, _ = finished.communicate(timeout=120)
    assert finished.returncode == 0
    assert "is finished: all 3 epochs are done" in told
