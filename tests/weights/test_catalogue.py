"""The table of published weights."""

import re
from pathlib import Path

import pytest

import ssd_keras
from ssd_keras import zoo
from ssd_keras.errors import UserError
from ssd_keras.weights import catalogue

ENTRIES = catalogue.entries()


def test_the_list_is_one_of_names_and_prints_a_table():
    names = ssd_keras.list_weights()
    assert "ssd_mobilenet_v2_coco" in names
    assert len(set(names)) == len(names)
    lines = str(names).splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(names)
    line = next(line for line in lines if line.startswith("ssd_mobilenet_v2_coco"))
    assert re.split(r"\s+", line)[1:5] == ["SSD_MobileNetV2_300", "COCO", "188", "Apache-2.0"]
    assert "AP 22 (COCO minival by the zoo; trained on most of val2017)" in line


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_row_says_all_that_fetching_and_importing_need(entry):
    assert re.fullmatch(r"[a-z0-9_]+", entry.name)
    assert zoo.parse(entry.architecture).image_size == tuple(map(int, entry.input.split("x")))
    assert entry.file.address.startswith("https://")
    assert re.fullmatch(r"[\w.-]+", entry.file.name)
    for file in (entry.file, entry.inside):
        assert file is None or re.fullmatch(r"[0-9a-f]{64}|", file.sha256)
    assert entry.file.name.endswith(".tar.gz") == bool(entry.members)
    assert entry.licence
    assert bool(entry.accuracy) == bool(entry.measured_on)
    assert len(entry.labels) == {"COCO": 80, "VOC": 20}[entry.classes]


def test_no_two_are_the_same_file():
    assert len({entry.file.name for entry in ENTRIES}) == len(ENTRIES)


def test_a_name_that_is_not_there_is_answered_with_those_that_are_like_it():
    with pytest.raises(UserError, match="Did you mean 'ssd300_vgg16_voc'"):
        catalogue.find_entry("ssd300_vgg_voc")


def test_the_guide_shows_the_same_table():
    guide = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (\w+) \| (.*?) \| (\S+) \|$", guide.read_text(), re.M
    )
    assert rows == [
        (entry.name, entry.architecture, entry.classes, _stated(entry), entry.licence)
        for entry in ENTRIES
    ]


def _stated(entry):
    """The accuracy as the guide prints it: without who measured."""
    where = re.sub(r" by [^;]+", "", entry.measured_on)
    return f"{entry.accuracy}, {where}" if entry.accuracy else "not stated"


def test_the_guide_names_all_whose_checksum_nobody_states():
    guide = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
    (said,) = re.findall(r"without a published checksum \((.*?)\)", guide.read_text(), re.S)
    for entry in ENTRIES:
        families = {"MobileDets": "mobiledet" in entry.name, "TF2 zoo": "TF2" in entry.origin}
        named = f"`{entry.name}`" in said or any(
            known and name in said for name, known in families.items()
        )
        assert named == (not entry.file.sha256), entry.name
