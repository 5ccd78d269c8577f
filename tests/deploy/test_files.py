"""Exported files are written whole or not at all."""

import os

import pytest

from ssd_keras.deploy.files import check_writable, write_file
from ssd_keras.errors import UserError


def test_a_file_is_written_into_a_new_folder(tmp_path):
    path = write_file(tmp_path / "a" / "b.tflite", b"model")
    assert path.read_bytes() == b"model"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.tflite"]


def test_a_failure_leaves_the_earlier_file_and_no_half_one(tmp_path, monkeypatch):
    path = write_file(tmp_path / "b.tflite", b"earlier")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write_file(path, b"later")
    assert path.read_bytes() == b"earlier"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.tflite"]


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
