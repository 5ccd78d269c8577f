"""The benchmarks run, each with the smallest detector and data."""

import re

import pytest

from tests import programs

TINY = ("--width=0.25",)
COLUMN = r"\|[^|]*"
LINES = {
    "on_gpu": (
        ("--cases=SSD_MobileNet_96:2", "--precisions=float32", "--xla=off", "--steps=10",
         "--classes=3", *TINY),
        [r"\| SSD_MobileNet_96 \| 2 \| float32 \| off \| \d+ \(\d+ to \d+\) \| [\d.]+ \| [\d.]+% "
         r"\| \? \| \d+ \| \d+ \|"],
    ),
    "classes": (
        ("--classes=1203", "--model=SSD_MobileNet_96", "--batch_size=2", "--steps=1",
         "--images=20", *TINY),
        [rf"\| 1,203 \| {what} \| [\d.]+ \| [\d.]+ \| [\d.]+ \| .*{said}"
         for what, said in (("create", "million parameters"), ("train", "a step of 2"),
                            ("detect", "an image"), ("evaluate", "report of"),
                            ("export", "an image"))],
    ),
    "growth": (
        ("--images=40", "--steps=2"),
        [rf"\| 40 \| {what} \| [\d.]+ \| [\d.]+ \| [\d.]+ \| .*{said}"
         for what, said in (("load", "40 images, 0 problems"), ("again", "40 images"),
                            ("batches", "first batch"), ("check", "exit code 0"),
                            ("records", "40 images in"))],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_it_prints_its_table(name):
    flags, lines = LINES[name]
    printed, complaint, code = programs.run(f"tests.benchmarks.{name}", *flags)
    assert code == 0, complaint
    for line in lines:
        assert re.search(line, printed), printed


def test_what_does_not_fit_into_the_minutes_is_named():
    flags = ("--minutes=0", "--cases=A:1,B:2", "--precisions=float32", "--xla=on")
    printed, complaint, code = programs.run("tests.benchmarks.on_gpu", *flags)
    assert code == 0, complaint
    assert "No time was left for A:1:float32:on, B:2:float32:on." in printed
