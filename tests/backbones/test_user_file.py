"""A Core Network from a Python file of the user."""

import os
import sys

import pytest

import ssd_keras
from ssd_keras.backbones import backbone_from_file, feature_maps
from ssd_keras.errors import UserError

FUNCTION = """
import keras
from {beside} import CHANNELS

class Counted:
    pass

def mine(image_size):
    images = keras.Input((*image_size, 3))
    maps = {{"stride16": keras.layers.Conv2D(CHANNELS, 16, strides=16)(images)}}
    return keras.Model(images, maps)
"""


@pytest.fixture
def file(tmp_path):
    """A file with a backbone, which imports another file of its folder."""
    beside = f"beside_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{beside}.py").write_text("CHANNELS = 5\n")
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION.format(beside=beside))
    return path


def test_its_function_builds_the_maps(file):
    (level,) = feature_maps(backbone_from_file(f"{file}:mine")((96, 64)))
    assert (level.size, level.stride, level.channels) == ((6, 4), 16, 5)


def test_create_takes_the_place_of_the_function(file):
    detector = ssd_keras.create("SSD_Mine_96", ["cat"], backbone=f"{file}:mine", extras=())
    assert detector.box_network.level_maps == ((6, 6),)


def test_the_places_that_are_searched_for_modules_stay(file):
    before = list(sys.path)
    backbone_from_file(f"{file}:mine")
    assert sys.path == before


def test_a_file_is_run_once_until_it_changes(file):
    first = backbone_from_file(f"{file}:Counted")
    assert backbone_from_file(f"{file}:Counted") is first
    os.utime(file, ns=(1, 1))
    assert backbone_from_file(f"{file}:Counted") is not first


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("", "mine.py", "given as FILE.py:FUNCTION, got '.*mine.py'"),
        ("", "mine:mine", "given as FILE.py:FUNCTION"),
        ("", "mine.py:", "given as FILE.py:FUNCTION"),
        ("", "gone.py:mine", "gone.py' cannot be read: No such file"),
        ("def mine(size): ...", "mine.py:mein", "no function 'mein'. Did you mean 'mine'"),
        ("mine = 3", "mine.py:mine", "no function 'mine'"),
        ("\nimport gone_for_good", "mine.py:mine", r"No module named 'gone_for_good'\) in line 2"),
        ("def mine(:", "mine.py:mine", "cannot be run .SyntaxError: .*line 1"),
    ],
)
def test_what_cannot_be_used_is_explained(tmp_path, content, place, message):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(UserError, match=message):
        backbone_from_file(f"{tmp_path}/{place}")
