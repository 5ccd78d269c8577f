"""What the README and the other documents promise of their commands."""

import re
import shlex
from pathlib import Path

import keras
import pytest

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


# Every program that a document names, and the test that runs it.
RUN_BY = {
    "experiments.check_data": "tests/experiments/test_check_data.py",
    "experiments.compare": "tests/experiments/test_compare.py",
    "experiments.demo": "tests/experiments/test_demo.py",
    "experiments.detect": "tests/experiments/test_detect.py",
    "experiments.evaluate": "tests/experiments/test_evaluate.py",
    "experiments.import_weights": "tests/experiments/test_import_weights.py",
    "experiments.make_records": "tests/experiments/test_check_data.py",
    "experiments.train": "tests/experiments/test_train.py",
    "export.report": "tests/export/test_report.py",
    "export.saved_model": "tests/export/test_saved_model.py",
    "export.tflite": "tests/export/test_tflite.py",
    "detect.py": "tests/export/test_raspberry_pi.py",
    "export/raspberry_pi/detect.py": "tests/export/test_raspberry_pi.py",
    "pytest": "tests/test_readme.py",
    "serve.py": "tests/export/test_web.py",
}
# What tests cannot run, what it needs, and the words by which its document says so.
NEEDS = {
    "gradle": ("a download and a phone", "Android Studio"),
    "./gradlew": ("a download and a phone", "device"),
    "npm": ("a download", "npm install"),
    "pip": ("a download", "pip install"),
    "tests.benchmarks": ("an idle machine", "by hand"),
    "--backbone_weights=imagenet": ("a download", "fetches"),
}
HARMLESS = ("cd", "source", "export")
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "export/*/README.md", "notebooks/*.md")
    for path in ROOT.glob(pattern)
)


def commands(document: Path) -> list[list[str]]:
    """The commands in the code blocks of a document, as lists of words."""
    text = document.read_text(encoding="utf-8")
    found = []
    for kind, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines() if kind in ("bash", "text") else ():
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                known = {"python", *HARMLESS, *NEEDS}
                if words and (Path(words[0]).name in known or words[0] in known or kind == "bash"):
                    found.append(words)
    return found


ALL_COMMANDS = [
    pytest.param(document, words, id=f"{document.relative_to(ROOT)}: {' '.join(words)[:60]}")
    for document in DOCUMENTS
    for words in commands(document)
]


def program_of(words: list[str]) -> str:
    """The module or script that a command starts, or the command itself."""
    if Path(words[0]).name in ("python", "python3"):
        return words[2] if words[1] == "-m" else words[1]
    return Path(words[0]).name if words[0] != "./gradlew" else words[0]


def test_the_commands_are_found():
    assert len(ALL_COMMANDS) > 12
    assert {document.name for document, _ in (case.values for case in ALL_COMMANDS)} >= {
        "README.md"
    }


@pytest.mark.parametrize(("document", "words"), ALL_COMMANDS)
def test_every_command_is_run_by_a_test_or_says_what_it_needs(document, words):
    program, text = program_of(words), document.read_text(encoding="utf-8")
    if program in HARMLESS or program == "venv":
        return
    for what in (program, ".".join(program.split(".")[:2]), *words[1:]):
        if what in NEEDS:
            assert NEEDS[what][1] in text, f"'{what}' needs {NEEDS[what][0]}: say so"
    if program not in NEEDS and ".".join(program.split(".")[:2]) not in NEEDS:
        assert program in RUN_BY, "name the test that runs it in RUN_BY, or what it needs in NEEDS"
        test = (ROOT / RUN_BY[program]).read_text(encoding="utf-8")
        assert re.split(r"[./]", program.removesuffix(".py"))[-1] in test


@pytest.mark.parametrize(("document", "words"), ALL_COMMANDS)
def test_every_flag_of_our_programs_exists(document, words):
    program = program_of(words)
    if not program.startswith(("experiments.", "export")):
        return
    path = program if program.endswith(".py") else program.replace(".", "/") + ".py"
    text = (ROOT / path).read_text(encoding="utf-8")
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0]
            assert f'"{name}"' in text or f'"--{name}"' in text, f"{program} has no flag {word}"


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
