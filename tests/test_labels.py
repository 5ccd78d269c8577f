"""Class names come back from a file as they were, or are refused before anything is made."""

import time

import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.labels import check_names, label_text, read_labels

NAMES = [
    "cat",
    " led by a blank",
    "trailed by one ",
    "$x$",
    "<script>alert(1)</script>",
    "bell\x07",
    "Vogel-Strauß",
    "猫",
    "a,b",
    '"quoted"',
    "\ttab",
    "#1",
]


def test_names_come_back_as_they_were(tmp_path):
    check_names(NAMES)
    (tmp_path / "labels.txt").write_bytes(label_text(NAMES).encode())
    assert list(read_labels(tmp_path / "labels.txt")) == NAMES


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"cat\ndog", ("cat", "dog")),
        (b"cat\r\ndog\r\n", ("cat", "dog")),
        ("\ufeffcat\ndog\n".encode(), ("cat", "dog")),
        ("a\u2028b\nc\x85d\n".encode(), ("a\u2028b", "c\x85d")),
    ],
)
def test_files_that_editors_changed(tmp_path, content, names):
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_labels(tmp_path / "labels.txt") == names


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "names no class"),
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"cat\n  \n", "line 2 is empty"),
        (b"cat\ndog\ncat\n", "'cat' stands there twice"),
        (b"cat\n\xff\xfe\n", "utf-8"),
        ("cat\ndog\n".encode("utf-16-le"), "no text"),
        (b"cat\x00\n", "no text"),
    ],
)
def test_files_that_are_no_list_of_names(tmp_path, content, reason):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"labels\.txt' cannot be read as .*{reason}"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize("end", ["\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\0"])
def test_a_name_that_no_line_can_hold_is_refused_where_a_detector_is_made(end):
    with pytest.raises(UserError, match=r"class name 'a.*b' holds an end of line.*rename it"):
        ssd_keras.create("SSD_MobileNet_96", ["cat", f"a{end}b"], width=0.25)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cat", ""], "Class 1 has no name"),
        ([" \t", "cat"], "Class 0 has no name"),
        (["cat", 7], "must be text, but class 1 is 7"),
        (["a\ud800b"], "half a character"),
        (["cat", "dog", "cat"], "'cat' is given more than once"),
    ],
)
def test_names_that_are_refused(names, reason):
    with pytest.raises(UserError, match=reason):
        check_names(names)


def test_a_detector_of_old_is_not_written_as_other_classes():
    with pytest.raises(UserError, match="rename it"):
        label_text(["cat\ndog"])


def test_many_names_take_no_time(tmp_path):
    names = [f"class {i}" for i in range(100_000)]
    (tmp_path / "labels.txt").write_text(label_text(names))
    started = time.perf_counter()
    check_names(names)
    assert len(read_labels(tmp_path / "labels.txt")) == 100_000
    assert time.perf_counter() - started < 2
