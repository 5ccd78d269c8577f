"""Names are shown on one line, whatever is in them, and names that differ look different."""

import pytest

from ssd_keras import display


@pytest.mark.parametrize(
    ("count", "nouns", "shown"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (1, ("class", "classes"), "1 class"),
        (1203, ("class", "classes"), "1,203 classes"),
    ],
)
def test_counts_agree_with_their_nouns(count, nouns, shown):
    assert display.counted(count, *nouns) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("a cat, small", "a cat, small"),
        ("고양이", "고양이"),
        ("naïve ½ €", "naïve ½ €"),
        ('$x^2$ <script> & "it\'s"', '$x^2$ <script> & "it\'s"'),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\0b\x7f\x9b", r"a\x00b\x7f\x9b"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("a\u200bb", r"a\u200bb"),
        ("one\u2028two", r"one\u2028two"),
        ("\ufeffcat", r"\ufeffcat"),
        ("a\xa0b", r"a\xa0b"),
        ("\ud800", r"\ud800"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("עברית", "עברית"),
        ("", "''"),
        ("  ", "'  '"),
        (" cat", "' cat'"),
        ("\u3164", r"\u3164"),
        (7, "7"),
    ],
)
def test_a_name_is_one_line_without_control(name, shown):
    assert display.printable(name) == shown


def test_long_names_end_in_an_ellipsis():
    assert display.printable("x" * 50, 10) == "x" * 9 + "…"
    assert display.printable("고양이" * 9, 10) == "고양이고…"
    assert display.printable("ten signs!", 10) == "ten signs!"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("cat", 3), ("고양이", 6), ("\uff43\uff41\uff54", 6), ("e\u0301", 1), ("😀", 2), ("", 0)],
)
def test_columns_of_a_terminal(text, columns):
    assert display.width(text) == columns


def test_cells_of_a_column_are_equally_wide():
    cells = display.column(["cat", "고양이", "a\nb", "x" * 99, ""], most=20)
    assert {display.width(cell) for cell in cells} == {20}
    assert cells[2].rstrip() == r"a\nb"
    assert {len(cell) for cell in display.column(["a"], least=14)} == {14}


def test_names_in_a_sentence():
    assert display.join_names(["cat", "a\nb"]) == r"cat, a\nb"
    assert display.join_names(map(str, range(9)), 2) == "0, 1, ..."


def test_texts_of_several_lines_keep_them_and_nothing_that_steers():
    shown = display.without_controls("a\tb\n\x1b[2J\u202e\x9b1m고")
    assert shown == "a\tb\n\\x1b[2J\\u202e\\x9b1m고"


@pytest.mark.parametrize(
    ("count", "seconds", "said"),
    [
        (1, 66.31, "66.3 seconds each"),
        (4, 10, "2.5 seconds each"),
        (10, 10, "1.0 a second"),
        (303, 24, "12.6 a second"),
        (0, 3, "0.0 a second"),
    ],
)
def test_a_pace_says_something_of_slow_things_too(count, seconds, said):
    assert display.pace(count, seconds) == said
