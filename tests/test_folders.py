"""Folders are written whole or not at all, and never over what somebody else put there."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ssd_keras import folders
from ssd_keras.errors import UserError
from ssd_keras.folders import check_folder, replace_folder
from tests import mutations
from tests.conftest import ROOT

MANIFEST = "extra/written.json"


def writer(text: str):
    def write(place):
        (place / "model").write_text(text)
        (place / "variables").mkdir()
        (place / "variables" / "data").write_text(text * 2)

    return write


def put(folder, text: str = "first"):
    return replace_folder(folder, writer(text), MANIFEST)


def contents(folder) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "written.json"
    }


FIRST = {"model": "first", "variables/data": "firstfirst"}
SECOND = {"model": "second", "variables/data": "secondsecond"}


@pytest.fixture(params=["one step", "two steps"])
def swap(request, monkeypatch):
    """Both ways of swapping folders."""
    if request.param == "two steps":
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)


@pytest.mark.usefixtures("swap")
def test_a_folder_is_written_and_replaced(tmp_path):
    folder = tmp_path / "new" / "pets"
    assert put(folder) == folder
    assert contents(folder) == FIRST
    assert put(folder, "second") == folder
    assert contents(folder) == SECOND
    assert [path.name for path in folder.parent.iterdir()] == ["pets"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "pets").mkdir()
    check_folder(tmp_path / "pets", MANIFEST)
    assert contents(put(tmp_path / "pets")) == FIRST


def test_everybody_may_read_it(tmp_path):
    assert put(tmp_path / "pets").stat().st_mode & 0o777 == 0o755


def test_a_link_to_a_folder_stays_one(tmp_path):
    put(tmp_path / "pets")
    (tmp_path / "link").symlink_to("pets")
    put(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "pets") == SECOND


def _nothing_of_ours(folder):
    (folder / MANIFEST).unlink()


def _a_file_beside(folder):
    (folder / "variables" / "notes.txt").write_text("mine")


def _a_link_beside(folder):
    (folder / "link").symlink_to("model")


def _a_link_to_a_folder(folder):
    (folder / "link").symlink_to("variables")


def _a_changed_file(folder):
    (folder / "model").write_text("mine")


def _a_link_instead(folder):
    (folder / "model").rename(folder.parent / "elsewhere")
    (folder / "model").symlink_to(folder.parent / "elsewhere")


def _a_fifo_instead(folder):
    mutations.put_in_place(folder / "model", "a FIFO")


def _a_damaged_manifest(folder):
    (folder / MANIFEST).write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nothing_of_ours, "holds other files: give an empty or new folder"),
        (_a_file_beside, "holds 'variables/notes.txt', which was not written with the rest"),
        (_a_link_beside, "holds 'link', which was not written"),
        (_a_link_to_a_folder, "holds 'link', which was not written"),
        (_a_changed_file, "holds 'model', which .* was changed since"),
        (_a_link_instead, "holds 'model'"),
        (_a_fifo_instead, "holds 'model'"),
        (_a_damaged_manifest, "holds 'model'"),
    ],
)
def test_what_somebody_else_put_there_is_not_replaced(tmp_path, change, message):
    folder = put(tmp_path / "pets")
    change(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        check_folder(folder, MANIFEST)
    with pytest.raises(UserError, match=message):
        put(folder, "second")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_manifest_that_names_files_elsewhere_deletes_none(tmp_path):
    folder = put(tmp_path / "pets")
    (tmp_path / "photo.jpg").write_text("mine")
    written = json.loads((folder / MANIFEST).read_text())
    written["../photo.jpg"] = folders._digest(tmp_path / "photo.jpg")
    (folder / MANIFEST).write_text(json.dumps(written))
    put(folder, "second")
    assert contents(folder) == SECOND
    assert (tmp_path / "photo.jpg").read_text() == "mine"


def test_what_comes_while_it_is_written_is_kept(tmp_path):
    folder = put(tmp_path / "pets")

    def write(place):
        writer("second")(place)
        (folder / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"holds 'notes.txt'"):
        replace_folder(folder, write, MANIFEST)
    assert contents(folder) == FIRST | {"notes.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_what_comes_at_the_last_moment_is_kept(tmp_path, monkeypatch):
    folder = put(tmp_path / "pets")
    put_there = folders._put

    def late(temporary, place):
        (place / "notes.txt").write_text("mine")
        put_there(temporary, place)

    monkeypatch.setattr(folders, "_put", late)
    put(folder, "second")
    assert contents(folder) == SECOND
    assert [path.read_text() for path in tmp_path.rglob("notes.txt")] == ["mine"]


class Diskless(Exception):
    """How TensorFlow tells that a disk is full."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device. The disk at"),
        (Diskless("WriteFile: a; No space left on device"), "No space left.*MB left: make room"),
        (Diskless("a; Read-only file system"), "Read-only file system. The disk at .* can only be"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied. What was there"),
    ],
)
def test_a_disk_that_fails_leaves_the_earlier_folder(tmp_path, error, message):
    folder = put(tmp_path / "pets")

    def fail(place):
        writer("half")(place)
        raise error

    with pytest.raises(UserError, match=rf"pets' cannot be written: {message}"):
        replace_folder(folder, fail, MANIFEST)
    assert contents(folder) == FIRST
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_other_faults_leave_nothing_either(tmp_path, error):
    def fail(place):
        writer("half")(place)
        raise error

    with pytest.raises(type(error)):
        replace_folder(tmp_path / "pets", fail, MANIFEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", "is a file: give a folder"),
        ("file/pets", "file' is a file, not a folder"),
        (".", "cannot be replaced as a whole: name a folder in it"),
        ("..", "holds other files|cannot be replaced as a whole"),
    ],
)
def test_places_where_no_folder_can_be(tmp_path, monkeypatch, place, message):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if place.startswith("file"):
        (tmp_path / "here" / "file").touch()
    with pytest.raises(UserError, match=message):
        check_folder(place, MANIFEST)


