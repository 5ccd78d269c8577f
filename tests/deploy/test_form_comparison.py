"""How the compared forms are shown."""

import json
import re

import pytest

from ssd_keras import deploy
from ssd_keras.deploy import form_comparison
from ssd_keras.deploy.form_comparison import Row
from ssd_keras.deploy.parity import LayerNoise, Operators, Parity
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
    page = form_comparison.as_page(ROWS, "<script>title</script>")
    tags = set(re.findall(r"<(\w+)", page))
    assert tags == {
        *("html", "head", "meta", "title", "style", "body", "h1", "table", "tr", "th", "td", "p")
    }
    assert "&lt;script&gt;alert(1)&lt;/script&gt; -0.2500" in page
    assert "custom:&lt;b&gt;" in page


def test_the_table_has_a_line_for_each_form():
    lines = form_comparison.as_text(ROWS).splitlines()
    assert lines[0].split()[:4] == ["form", "MB", "AP50", "AP"]
    assert [line.split()[0] for line in lines[1:3]] == ["keras", "tflite"]
    assert lines[2].split()[2:9] == ["1.50", "0.2500", "0.3000", "-", "-", "0.1000", "90.0"]
    assert "tflite int8: not built in: custom:<b>" in lines


def test_what_is_no_number_is_none_in_json():
    rows = json.loads(json.dumps(form_comparison.as_json(ROWS), allow_nan=False))
    assert rows[0]["ap_small"] is None
    assert rows[1]["per_class_ap50"] == dict.fromkeys(ODD_NAMES, 0.25)


def test_the_form_that_loses_most_is_named():
    assert form_comparison.largest_drop(ROWS) == ("tflite int8", 0.25)


def test_the_module_is_found_under_its_earlier_name():
    with pytest.warns(DeprecationWarning, match=r"now called ssd_keras\.deploy\.form_comparison"):
        assert deploy.report is form_comparison
