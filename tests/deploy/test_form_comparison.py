"""How the compared forms are shown."""

import json
import re

import numpy as np
import pytest

from ssd_keras import data, deploy
from ssd_keras.deploy import form_comparison, form_tables
from ssd_keras.deploy.form_comparison import Row
from ssd_keras.deploy.parity import LayerNoise, Operators, Parity
from ssd_keras.deploy.placement import Placement
from tests.deploy.test_metadata import ODD_NAMES


def row(form: str, ap50: float, **more) -> Row:
    values = dict.fromkeys(ODD_NAMES, ap50)
    return Row(form, 1.5, ap50, 0.3, float("nan"), -1.0, 0.1, values, {"1": 2.5}, **more)


ROWS = [
    row("keras", 0.5),
    row(
        "tflite int8",
        0.25,
        parity=Parity(0.9, 0.0, 1.0, 2.0, 0.01, 0.02),
        operators=Operators({"CONV_2D": 3}, ("custom:<b>",), ("CONV_2D",)),
        worst_layers=[LayerNoise("<i>conv</i>", 9.0, 3.0)],
    ),
]


def test_names_are_no_part_of_the_page():
    page = form_tables.as_page(ROWS, "<script>title</script>")
    tags = set(re.findall(r"<(\w+)", page))
    assert tags == {
        *("html", "head", "meta", "title", "style", "body", "h1", "table", "tr", "th", "td", "p")
    }
    assert "&lt;script&gt;alert(1)&lt;/script&gt; -0.2500" in page
    assert "custom:&lt;b&gt;" in page


def test_the_table_has_a_line_for_each_form():
    lines = form_tables.as_text(ROWS).splitlines()
    assert lines[0].split()[:4] == ["form", "MB", "AP50", "AP"]
    assert [line.split()[0] for line in lines[1:3]] == ["keras", "tflite"]
    assert lines[2].split()[2:9] == ["1.50", "0.2500", "0.3000", "-", "-", "0.1000", "90.0"]
    assert "tflite int8: not built in: custom:<b>" in lines


def placed(delegate: str, **more) -> Placement:
    values = {"taken": 7, "total": 9, "partitions": 1, "left": {}, "breaks": ()} | more
    return Placement(delegate, **values)


PLACED = [
    row("keras", 0.5),
    row("cpu", 0.4, placements=[placed("XNNPACK", partitions=2), placed("GPU")]),
    row(
        "npu",
        0.25,
        placements=[
            placed("Qualcomm NPU", left={"EXP": 2, "SUM": 1}),
            placed("MediaTek NPU", breaks=("A one", "B two", "C three", "D four")),
        ],
    ),
]


def test_the_table_of_targets_has_a_line_for_each_delegate():
    lines = form_comparison.targets_as_text(PLACED).splitlines()
    assert lines[0].split() == list(form_tables.TARGET_HEADER)
    assert lines[1].split() == ["keras", "0.5000", "2.5", "(1", "thr)"]
    wanted = ["cpu", "int8,", "builtin", "1.50", "0.4000", "XNNPACK", "7", "of", "9", "2"]
    assert lines[2].split()[:10] == wanted
    assert lines[3].split()[:9] == [
        *("npu", "int8,", "none", "1.50", "0.2500", "Qualcomm", "NPU", "7", "of")
    ]
    assert lines[4].split() == ["MediaTek", "NPU", "7", "of", "9", "1"]


def test_what_is_left_and_what_breaks_the_graph_stands_below():
    lines = form_comparison.targets_as_text(PLACED).splitlines()[5:]
    assert lines == [
        "cpu: XNNPACK takes 7 of 9 operators in 2 parts",
        "npu: Qualcomm NPU takes 7 of 9 operators in 1 part; left: 2 EXP, 1 SUM",
        "npu: MediaTek NPU takes 7 of 9 operators in 1 part",
        "npu: MediaTek NPU is interrupted by A one, B two, C three and 1 more",
    ]


@pytest.mark.parametrize(
    ("forms", "int8"),
    [
        (["saved_model", "tflite float16", "gpu"], []),
        (["tflite int8", "cpu", "edgetpu"], ["tflite int8", "cpu", "edgetpu"]),
    ],
)
def test_forms_that_need_calibration_images(forms, int8):
    assert form_comparison.needs_calibration(forms) == int8


def test_what_is_no_number_is_none_in_json():
    rows = json.loads(json.dumps(form_tables.as_json(ROWS), allow_nan=False))
    assert rows[0]["ap_small"] is None
    assert rows[1]["per_class_ap50"] == dict.fromkeys(ODD_NAMES, 0.25)


def test_the_form_that_loses_most_is_named():
    assert form_tables.largest_drop(ROWS) == ("tflite int8", 0.25)


def test_the_module_is_found_under_its_earlier_name():
    with pytest.warns(DeprecationWarning, match=r"now called ssd_keras\.deploy\.form_comparison"):
        assert deploy.report is form_comparison


@pytest.mark.parametrize(("kept", "again"), [(1 << 30, 0), (2 * 3 * 32 * 32, 2), (0, 6)])
def test_images_beyond_the_memory_are_read_again(monkeypatch, kept, again):
    monkeypatch.setattr(form_comparison, "KEPT_BYTES", kept)
    source = data.load_source("shapes#train,count=4,size=32")
    read = []
    image = source.image
    monkeypatch.setattr(source, "image", lambda index: read.append(index) or image(index))
    images = form_comparison._Images(source, [0, 2, 3])
    assert (len(images), images.indices) == (3, [0, 2, 3])
    read.clear()
    for _ in range(2):
        for found, index in zip(images, (0, 2, 3), strict=True):
            np.testing.assert_array_equal(found, image(index))
    assert len(read) == again
    np.testing.assert_array_equal(images[1:][0], image(2))
