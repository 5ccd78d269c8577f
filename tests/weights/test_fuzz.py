"""Weight files that are damaged in any way end in one line, or are read: nothing else happens."""

import shutil
import zipfile

import pytest

import ssd_keras
from ssd_keras.weights.importing import import_detector
from ssd_keras.weights.keras_files import read_keras_file
from tests import tiny
from tests.mutations import PLACES, fuzz, outcome, put_in_place
from tests.weights import api_graphs, good_files

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", good_files.KINDS)
def test_readers_of_weights(tmp_path, kind):
    write, read = good_files.KINDS[kind]
    path = write(tmp_path)
    found = fuzz(path, read, count=100, named=path.parent.name)
    assert found["UserError"] > 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A `.keras` file, its `.weights.h5` and its legacy `.h5`."""
    folder = tmp_path_factory.mktemp("trained")
    detector = tiny.detector()
    detector.save(folder / "x.keras")
    detector.save_weights(folder / "x.weights.h5")
    return folder


def test_weights_of_keras(trained, tmp_path):
    path = shutil.copy(trained / "x.weights.h5", tmp_path)
    fuzz(tmp_path / path, read_keras_file, count=60)


def test_detectors_that_are_loaded(trained, tmp_path):
    path = tmp_path / "x.keras"
    shutil.copy(trained / "x.keras", path)
    found = fuzz(path, ssd_keras.load, count=40, seconds=30)
    assert found["UserError"] > 16


def test_detectors_that_are_started_from(trained, tmp_path):
    path = tmp_path / "x.keras"
    shutil.copy(trained / "x.keras", path)

    def start(path):
        return tiny.detector(["cat", "cow"], weights=path)

    fuzz(path, start, count=10, seed=1, seconds=30)


def test_configurations_of_detectors(trained, tmp_path):
    """The configuration alone is damaged, in an archive that is whole."""
    with zipfile.ZipFile(trained / "x.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = tmp_path / "config.json"
    config.write_bytes(members["config.json"])

    def load(path):
        with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
            for name, content in (members | {"config.json": path.read_bytes()}).items():
                archive.writestr(name, content)
        return ssd_keras.load(tmp_path / "x.keras")

    fuzz(config, load, count=40, seconds=30, named="x.keras")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A whole detector of the TF Object Detection API."""
    path = tmp_path_factory.mktemp("graph") / "x.pb"
    path.write_bytes(api_graphs.mobilenet_v1(size=64, width=0.25, min_depth=8))
    return path


def test_detectors_that_are_imported(graph, tmp_path):
    path = tmp_path / "x.pb"
    shutil.copy(graph, path)
    fuzz(path, import_detector, count=12, seconds=30)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["frozen graph", "pth", "h5", "label map", "caffemodel"])
def test_what_is_no_file_of_weights(tmp_path, kind, place):
    write, read = good_files.KINDS[kind]
    path = write(tmp_path)
    put_in_place(path, place)
    assert outcome(path, read, seconds=3) == "UserError"
