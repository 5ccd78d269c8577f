"""The damages are many and repeatable, and the guard sees what a reader must not do."""

import io
import json
import os
import subprocess
import time
import zipfile

import numpy as np
import pytest

from ssd_keras.errors import UserError
from tests.mutations import PLACES, Fault, fuzz, mutations, outcome, put_in_place

JSON = json.dumps({"model": "SSD", "epochs": 3, "freeze": ["a", "b"], "recipe": {"rate": 0.1}})


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", JSON)
        archive.writestr("weights", bytes(1000))
    return stream.getvalue()


GOOD = {
    "binary": bytes(range(256)) * 8,
    "text": b"cat 1 2.5\ndog 3 4\n",
    "json": JSON.encode(),
    "zip": zipped(),
    "empty": b"",
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_seed_gives_the_same_damages(kind):
    first, again = (list(mutations(GOOD[kind], 60, 3)) for _ in range(2))
    assert first == again
    assert len(first) == 60
    assert kind == "empty" or len({damaged for _, damaged in first} - {GOOD[kind]}) > 35


def test_archives_stay_archives_where_a_member_is_damaged():
    named = [(name, data) for name, data in mutations(GOOD["zip"], 80) if "zip_member" in name]
    assert named
    for _, data in named:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None


def test_a_bomb_says_what_it_unpacks_to():
    (data,) = {data for name, data in mutations(GOOD["zip"], 20, 1) if "zip_bomb" in name}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert max(entry.file_size for entry in archive.infolist()) == 1 << 30
        bomb = max(archive.infolist(), key=lambda entry: entry.file_size)
        with archive.open(bomb) as member:
            assert member.read(1000) == bytes(1000)
    assert len(data) < 10 << 20


def read_json(path):
    try:
        content = json.loads(path.read_bytes())
        return content["epochs"] + 1
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is damaged.") from error


def test_a_reader_that_knows_its_errors_passes(tmp_path):
    (tmp_path / "x.json").write_text(JSON)
    found = fuzz(tmp_path / "x.json", read_json, count=80)
    assert sum(found.values()) == 80
    assert found["UserError"] > 20
    assert (tmp_path / "x.json").read_text() == JSON


def test_one_that_does_not_is_named_with_the_damage(tmp_path):
    (tmp_path / "x.json").write_text(JSON)
    with pytest.raises(Fault, match=r"of x\.json.*\n\d+ \w+: JSONDecodeError"):
        fuzz(tmp_path / "x.json", lambda path: json.loads(path.read_bytes()))


BAD_READERS = {
    "opens another file": (lambda path: open("/etc/hostname").close(), "open '/etc/hostname'"),
    "writes outside": (lambda path: (path.parents[1] / "out").write_text(""), "open '"),
    "starts a program": (lambda path: subprocess.run(["true"], check=True), "subprocess.Popen"),
    "imports": (lambda path: __import__("antigravity_of_no_kind"), "imported 'antigravity"),
    "waits": (lambda path: time.sleep(5), "more than 0.5 s"),
    "computes": (lambda path: all(True for _ in iter(int, 1)), "more than 0.5 s"),
    "takes memory": (lambda path: np.ones(1 << 28), "MemoryError"),
    "fails": (lambda path: 1 / 0, "ZeroDivisionError"),
}


@pytest.mark.parametrize("kind", BAD_READERS)
def test_the_guard_sees(tmp_path, kind):
    read, reason = BAD_READERS[kind]
    with pytest.raises(Fault, match=reason):
        outcome(tmp_path / "x", read, seconds=0.5)


def test_the_guard_sees_memory_that_was_asked_for_in_vain(tmp_path):
    def read(path):
        try:
            np.ones(1 << 28)
        except MemoryError as error:
            raise UserError(f"'{path}' is damaged.") from error

    with pytest.raises(Fault, match="more than 600 MB"):
        outcome(tmp_path / "x", read)


@pytest.mark.parametrize("message", ["two\nlines of x", "nobody"])
def test_an_error_is_one_line_that_names_the_file(tmp_path, message):
    def read(path):
        raise UserError(message)

    with pytest.raises(Fault, match=r"one line|does not name"):
        outcome(tmp_path / "x", read)


@pytest.mark.parametrize("kind", PLACES)
def test_other_things_in_a_files_place(tmp_path, kind):
    path = tmp_path / "x"
    path.write_text("good")
    put_in_place(path, kind)
    assert os.path.lexists(path)
