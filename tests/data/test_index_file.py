"""Indexes of data sets: what was found is found again as long as nothing has changed."""

import os

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import coco_content, header_index, images, index_file
from tests.data import samples, trees

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
OF = {"path": "x", "stamp": (1, 2)}


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))


def old(path):
    """A file as if it had been written long ago."""
    os.utime(path, (1e9, 1e9))
    return path


def test_what_is_written_is_read():
    place = index_file.place_of("test", "x")
    assert index_file.read(place, OF) is None
    index_file.write(place, ARRAYS, OF)
    found = index_file.read(place, OF)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in ARRAYS.items()
    }
    assert index_file.read(place, OF | {"stamp": (1, 3)}) is None
    assert index_file.read(place) is not None
    assert os.listdir(place.parent) == [place.name]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("harm", ["cut", "changed", "text"])
def test_a_damaged_index_counts_for_nothing_and_is_named(caplog, harm, share):
    place = index_file.place_of("test", "x")
    index_file.write(place, {"a": np.arange(1000)}, OF)
    content = bytearray(place.read_bytes())
    at = int(share * len(content))
    if harm == "cut":
        del content[at:]
    else:
        content[at : at + 30] = b"x" * 30 if harm == "text" else bytes(30)
    place.write_bytes(content)
    assert index_file.read(place, OF) is None
    assert f"'{place}' is damaged" in caplog.text


def test_objects_of_python_are_never_made(caplog):
    place = index_file.place_of("test", "x")
    place.parent.mkdir(parents=True)
    np.savez(place, about=np.frombuffer(b"{}", np.uint8), a=np.array([print], object))
    assert index_file.read(place) is None
    assert "is not stored as plain numbers" in caplog.text


def test_a_cache_that_cannot_be_written_costs_time_only(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "file"))
    index_file.write(index_file.place_of("test", "x"), ARRAYS)
    assert index_file.read(index_file.place_of("test", "x")) is None


def test_files_that_were_just_written_may_change_within_their_time(tmp_path):
    (tmp_path / "a").write_text("abc")
    assert index_file.stamp(tmp_path / "a") is None
    assert index_file.stamp(old(tmp_path / "a")) == (3, 10**18)
    assert index_file.stamp(tmp_path / "none") is None


def same(one, other):
    assert [str(problem) for problem in one.problems] == [str(p) for p in other.problems]
    assert (one.classes, one.category_ids) == (other.classes, other.category_ids)
    for mine, yours in zip(one.ground_truth(), other.ground_truth(), strict=True):
        for name in ("image_id", "height", "width", "path"):
            assert getattr(mine, name) == getattr(yours, name)
        for name in ("boxes", "labels", "crowd", "area"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(yours, name))


def test_coco_is_read_from_its_index_until_the_file_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(coco_content, "_KEPT_FROM", 0)
    objects = [{"image_id": "1", "category_id": 7, "bbox": box} for box in (None, [1, 2, 9, 9])]
    root = samples.coco(tmp_path / "set", annotations=objects)
    file = old(root / "instances.json")
    first = data.load_source(f"coco:{root}")
    assert [problem.kind for problem in first.problems] == ["broken_box"]

    def never(*_):
        raise AssertionError("the file is read again")

    with monkeypatch.context() as patch:
        patch.setattr(coco_content, "_read", never)
        same(first, data.load_source(f"coco:{root}"))
    file.write_text(trees.coco(["0.jpg"]))
    os.utime(file, (1e9 + 1, 1e9 + 1))
    assert data.load_source(f"coco:{root}").classes == ("cat",)


def test_headers_are_read_again_where_the_file_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(header_index, "FEW", 0)
    paths = [samples.picture(tmp_path / f"{n}.jpg", seed=n, width=30 + n) for n in range(4)]
    for path in paths:
        old(path)
    opened = []
    real = images.read_header
    monkeypatch.setattr(images, "read_header", lambda path: opened.append(path) or real(path))

    def read():
        opened.clear()
        with header_index.HeaderIndex(len(paths)) as index:
            return [index.read(str(path)) for path in paths]

    first = read()
    assert [header.width for header in first] == [30, 31, 32, 33]
    assert all(header.standard_jpeg for header in first)
    assert len(opened) == 4
    assert read() == first
    assert not opened
    samples.picture(paths[2], width=50)
    assert [header.width for header in read()] == [30, 31, 50, 33]
    assert opened == [str(paths[2])]  # and again, as long as it was just written
