"""The report page and the files of an evaluation."""

import base64
import functools
import html.parser
import io
import json

import numpy as np
import pytest
from PIL import Image

from ssd_keras.display import printable
from ssd_keras.errors import UserError
from ssd_keras.evaluation import json_ready, measure, report, write_evaluation
from tests.evaluation.cases import CLASSES, found, truth

A, B = (0, 0, 20, 20), (50, 50, 70, 70)
TRUTHS = [truth((0, *A), (1, *B), image_id="<one>"), truth(image_id="two")]
FOUNDS = [found((0, 0.9, *A), (0, 0.8, *B)), found((2, 0.7, *A))]
# More than a confusion matrix writes all numbers of.
MANY = tuple(f"class {i}" for i in range(45))


def image(index):
    return np.full((50, 80, 3), 40 * index, np.uint8)


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, its pictures and its tables' rows."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.pictures, self.rows, self.text = [], [], [], 0, ""
        self.scripts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[key] for key in ("src", "href", "srcset", "action") if key in attrs]
        if tag == "img":
            self.pictures.append(attrs)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        self.rows += tag == "tr"
        self.scripts += [tag] * (tag == "script")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open:
            self.text += data


@functools.cache
def page(case):
    truths, founds, classes = CASES[case]
    measured = measure(truths, founds, classes)
    return report(measured, truths, founds, classes, title="a & b", image=image)


STRANGE = (
    "<script>alert(1)</script>", "</td></table>", "a\nb", "\x1b[31m", "\0", "\u202egnp", "$x$",
    '" onload="x', "&amp;", "{title}", "x" * 500, "고양이", "'", "\u3164",
)  # fmt: skip
STRANGE_TRUTH = [truth((0, *A), (9, *B), image_id="</figure><script>"), truth(image_id="\x1b[2J")]
STRANGE_FOUND = [found((1, 0.9, *A), (0, 0.8, *B), classes=STRANGE), None]

# name: ground truth, detections, classes
CASES = {
    "strange names": (STRANGE_TRUTH, STRANGE_FOUND, STRANGE),
    "usual": (TRUTHS, FOUNDS, CLASSES),
    "nothing found": (TRUTHS, [found(), found()], CLASSES),
    "no objects": ([truth()], [found((0, 0.5, *A))], CLASSES),
    "no images": ([], [], CLASSES),
    "45 classes": (TRUTHS, [found(classes=MANY)] * 2, MANY),
    "one class": ([truth((0, *A))], [found((0, 0.5, *A), classes=("cat",))], ("cat",)),
}


@pytest.mark.parametrize("case", CASES)
def test_page_is_whole_and_refers_to_nothing_outside(case):
    text = page(case)
    parsed = Page(text)
    assert parsed.open == []
    assert [link for link in parsed.links if not link.startswith("data:")] == []
    assert not any(word in text for word in ("http://", "https://", "@import", "url("))


@pytest.mark.parametrize("case", CASES)
def test_no_nan_is_shown(case):
    assert "nan" not in Page(page(case)).text.lower()


def test_every_picture_can_be_opened():
    for attrs in Page(page("usual")).pictures:
        data = base64.b64decode(attrs["src"].partition("base64,")[2])
        assert Image.open(io.BytesIO(data)).size > (40, 40)
        assert attrs["alt"]


def test_every_class_has_a_row():
    assert Page(page("45 classes")).rows >= 45


def test_worst_images_are_shown_as_pairs():
    pictures = [attrs["alt"] for attrs in Page(page("usual")).pictures]
    assert pictures[-3:] == ["confusion matrix", "ground truth", "found"]


def test_an_image_that_cannot_be_read_is_named():
    def broken(index):
        raise UserError("one.jpg: cannot be decoded")

    measured = measure(TRUTHS, FOUNDS, CLASSES)
    text = report(measured, TRUTHS, FOUNDS, CLASSES, title="t", image=broken)
    assert "one.jpg: cannot be decoded" in Page(text).text
    assert Page(text).pictures[-1]["alt"] == "confusion matrix"


def test_names_are_escaped():
    text = page("usual")
    assert "&lt;one&gt;" in text
    assert "<one>" not in text
    assert "a &amp; b" in text


def test_strange_names_are_text_and_nothing_else():
    text = page("strange names")
    parsed = Page(text)
    assert text.count("<script>") == 1  # the page's own
    assert not set(text) & {chr(code) for code in (*range(10), *range(11, 32), 0x202E)}
    assert len(parsed.scripts) == 1
    for name in (*STRANGE, "</figure><script>"):
        assert printable(name, 60) in parsed.text
    assert 'title="' + "x" * 500 + '"' in text
    assert r"1 of 2 images could not be read" in parsed.text
    assert r"\x1b[2J" in parsed.text
    assert all(attrs.keys() <= {"src", "alt", "width"} for attrs in parsed.pictures)


def test_what_is_measured():
    metrics = measure(TRUTHS, FOUNDS, CLASSES).metrics
    assert metrics["voc"]["ap50"] == pytest.approx(0.5)
    assert metrics["per_class"]["cat"]["threshold"] == pytest.approx(0.9)
    assert metrics["errors"]["counts"]["wrong class"] == 1
    assert metrics["errors"]["counts"]["background"] == 1
    assert "recall_by_level" not in metrics


def test_recall_by_level_needs_default_boxes():
    levels = [np.array([[0, 0, 0.2, 0.2]]), np.array([[0.4, 0.4, 0.8, 0.8]])]
    measured = measure(TRUTHS, FOUNDS, CLASSES, level_anchors=levels)
    rows = measured.metrics["recall_by_level"]["all detections"]
    assert [(row["objects"], row["found"]) for row in rows] == [(1, 1), (1, 0)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": float("nan"), 3: [np.float64(1.5), np.int64(2)]}, {"a": None, "3": [1.5, 2]}),
        (("x", True, None), ["x", True, None]),
        (float("inf"), None),
    ],
)
def test_values_for_json(value, expected):
    assert json_ready(value) == expected


def test_files(tmp_path):
    measured = measure(TRUTHS, FOUNDS, CLASSES)
    out = tmp_path / "new" / "folder"
    paths = write_evaluation(out, measured, TRUTHS, FOUNDS, CLASSES, title="t", image=image)
    assert sorted(paths) == ["detections.json", "metrics.json", "report.html"]
    metrics = json.loads(paths["metrics.json"].read_text())
    assert metrics["voc"]["ap50"] == pytest.approx(0.5)
    assert metrics["per_class"]["cow"]["voc_ap50"] is None
    assert len(json.loads(paths["detections.json"].read_text())) == 3


def test_a_file_that_cannot_be_written_leaves_no_half_of_it(tmp_path):
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(UserError, match=r"metrics\.json' cannot be written"):
        write_evaluation(tmp_path, measure([], [], CLASSES), [], [], CLASSES, title="t")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "report.html"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    measured = measure([], [], CLASSES)
    with pytest.raises(UserError, match="file"):
        write_evaluation(tmp_path / "file", measured, [], [], CLASSES, title="t")
