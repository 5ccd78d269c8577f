"""What the README promises of its commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
