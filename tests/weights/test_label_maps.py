"""Label maps, label files and protobuf's text format."""

import json
import time

import pytest

from ssd_keras.errors import UserError
from ssd_keras.text_format import parse_text
from ssd_keras.weights.label_maps import COCO, class_list, read_labels

FILES = {
    "map.pbtxt": (
        "item {\n  name: '/m/01g317'\n  id: 1\n  display_name: 'person'\n}\n"
        'item { id: 3 name: "traffic light" } # no class 2',
        {1: "person", 3: "traffic light"},
    ),
    "labelmap_voc.prototxt": (
        'item { name: "none_of_the_above" label: 0 display_name: "background" }\n'
        'item { name: "n1" label: 1 display_name: "aeroplane" }',
        {1: "aeroplane"},
    ),
    "map.txt": ('item { id: 2 name: "b" }\nitem { id: 1 name: "a" }', {1: "a", 2: "b"}),
    "lines.txt": ("cat\ndog\n", {1: "cat", 2: "dog"}),
    "background.txt": ("background\ncat\ndog\n\n", {1: "cat", 2: "dog"}),
    "gaps.txt": ("???\nperson\n???\ncar\n", {1: "person", 3: "car"}),
    "accents.txt": ("\ufeffcafé\n", {1: "café"}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_label_file_is_read(name, tmp_path):
    text, expected = FILES[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "number 1 stands there twice"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "name 'a' stands there twice"),
        ("item { id: x name: 'a' }", "'x' is not the number"),
        ("item { id: 1", "ends inside 1 open"),
        ("{" * 100, "line 1"),
        ("item {" * 100, "more than 50 deep"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_with_a_label_map_is_said(text, message, tmp_path):
    (tmp_path / "map.pbtxt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / "map.pbtxt")


def test_a_long_label_file_takes_no_time(tmp_path):
    """Each name was once compared with all others: 15 s."""
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"class {i}\n" for i in range(20_000)))
    start = time.process_time()
    assert read_labels(path)[20_000] == "class 19999"
    assert time.process_time() - start < 3


def test_coco_has_80_of_90_numbers():
    assert (len(COCO), COCO[1], COCO[13], COCO[90]) == (80, "person", "stop sign", "toothbrush")
    assert 12 not in COCO


def test_cocos_names_are_those_of_its_own_file(shared):
    content = json.loads(shared("data/coco_subset/val/instances.json").read_text())
    assert {c["id"]: c["name"] for c in content["categories"]} == COCO


@pytest.mark.parametrize(
    ("labels", "count", "numbers", "names"),
    [
        (None, 90, tuple(COCO), tuple(COCO.values())),
        (None, 2, (1, 2), ("class 1", "class 2")),
        ({2: "dog"}, 3, (2,), ("dog",)),
    ],
)
def test_which_classes_are_kept(labels, count, numbers, names):
    assert class_list(labels, count)[:2] == (numbers, names)


def test_labels_of_another_detector_are_refused():
    with pytest.raises(UserError, match=r"class 5 .'bus'.*has 3 classes"):
        class_list({1: "car", 5: "bus"}, 3)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"\352\263\240", "고"),
        (r"\xea\xb3\xa0", "고"),
        (r"\uac00\U0001F600고", "가\U0001f600고"),
        (r"a\tb\n\\\'\q", "a\tb\n\\'q"),
        (r"\0\18", "\0\x018"),
        (r"\377", r"\xff"),
    ],
)
def test_text_format_reads_the_escapes_of_c(written, text):
    assert parse_text(f"name: '{written}'") == {"name": [text]}


def test_text_format_reads_values_of_every_kind():
    text = """
    name: "net" other: 'it''s' # comment
    size: 3  rate: -1.5e-3  deep: true  kind: MAX
    list: [1, 2, 3]  list: 4
    layer { top: "a" top: "b"; inner < x: 1 > }
    """
    assert parse_text(text) == {
        "name": ["net"],
        "other": ["its"],
        "size": [3],
        "rate": [-1.5e-3],
        "deep": [True],
        "kind": ["MAX"],
        "list": [1, 2, 3, 4],
        "layer": [{"top": ["a", "b"], "inner": [{"x": [1]}]}],
    }
