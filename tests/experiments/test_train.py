"""The training program: what goes wrong ends in one clear sentence."""

import json
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
        "error: There is no model 'SSD_MobilNet_300': 'MobilNet' is no core network. Did you mean "
        "'SSD_MobileNet_300'",
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
    "misspelt recipe": (
        ["--train_data=shapes#train", "--config=fine-tune-smal-set"],
        "error: There is no recipe 'fine-tune-smal-set'. Did you mean 'fine-tune-small-set'?",
    ),
    "misspelt stage": (
        ["--train_data=shapes#train", "--stage=stage3", "--model=DSSD_MobileNet_96"],
        "error: There is no stage 'stage3'. Did you mean 'stage",
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
        if line.startswith("epoch   1/3  loss"):
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


READ_RECIPES = """
import dataclasses, json
from absl import flags
from experiments import train
from ssd_keras.training import suggest

def settings(*given):
    argv = train.expand_config(["train", *given, "--run_dir=run"])
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(argv)
    return dataclasses.asdict(suggest(flags.FLAGS.model, 16551, train.given_values()))

found = {}
for path in sorted(train.CONFIGS.glob("*.flags")):
    found[path.stem] = settings("--train_data=mine", f"--config={path.stem}")
found["overridden"] = settings(
    "--config", "ssd300-coco", "--train_data=mine", "--epochs=7", "--freeze=backbone,conv1",
    "--model_options=head_kernels=5,prediction_module=c", "--milestones=0.5",
)
print("RECIPES" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def recipes():
    """The settings that each file of experiments/configs comes to."""
    ended = subprocess.run(
        [sys.executable, "-c", READ_RECIPES], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.partition("RECIPES")[2])


@pytest.mark.parametrize(
    ("name", "model", "images", "steps", "drops", "rate"),
    [
        ("ssd300-voc0712", "SSD_VGG16_300", 16_551, 120_000, (80, 100), 1e-3),
        ("ssd512-voc0712", "SSD_VGG16_512", 16_551, 120_000, (80, 100), 1e-3),
        ("ssd300-coco", "SSD_VGG16_300", 118_287, 400_000, (280, 360), 1e-3),
        ("ssd512-coco", "SSD_VGG16_512", 118_287, 400_000, (280, 360), 1e-3),
        ("dssd321-voc0712-1-ssd", "SSD_ResNet101_321", 16_551, 80_000, (40, 60), 1e-3),
        ("dssd321-voc0712-2-decoder", "DSSD_ResNet101_321", 16_551, 30_000, (20,), 1e-3),
        ("dssd321-voc0712-3-all", "DSSD_ResNet101_321", 16_551, 40_000, (20,), 1e-4),
        ("dssd513-coco-1-ssd", "SSD_ResNet101_513", 118_287, 250_000, (130, 210), 1e-3),
        ("dssd513-coco-2-decoder", "DSSD_ResNet101_513", 118_287, 150_000, (80, 130), 1e-3),
        ("yolo-inception", "YOLO_Inception_500", 16_551, 35_000, (19.4, 27.2), 1e-2),
    ],
)
def test_ready_recipes_take_the_published_steps(recipes, name, model, images, steps, drops, rate):
    found, recipe = recipes[name], recipes[name]["recipe"]
    assert found["model"] == model
    assert recipe["epochs"] * images / recipe["batch_size"] == pytest.approx(steps, rel=0.015)
    marks = [share * steps / 1000 for share in recipe["milestones"]]
    assert marks == pytest.approx(drops, rel=0.015)
    assert recipe["learning_rate"] == rate
    assert recipe["schedule"] == "steps"


def test_flags_go_before_the_recipe(recipes):
    found = recipes["overridden"]
    assert found["recipe"]["epochs"] == 7
    assert found["train_data"] == "mine"
    assert found["freeze"] == ["backbone", "conv1"]
    assert found["model_options"] == {"head_kernels": 5, "prediction_module": "c"}
    assert found["recipe"]["milestones"] == [0.5]
    assert found["box_scale"] == "coco"


def test_the_stages_of_dssd_begin_with_each_other(recipes):
    for data in ("dssd321-voc0712", "dssd513-coco"):
        decoder, everything = recipes[f"{data}-2-decoder"], recipes[f"{data}-3-all"]
        assert (decoder["stage"], everything["stage"]) == ("stage1", "stage2")
        assert decoder["weights"].endswith("1-ssd")
        assert everything["weights"].endswith("2-decoder")
