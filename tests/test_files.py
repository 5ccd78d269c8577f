"""Files are written whole or not at all."""

import pytest

from ssd_keras.errors import UserError
from ssd_keras.files import check_writable, replace, write_bytes


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
