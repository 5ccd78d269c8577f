"""What all programs share."""

import ssd_keras
from experiments import _program


def test_what_the_library_warns_of_is_one_line(capsys):
    show = _program._shown_without_code(None)
    show(UserWarning("this and that"), UserWarning, ssd_keras.__file__, 7)
    assert capsys.readouterr().err == "warning: this and that\n"


def test_other_warnings_are_shown_as_usual():
    seen = []
    show = _program._shown_without_code(lambda *given: seen.append(given))
    show(UserWarning("elsewhere"), UserWarning, "/somewhere/else.py", 7)
    assert len(seen) == 1
