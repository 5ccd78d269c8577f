"""The small detector of the deploy tests and its files."""

import importlib.util

import pytest

from tests.deploy.conftest import detector as detector
from tests.deploy.conftest import float_file as float_file
from tests.deploy.conftest import int8_file as int8_file
from tests.deploy.conftest import lively_detector
from tests.export import golden


def load_script(path):
    """A script of a sample as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def photographs(shared, tmp_path_factory):
    """A folder of the raw outputs of a hundred photographs, and what is found inside of a file."""
    paths = sorted(shared("data/voc2012_100").rglob("JPEGImages/*.jpg"))
    folder = tmp_path_factory.mktemp("photographs")
    return folder, golden.write_photographs(paths, folder)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """A run folder as a training leaves it, as far as exporting needs it."""
    folder = tmp_path_factory.mktemp("runs") / "pets"
    folder.mkdir()
    lively_detector().save(folder / "best.keras")
    return folder
