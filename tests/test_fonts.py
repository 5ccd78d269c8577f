"""Signs of every script are drawn with a font that has them, or it is said what to install."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from ssd_keras import drawing, figures, fonts

HANGUL, HAN = "고양이", "猫"


def write_font(path, signs: str, name: str):
    """A font in which every sign is a full square."""
    pen = TTGlyphPen(None)
    for move, point in ((pen.moveTo, (0, 0)), (pen.lineTo, (0, 800)), (pen.lineTo, (800, 800))):
        move(point)
    pen.lineTo((800, 0))
    pen.closePath()
    square, names = pen.glyph(), [f"uni{ord(sign):04X}" for sign in signs]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(s): n for s, n in zip(signs, names, strict=True)})
    builder.setupGlyf(dict.fromkeys([".notdef", *names], square))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def system(monkeypatch):
    """Sets which fonts the system has."""

    def has(*paths):
        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda **_: list(paths))
        fonts.forget()

    has()
    yield has
    monkeypatch.undo()
    fonts.forget()


def test_latin_greek_and_cyrillic_need_no_font_of_the_system(system, monkeypatch):
    monkeypatch.setattr(fonts, "_fonts", lambda: pytest.fail("looked for fonts"))
    assert fonts.font_runs("cat кот γάτα ½") == (("cat кот γάτα ½", fonts.default_font()),)


def test_a_font_of_the_system_that_has_the_whole_text_is_taken(system, tmp_path):
    korean = write_font(tmp_path / "k.ttf", HANGUL, "Korean")
    both = write_font(tmp_path / "z.ttf", HANGUL + " 0.93", "Both")
    system(korean, both)
    assert fonts.font_runs(HANGUL) == ((HANGUL, korean),)
    assert fonts.font_runs(f"{HANGUL} 0.93") == ((f"{HANGUL} 0.93", both),)


def test_scripts_that_no_single_font_has_are_drawn_in_parts(system, tmp_path):
    korean = write_font(tmp_path / "k.ttf", HANGUL, "Korean")
    chinese = write_font(tmp_path / "c.ttf", HAN, "Chinese")
    system(korean, chinese)
    found = fonts.font_runs(f"a {HANGUL}{HAN}b")
    assert [part for part, _ in found] == ["a ", HANGUL, HAN, "b"]
    assert [path for _, path in found][1:3] == [korean, chinese]


def test_without_a_font_signs_are_written_as_numbers_and_that_is_said_once(system):
    with pytest.warns(UserWarning, match="fonts-noto-cjk") as said:
        shown = list(map(fonts.drawable, (f"{HANGUL} 1", "개", HAN)))
    assert shown == [r"\uace0\uc591\uc774 1", r"\uac1c", r"\u732b"]
    assert len(said) == 1
    with pytest.warns(UserWarning, match="THAI.*fonts-noto"):
        fonts.drawable("ไ")


def test_a_damaged_font_and_one_of_pictures_are_passed_over(system, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"\0\1\0\0" + bytes(200))
    korean = write_font(tmp_path / "k.ttf", HANGUL, "Korean")
    system(str(tmp_path / "missing.ttf"), str(tmp_path / "broken.ttf"), korean)
    assert fonts.font_runs(HANGUL) == ((HANGUL, korean),)


def test_boxes_on_pictures_show_hangul(system, tmp_path):
    system(write_font(tmp_path / "k.ttf", HANGUL, "Korean"))
    ground = np.full((200, 300, 3), 90, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = drawing.draw_boxes(ground, [[0.4, 0.2, 0.9, 0.8]], [0], [HANGUL])
    # Letters of the test's font are full squares: black ink on the ground of the class.
    ink = (picture == 0).all(-1)[60:80]
    assert ink.sum() > 3 * 0.5 * (0.8 * 11) ** 2


def test_figures_show_hangul(system, tmp_path):
    system(write_font(tmp_path / "k.ttf", HANGUL, "Test Korean"))
    figure = figures.confusion(np.eye(2, dtype=int), [HANGUL])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.save(figure, tmp_path / "a.png")
    label = figure.axes[0].get_yticklabels()[0]
    assert label.get_text() == HANGUL
    assert "Test Korean" in label.get_fontfamily()


@pytest.mark.parametrize(
    "place", ["drawing.py", "sheets.py", "display.py", "detections.py", "data"]
)
def test_boxes_are_drawn_without_matplotlib(place):
    place = Path(fonts.__file__).parent / place
    for file in [place] if place.is_file() else place.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [getattr(node, "module", None) or ""]
            names += [one.name for one in getattr(node, "names", []) if hasattr(one, "name")]
            for name in names if isinstance(node, (ast.Import, ast.ImportFrom)) else []:
                assert name.partition(".")[0] not in ("matplotlib", "figures", "plots"), file
