"""Files are written whole or not at all; only regular ones are read."""

import pytest

from ssd_keras.errors import UserError
from ssd_keras.files import check_writable, open_regular, replace, write_bytes
from tests import mutations


def test_a_file_is_written_into_a_new_folder(tmp_path):
    path = write_bytes(tmp_path / "a" / "b.tflite", b"model")
    assert path.read_bytes() == b"model"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.tflite"]


def test_a_write_that_fails_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "state.txt"
    path.write_text("good")

    def full_disk(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        replace(path, full_disk)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_no_partial_file_is_ever_seen_under_the_final_name(tmp_path):
    path = tmp_path / "state.txt"

    def write(temporary):
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == path.suffix

    replace(path, write)
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    ("place", "message"),
    [("file/b.tflite", "file' is a file, not a folder"), ("folder", "is a folder: give the name")],
)
def test_places_that_cannot_be_written(tmp_path, place, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        check_writable(tmp_path / place)


def test_the_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "b.tflite")
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_file_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"data")
    (tmp_path / "b").symlink_to("a")
    with open_regular(tmp_path / "b") as file:
        assert file.read() == b"data"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("a FIFO", "a pipe"), ("an endless device", "a device"), ("a folder", "a folder")],
)
def test_what_is_no_regular_file_is_not_opened(tmp_path, kind, reason):
    mutations.put_in_place(tmp_path / "a", kind)
    with pytest.raises(OSError, match=f"it is {reason}, not a file") as caught:
        open_regular(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000])
def test_a_name_that_no_file_can_have_is_an_oserror(tmp_path, name):
    with pytest.raises(OSError, match="name"):
        open_regular(f"{tmp_path}/{name}")