def test_the_check_leaves_nothing_behind(tmp_path):
    check_folder(tmp_path / "pets", MANIFEST)
    assert list(tmp_path.iterdir()) == []


def test_there_is_a_whole_folder_at_every_moment(tmp_path):
    if not folders._exchange(*(make(tmp_path / name) for name in "ab")):
        pytest.skip("this system cannot swap folders in one step")
    folder, seen, done = put(tmp_path / "pets"), set(), threading.Event()

    def watch():
        while not done.is_set():
            try:
                seen.add((folder / "model").read_text())
            except OSError:
                seen.add("nothing")

    watcher = threading.Thread(target=watch)
    watcher.start()
    for index in range(100):
        put(folder, f"{index}")
    done.set()
    watcher.join()
    assert "nothing" not in seen
    assert len(seen) > 2


def make(folder):
    folder.mkdir()
    return folder


# The package without its __init__, which would bring TensorFlow along.
KILLED = """
import itertools, sys, types
sys.modules["ssd_keras"] = types.ModuleType("ssd_keras")
sys.modules["ssd_keras"].__path__ = ["ssd_keras"]
from ssd_keras.folders import replace_folder
def write(place):
    (place / "a").write_text(str(n) * 100_000)
    (place / "b").write_text(str(n) * 100_000)
print("ready", flush=True)
for n in itertools.cycle("123456789"):
    replace_folder(sys.argv[1], write, "written.json")
"""


def test_killed_at_any_moment_a_whole_folder_is_there(tmp_path):
    folder = tmp_path / "pets"
    for attempt in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, folder], cwd=ROOT, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        while not folder.exists():
            time.sleep(0.001)
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert (folder / "a").read_text() == (folder / "b").read_text() != ""
        check_folder(folder, "written.json")
