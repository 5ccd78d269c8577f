"""What the README promises of its commands."""

import re
import shlex
from pathlib import Path

import keras

import ssd_keras
from ssd_keras import zoo

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)\n```", README, re.M | re.S)


def test_the_first_two_bash_blocks_do_the_main_job_and_the_tests():
    blocks = re.findall(r"^```bash\n(.*?)\n```", README, re.M | re.S)
    install = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert blocks[0] == f"{install} . && .venv/bin/python -m experiments.demo"
    assert blocks[1] == f'{install} ".[test]" && .venv/bin/python -m pytest'


def test_every_program_and_flag_it_names_exists():
    commands = re.findall(r"^python -m .*?(?<!\\)$", README, re.M | re.S)
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        program = ROOT / (words[2].replace(".", "/") + ".py")
        text = program.read_text(encoding="utf-8")
        for flag in words[3:]:
            assert f'"{flag[2:].split("=")[0]}"' in text, f"{words[2]} has no flag {flag}"


def test_the_table_of_models_is_the_measured_one():
    for row in zoo.model_table():
        macs = f"{int(row['macs']) / 1e9:.2f}"
        line = (
            f"| `{row['name']}` | {int(row['parameters']):,} | {macs} |"
            f" {int(row['default_boxes']):,} | {row['maps']} |"
        )
        assert line in README


def test_the_backbone_of_the_readme_makes_a_detector():
    code = next(block for block in PYTHON if "def my_backbone" in block)
    names = {"keras": keras, "ssd_keras": ssd_keras}
    exec(code, names)
    assert names["detector"].box_network.level_maps[0] == (20, 20)
