"""The small detector of the deploy tests and its files."""

import pytest

from tests.deploy.conftest import detector as detector
from tests.deploy.conftest import float_file as float_file
from tests.deploy.conftest import int8_file as int8_file
from tests.deploy.conftest import lively_detector


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """A run folder as a training leaves it, as far as exporting needs it."""
    folder = tmp_path_factory.mktemp("runs") / "pets"
    folder.mkdir()
    lively_detector().save(folder / "best.keras")
    return folder
