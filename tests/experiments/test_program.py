"""What all programs share."""

import errno
import re
import types

import pytest

import ssd_keras
from ssd_keras.commands import _program
from tests.data.samples import voc_image, voc_object
from tests.experiments import programs
from tests.programs import run


def test_what_the_library_warns_of_is_one_line(capsys):
    show = _program._show_without_code(None)
    show(UserWarning("this and that"), UserWarning, ssd_keras.__file__, 7)
    assert capsys.readouterr().err == "warning: this and that\n"


def test_other_warnings_are_shown_as_usual():
    seen = []
    show = _program._show_without_code(lambda *given: seen.append(given))
    show(UserWarning("elsewhere"), UserWarning, "/somewhere/else.py", 7)
    assert len(seen) == 1


def test_the_largest_image_that_is_read_is_a_flag(tmp_path):
    voc_image(tmp_path, "a", voc_object(), size=(64, 48))
    voc_image(tmp_path, "b", voc_object(), size=(128, 96), width=128, height=96)
    command = ("check_data", f"--data=voc:{tmp_path}")
    small, large = (programs.start(*command, *f) for f in (["--max_megapixels=0.01"], []))
    printed = programs.end(small).printed
    assert (
        "b.jpg: has 0.0123 megapixels (128x96), more than 0.01: read it by --max_megapixels"
        in printed
    )
    assert "Fit to train on: 2 images" in programs.end(large).printed


def raises(error):
    def main(argv):
        raise error

    return main


PLACES = {
    PermissionError(errno.EACCES, "Permission denied", "photos"): "'photos': Permission denied",
    OSError(errno.ENOSPC, "No space left on device", "out/a.png"): "'out/a.png': No space left",
    OSError(errno.ENOSPC, "No space left on device"): "cannot be written: No space left on device",
    OSError(errno.EROFS, "Read-only file system", b"out"): "'out': Read-only file system",
    IsADirectoryError(errno.EISDIR, "Is a directory", "out"): "'out': Is a directory",
}


@pytest.mark.parametrize("error", PLACES, ids=str)
def test_a_place_that_cannot_be_used_ends_in_one_sentence(capsys, monkeypatch, error):
    monkeypatch.setattr(_program.data, "set_max_megapixels", lambda value: None)
    monkeypatch.setattr(_program.flags, "FLAGS", types.SimpleNamespace(max_megapixels=1))
    with pytest.raises(SystemExit) as ended:
        _program._with_one_line_faults(raises(error))(["x"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert PLACES[error] in line


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        ValueError("x"),
        OSError("of a library, without a number"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "forgotten"),
        PermissionError(errno.EACCES, "Permission denied", f"{_program.LIBRARY}/models.csv"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
    ids=repr,
)
def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr(_program.data, "set_max_megapixels", lambda value: None)
    monkeypatch.setattr(_program.flags, "FLAGS", types.SimpleNamespace(max_megapixels=1))
    with pytest.raises(type(error)):
        _program._with_one_line_faults(raises(error))(["x"])


def say(text, kind="file"):
    return run("tests.experiments.says", kind, text)


def test_names_do_not_steer_the_terminal():
    ended = say("cat\x1b[2J\x9b \u202edog\ttab 猫 \ud800")
    assert ended.code == 0, ended.complaint
    assert ended.printed == "cat\\x1b[2J\\x9b \\u202edog\ttab 猫 \\ud800\n"


def test_a_terminal_without_the_letters_gets_escapes():
    assert say("猫", "few letters").printed == "\\u732b\n"


def without_notices(complaint):
    """The lines that are not TensorFlow's own about the machine."""
    # The second form is that of TensorFlow 2.20.
    notice = re.compile(
        r"[IWE]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before absl"
    )
    return [line for line in complaint.splitlines() if not notice.match(line)]


def test_output_that_cannot_be_written_is_one_sentence():
    ended = say("cat", "full disk")
    assert ended.code == 2, ended.complaint
    (line,) = without_notices(ended.complaint)
    assert line == "error: What the program writes cannot be written: No space left on device."


def test_output_that_nobody_reads_ends_the_program_quietly():
    ended = say("cat", "nobody reads")
    assert (ended.code, without_notices(ended.complaint)) == (141, [])
