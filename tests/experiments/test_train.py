"""The training program: what goes wrong ends in one clear sentence."""

import json
import signal
import time

import numpy as np
import pytest

import ssd_keras
from tests import programs
from tests.experiments.programs import end, start

# Default boxes are fitted to the data first, for which detectors are built.
PUBLISHED_BOXES = [
    "--train_data=shapes#train,count=40,size=32",
    "--default_boxes=published",
    "--width=0.25",
]
FAULTS = {
    "misspelt model": (
        ["--model=SSD_MobilNet_300", "--train_data=shapes#train"],
        "error: There is no model 'SSD_MobilNet_300': 'MobilNet' is no core network. Did you mean "
        "'SSD_MobileNet_300'",
    ),
    "missing folder": (["--train_data=voc:nowhere#train"], "nowhere"),
    "missing weights": (
        [*PUBLISHED_BOXES, "--model=SSD_MobileNet_96", "--backbone_weights=missing.h5"],
        "error: There is no weights file 'missing.h5'",
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
    "misspelt backbone": (
        [
            "--model=SSD_Mine_96",
            "--train_data=shapes#train,count=8",
            "--backbone=ssd_keras/errors.py:did_you_men",
        ],
        "has no function 'did_you_men'. Did you mean 'did_you_mean'?",
    ),
    "backbone of a nameless model": (
        ["--backbone=mine.py:mine", "--train_data=shapes#train"],
        "error: --backbone needs a --model",
    ),
    "misspelt stage": (
        [
            *PUBLISHED_BOXES[:2],
            "--stage=stage3",
            "--model=DSSD_Tiny_32",
            "--backbone=tests/tiny.py:backbone",
            "--model_options=extras=[]",
        ],
        "error: There is no stage 'stage3'. Did you mean 'stage",
    ),
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The end of every faulty command, and whether it left something behind."""
    folders = {name: tmp_path_factory.mktemp("runs") / "run" for name in FAULTS}
    running = {
        name: start("train", *flags, f"--run_dir={folders[name]}")
        for name, (flags, _) in FAULTS.items()
    }
    return {name: (end(program), folders[name].exists()) for name, program in running.items()}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_user_ends_in_one_sentence(faults, name):
    (_, complaint, code), left_something = faults[name]
    assert code != 0
    assert FAULTS[name][1] in complaint
    assert "Traceback" not in complaint
    assert len([line for line in complaint.splitlines() if line.startswith("error:")]) == 1
    assert not left_something


SIX_EPOCHS = (
    "--model=SSD_Tiny_32",
    "--backbone=tests/tiny.py:backbone",
    "--model_options=extras=[]",
    "--train_data=shapes#train,count=16,size=32",
    "--batch_size=4",
    "--epochs=6",
    "--ema=0.9",
    "--default_boxes=published",
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run of six epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    ended = end(start("train", *SIX_EPOCHS, f"--run_dir={folder}"))
    assert ended.code == 0, ended.complaint
    return folder


def weights(folder):
    return ssd_keras.load(folder / "last.keras").get_weights()


@pytest.mark.xla
@pytest.mark.slow
def test_killed_and_then_asked_to_end_it_ends_with_the_weights_of_the_straight_run(
    straight, tmp_path
):
    command = ["train", *SIX_EPOCHS, f"--run_dir={tmp_path}"]
    for sent, code, epoch in ((signal.SIGKILL, -signal.SIGKILL, 2), (signal.SIGTERM, 143, 4)):
        program = start(*command)
        while f"epoch   {epoch}/6  loss" not in program.printed() and program.runs():
            time.sleep(0.02)
        program.send_signal(sent)
        assert end(program).code == code
        assert ("going on after epoch" in program.printed()) == (sent == signal.SIGTERM)
    told, complaint, ended = end(start(*command))
    assert ended == 0, complaint
    assert "going on after epoch" in told
    assert "epoch   1/6" not in told
    assert "epoch   6/6" in told
    epochs = [line.split(",")[0] for line in (tmp_path / "history.csv").open()]
    assert epochs == ["epoch", "1", "2", "3", "4", "5", "6"]
    for expected, found in zip(weights(straight), weights(tmp_path), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.xla
@pytest.mark.slow
def test_a_finished_run_says_so(straight):
    again = end(start("train", *SIX_EPOCHS, f"--run_dir={straight}"))
    assert again.code == 0
    assert "is finished: all 6 epochs are done" in again.printed


@pytest.fixture(scope="module")
def recipes():
    """The settings that each file of ssd_keras/commands/configs comes to."""
    printed, complaint, code = programs.run("tests.experiments.read_recipes")
    assert code == 0, complaint
    return json.loads(printed)


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
