"""A .tflite file that is damaged in any way ends in one line, or is run: nothing else happens."""

import collections
import random
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest

from ssd_keras import deploy
from ssd_keras.deploy import flatbuffer, metadata, trial
from ssd_keras.deploy.runtime import TFLiteDetector
from ssd_keras.deploy.tflite_file import TFLiteFile
from tests import mutations
from tests.deploy.conftest import pictures

pytestmark = pytest.mark.slow

IMAGE = pictures(1)[0]
# A file is run in a process of its own first.
EVENTS = ("subprocess.Popen", "os.posix_spawn", "os.fork")
NUMBERS = (0, 1, -1, 3, 100, 65535, 200_000, 2**31 - 1, -(2**31))


def detect(path):
    return TFLiteDetector(path).detect(IMAGE)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """What is printed is held in a file meanwhile; and nothing takes its full minute here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trial, "SECONDS", 15)


@pytest.fixture
def path(tmp_path, int8_file):
    path = tmp_path / "model.tflite"
    path.write_bytes(int8_file)
    detect(path)
    return path


def outcomes(path, contents) -> collections.Counter:
    """What comes of each content in the file's place."""
    found = collections.Counter()
    for name, content in contents:
        path.write_bytes(content)
        try:
            found[mutations.outcome(path, detect, seconds=30, events=EVENTS)] += 1
        except mutations.Fault as fault:
            raise mutations.Fault(f"{name}: {fault}") from fault
    return found


def test_files_with_wrong_bytes(path):
    found = mutations.fuzz(path, detect, count=50, seconds=30, events=EVENTS)
    assert found["UserError"] > 15


def test_files_with_wrong_bytes_where_no_constants_are(path, int8_file):
    """Most of a file is constants, in which wrong numbers do not show."""
    start = len(int8_file) - 40_000
    tail = mutations.mutations(int8_file[start:], count=50, seed=1)
    found = outcomes(path, ((name, int8_file[:start] + content) for name, content in tail))
    assert found["UserError"] > 8


def test_files_with_a_wrong_number_in_their_tables(path, int8_file):
    found = outcomes(path, wrong_tables(int8_file, 50))
    assert found["UserError"] > 8


def wrong_tables(content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Whole files of which one number, or one entry of a list, is another."""
    for seed in range(count):
        chance = random.Random(seed)
        file = TFLiteFile(content)
        places = collections.defaultdict(list)
        for kind, owner, field in numbers_in(file.model):
            places[kind].append((owner, field))
        kind = chance.choice(sorted(places))
        owner, field = chance.choice(places[kind])
        value = getattr(owner, field)
        if isinstance(value, np.ndarray):
            value = value.copy()
            limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else np.finfo(value.dtype)
            number = float(np.clip(chance.choice(NUMBERS), limits.min, limits.max))
            value[chance.randrange(len(value))] = value.dtype.type(number)
            setattr(owner, field, value[: chance.randint(0, len(value))] if seed % 3 else value)
        elif isinstance(value, list):
            setattr(owner, field, chance.sample(value, len(value)))
        else:
            setattr(owner, field, type(value)(chance.choice(NUMBERS)))
        try:
            yield f"{seed} {kind}", file.to_bytes()
        except Exception:
            continue  # What cannot be packed is no file.


def numbers_in(owner, kind: str = "") -> Iterator[tuple[str, object, str]]:
    """(kind, table, field) of each number and each list in a table and the tables below it."""
    for field, value in vars(owner).items():
        name = f"{kind}.{field}"
        if isinstance(value, list):
            yield name, owner, field
            for item in value:
                if hasattr(item, "__dict__"):
                    yield from numbers_in(item, name)
        elif hasattr(value, "__dict__"):
            yield from numbers_in(value, name)
        elif isinstance(value, np.ndarray):
            if len(value) and field != "data":
                yield name, owner, field
        elif isinstance(value, (bool, int, float, np.number)):
            yield name, owner, field


@pytest.mark.parametrize("name", [*metadata.LABEL_FILES[:1], metadata.SETTINGS_FILE])
def test_damaged_files_that_are_packed_behind_a_whole_model(path, int8_file, name):
    def damaged():
        good = TFLiteFile(int8_file).files[name]
        for damage, content in mutations.mutations(good, count=30, seed=2):
            file = TFLiteFile(int8_file)
            file.files[name] = content
            yield damage, file.to_bytes()

    assert outcomes(path, damaged()).total() == 30


def test_reading_the_tables_of_a_damaged_file(tmp_path, int8_file):
    path = tmp_path / "model.tflite"
    path.write_bytes(int8_file)

    def read(path):
        return TFLiteFile(path.read_bytes()).operators()

    found = mutations.fuzz(path, read, count=200, seconds=20, named="")
    assert found["UserError"] > 60


@pytest.mark.parametrize("kind", mutations.PLACES)
def test_what_is_no_file(tmp_path, kind):
    mutations.put_in_place(tmp_path / "model.tflite", kind)
    assert mutations.outcome(tmp_path / "model.tflite", detect, events=EVENTS) == "UserError"


def test_a_file_that_would_end_the_process(int8_file, monkeypatch):
    """An operator gets the parameters of another, and reads where nothing is."""
    file = TFLiteFile(int8_file)
    codes = file.model.operatorCodes
    found = set()
    for first in range(len(codes)):
        file.model.operatorCodes = [codes[first]] * len(codes)
        content = flatbuffer.write(file.model)
        fault = trial.fault_of(content)
        assert fault is not None
        found.add(fault)
        with pytest.raises(deploy.runtime.UserError, match="cannot be run"):
            TFLiteDetector(content, classes=["a"])
    assert "the runtime crashes on it" in found


def test_a_file_without_end(int8_file, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.01)
    with pytest.raises(deploy.runtime.UserError, match=r"does not come to an end within 0\.01 s"):
        TFLiteDetector(int8_file)
