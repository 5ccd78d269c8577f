"""Folders on remote places, here in the memory of TensorFlow and as `file://`."""

import tempfile

import pytest

from ssd_keras import remote, working_copy, zoo
from ssd_keras.errors import UserError
from ssd_keras.locks import Busy
from ssd_keras.run_folder import RunFolder
from ssd_keras.weights import published
from tests.tiny import detector as tiny_detector

LAST = ("settings", "state")


@pytest.fixture(params=["ram", "file"])
def place(request, tmp_path):
    """A remote folder that is not there yet."""
    return f"ram://{tmp_path.name}/runs/a" if request.param == "ram" else f"file://{tmp_path}/a"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where copies are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def elsewhere():
    """From now on it is as in another process."""
    working_copy._copy_of.cache_clear()


def written(place: str) -> dict[str, bytes]:
    """What lies on a remote place, by name."""
    found = {}
    for folder, _, names in remote.files().walk(place):
        for name in names:
            with remote.open_binary(f"{folder.rstrip('/')}/{name}") as file:
                found[f"{folder}/{name}".removeprefix(place).strip("/")] = file.read()
    return found


def write(copy, **contents: str):
    for name, text in contents.items():
        path = copy.path / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_what_is_sent_is_fetched_elsewhere(place):
    copy = working_copy.working_copy(place)
    copy.fetch(["state", "history"])
    assert not list(copy.path.iterdir())
    write(copy, state="1", history="2", pictures__a="3")
    (copy.path / ".partial-7-state").write_text("half")
    copy.send(LAST, "")
    assert written(place) == {"state": b"1", "history": b"2", "pictures/a": b"3"}
    elsewhere()
    other = working_copy.working_copy(f"{place}/")
    assert other.path != copy.path
    other.fetch(["state", "history", "best"])
    assert {path.name: path.read_text() for path in other.path.iterdir()} == {
        "state": "1",
        "history": "2",
    }


def test_what_has_changed_is_sent_again_and_the_state_last(place, monkeypatch):
    copy = working_copy.working_copy(place)
    write(copy, state="1", settings="2", a="3", z="4")
    sent, real = [], remote.copy
    monkeypatch.setattr(
        remote, "copy", lambda source, target: sent.append(source.name) or real(source, target)
    )
    copy.send(LAST, "")
    assert sent == ["a", "z", "settings", "state"]
    copy.send(LAST, "")
    write(copy, state="longer", z="5 longer")
    copy.send(LAST, "")
    assert sent[4:] == ["z", "state"]
    assert written(place)["state"] == b"longer"


def test_what_is_gone_there_is_gone_here(place):
    copy = working_copy.working_copy(place)
    write(copy, state="1", history="2")
    copy.send(LAST, "")
    remote.remove(f"{place}/state")
    copy.fetch(["state", "history"])
    assert [path.name for path in copy.path.iterdir()] == ["history"]


def test_what_a_killed_process_left_there_is_removed(place):
    copy = working_copy.working_copy(place)
    write(copy, a="1", pictures__a="2")
    copy.send(LAST, "")
    for name in (".partial-7-state", "pictures/.partial-7-a"):
        remote.write_bytes(f"{place}/{name}", b"half")
    copy.remove_leftovers(("", "pictures", "none"))
    assert set(written(place)) == {"a", "pictures/a"}


def test_that_another_process_writes_there_is_noticed(place):
    mine = working_copy.working_copy(place)
    mine.fetch(LAST)
    elsewhere()
    theirs = working_copy.working_copy(place)
    theirs.fetch(LAST)
    write(theirs, state="theirs")
    theirs.send(LAST, "")
    write(mine, state="mine of another size")
    with pytest.raises(Busy, match=f"'{place}' is in use by another process.*: wait"):
        mine.send(LAST, "wait.")
    assert written(place)["state"] == b"theirs"
    write(theirs, state="more of theirs")
    theirs.send(LAST, "")
    assert written(place)["state"] == b"more of theirs"


def test_what_cannot_be_sent_is_kept_and_named(tmp_path, temporary):
    (tmp_path / "file").write_text("in the way")
    copy = working_copy.working_copy(f"file://{tmp_path}/file/run")
    write(copy, state="1")
    with pytest.raises(UserError, match=r"Not a directory.* are kept in '") as caught:
        copy.send(LAST, "")
    kept = copy.path
    assert str(kept) in str(caught.value)
    del copy, caught
    elsewhere()
    assert (kept / "state").read_text() == "1"


def test_a_copy_goes_with_its_process(place, temporary):
    working_copy.working_copy(place)
    assert len(list(temporary.iterdir())) == 1
    elsewhere()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("given", "name"),
    [("gs:/bucket/run", "gs://bucket/run"), ("gs://bucket/run/", "gs://bucket/run")],
)
def test_a_place_is_the_same_however_it_is_written(given, name):
    assert working_copy.working_copy(given) is working_copy.working_copy(name)
    assert RunFolder(given).place == name
    # No part of the name leads out of the temporary folder.
    assert "/" not in working_copy.working_copy("gs://b/../../x").path.name


def test_a_run_folder_there_belongs_to_one_run(place):
    folder = RunFolder(place)
    with folder.lock():
        assert folder.open({"seed": 0}, ("cat",)) is False
    assert set(written(place)) == {"settings.json", "labels.txt"}
    elsewhere()
    again = RunFolder(place)
    again.fetch()
    assert again.open({"seed": 0}, ("cat",)) is True
    with pytest.raises(UserError, match=f"'{place}' was started with seed=0"):
        again.open({"seed": 1}, ("cat",))


def test_a_detector_there_is_loaded_by_folder_and_by_file(place):
    folder = RunFolder(place)
    with pytest.raises(UserError, match=f"'{place}' holds no trained detector"):
        zoo.load(place)
    with pytest.raises(UserError, match=f"no .keras file '{place}/best.keras'"):
        zoo.load(f"{place}/best.keras")
    detector = tiny_detector()
    with folder.lock():
        detector.save(folder.last)
    for name in (place, f"{place}/last.keras"):
        elsewhere()
        loaded = zoo.load(name)
        for mine, theirs in zip(detector.get_weights(), loaded.get_weights(), strict=True):
            assert (mine == theirs).all()
    assert str(published.results_folder(place, "evaluation")) == "a_evaluation"
