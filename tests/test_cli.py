"""The command `ssd-keras`: what it lists and refuses, and what the programs call each other."""

import ast
import re
import subprocess
import sys
import types

import pytest

import ssd_keras_cli
from ssd_keras.commands import _program
from tests.conftest import ROOT

PROGRAMS = ROOT / "ssd_keras" / "commands"


def file_of(command):
    return PROGRAMS / f"{command.replace('-', '_')}.py"


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_program_is_a_command_with_its_own_first_line():
    programs = set(PROGRAMS.glob("[a-z]*.py"))
    assert programs == {file_of(command) for command in ssd_keras_cli.COMMANDS}
    for command, line in ssd_keras_cli.COMMANDS.items():
        assert docstring(file_of(command)).splitlines()[0] == line


def test_every_command_can_be_started_in_a_clone():
    assert _program.IN_A_CLONE.keys() == ssd_keras_cli.COMMANDS.keys()
    for command, module in _program.IN_A_CLONE.items():
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f'ssd_keras_cli.run("{command}")' in text


def test_the_usage_of_every_program_names_its_command():
    for command in ssd_keras_cli.COMMANDS:
        assert re.search(rf"^ssd-keras {command}\b", docstring(file_of(command)), re.M), command


@pytest.fixture
def started(monkeypatch):
    """Starts `ssd-keras` with words; gives the names and flags of the programs that it ran."""
    ran = []
    monkeypatch.setattr(ssd_keras_cli, "run", lambda name: ran.append((name, sys.argv)))

    def start(*words):
        monkeypatch.setattr(sys, "argv", ["ssd-keras", *words])
        ssd_keras_cli.main()
        return ran

    return start


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_without_a_command_all_are_listed(started, capsys, words):
    assert started(*words) == []
    lines = capsys.readouterr().out.splitlines()
    for command in ssd_keras_cli.COMMANDS:
        assert any(line.startswith(f"  {command} ") for line in lines)


@pytest.mark.parametrize(
    ("word", "command"), [("train", "train"), ("check-data", "check-data"), ("check_data",) * 2]
)
def test_a_command_gets_the_flags_behind_it(started, word, command):
    expected = [(command.replace("_", "-"), ["ssd-keras", "--data=x", "--show=3"])]
    assert started(word, "--data=x", "--show=3") == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trian", "There is no command 'trian'. Did you mean 'train'? Known: check-data, train,"),
        ("Evaluate", "There is no command 'Evaluate'. Did you mean 'evaluate'?"),
        ("--data=x", "There is no command '--data=x'. Known:"),
        ("\x1b[2J", "There is no command '\\x1b[2J'. Known:"),
    ],
)
def test_other_words_are_refused_in_one_line(started, capsys, word, message):
    with pytest.raises(SystemExit) as ended:
        started(word)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_the_list_is_there_before_tensorflow_is():
    code = (
        "import sys, ssd_keras_cli; sys.argv = ['ssd-keras']; ssd_keras_cli.main();"
        "assert not {'tensorflow', 'keras', 'ssd_keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("module", "spelt"),
    [
        ("experiments.evaluate", "python -m export.tflite '--out=my file'"),
        ("ssd_keras_cli", "ssd-keras export-tflite '--out=my file'"),
        (None, "ssd-keras export-tflite '--out=my file'"),
    ],
)
def test_commands_are_spelt_as_the_program_was_started(monkeypatch, module, spelt):
    spec = types.SimpleNamespace(name=module) if module else None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert _program.command("export-tflite", "--out=my file") == spelt
    assert _program.usage("a\nssd-keras export-tflite '--out=my file'") == f"a\n{spelt}"


def test_help_that_nobody_reads_to_its_end_is_no_fault(monkeypatch):
    def refuse(text):
        raise BrokenPipeError

    left = []
    # Older absl-py asks how wide the terminal is.
    nobody = types.SimpleNamespace(write=refuse, flush=lambda: None, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdout", nobody)
    monkeypatch.setattr(_program, "_let_go_of_output", lambda: left.append(True))
    with pytest.raises(SystemExit) as ended:
        _program._parse(["x", "--help"], lambda argv: argv, __name__)
    assert (ended.value.code, left) == (_program.NOBODY_READS, [True])
