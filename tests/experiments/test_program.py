"""What all programs share."""

import ssd_keras
from experiments import _program
from tests.data.samples import voc_image, voc_object
from tests.experiments import programs


def test_what_the_library_warns_of_is_one_line(capsys):
    show = _program._shown_without_code(None)
    show(UserWarning("this and that"), UserWarning, ssd_keras.__file__, 7)
    assert capsys.readouterr().err == "warning: this and that\n"


def test_other_warnings_are_shown_as_usual():
    seen = []
    show = _program._shown_without_code(lambda *given: seen.append(given))
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
