"""How the compared forms are shown."""

import html
import json
import re

import numpy as np
import pytest

from ssd_keras import data, deploy, evaluation
from ssd_keras.deploy import form_comparison, form_tables
from ssd_keras.deploy.form_comparison import Row
from ssd_keras.deploy.parity import LayerNoise, Operators, Parity
from ssd_keras.deploy.placement import Placement
from ssd_keras.errors import UserError
from ssd_keras.resizing import resize
from tests import tiny
from tests.deploy.conftest import CLASSES, enliven, pictures
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


def test_what_is_not_known_is_a_dash():
    nothing = row("tflite float32", 0.5, parity=Parity())
    assert form_tables.cells(nothing)[7:11] == ["-"] * 4
    assert set(form_tables.as_json([nothing])[0]["parity"].values()) == {None}
    assert form_tables.cells(row("keras", 0.5))[7:11] == [""] * 4


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (form_tables.as_text, ("voc.ap50", "coco.AP", "coco.APs", "coco.APm", "coco.APl")),
        (form_tables.targets_as_text, ("voc.ap50",)),
        (
            lambda rows: html.unescape(form_tables.as_page(rows, "title")),
            ("voc.ap50", "coco.AP", "coco.APs", "coco.APm", "coco.APl"),
        ),
    ],
    ids=["text", "targets", "page"],
)
def test_numbers_name_their_definitions(table, keys):
    shown = table(ROWS)
    for key in keys:
        name = "AP50" if key == "voc.ap50" else key.partition(".")[2]
        assert f"{name}: {evaluation.DEFINITIONS[key]}" in shown
    assert "ms: median time of one image" in shown


@pytest.mark.parametrize(
    ("images", "objects", "of_all", "wanted"),
    [
        (4, 12, 4, "Measured on 4 images with 12 objects, difficult and crowd ones aside."),
        (
            *(1, 1, 2000),
            "Measured on 1 image of 2,000 with 1 object, difficult and crowd ones aside.",
        ),
    ],
)
def test_what_the_numbers_are_about(images, objects, of_all, wanted):
    line = form_tables.data_line([row("keras", 0.5, images=images, objects=objects)], of_all)
    assert line == wanted
    assert f"<p>{wanted}</p>" in form_tables.as_page(ROWS, "title", line)


def placed(delegate: str, **more) -> Placement:
    values = {"taken": 7, "total": 9, "partitions": 1, "left": {}, "breaks": ()} | more
    return Placement(delegate, **values)


def source_of(*objects: int, difficult: bool = False) -> data.Source:
    """Grey images with so many objects each."""
    truth = [
        data.GroundTruth(
            *(f"{number}", 32, 32),
            boxes=np.tile([0.1, 0.1, 0.6, 0.6], (count, 1)),
            labels=np.zeros(count, int),
            difficult=np.full(count, difficult),
        )
        for number, count in enumerate(objects)
    ]
    source = data.Source("grey", ("cat", "dog"), truth)
    source.image = lambda index: np.full((32, 32, 3), 128, np.uint8)
    return source


@pytest.mark.parametrize(
    ("source", "max_images", "message"),
    [
        (source_of(0, 0), None, "'grey' has nothing to measure on: no object in 2 images"),
        (source_of(0, 0, 3), 2, "The first 2 images of 'grey' have no object to measure on"),
        (source_of(1, 2, difficult=True), None, "The images of 'grey' have no object to measure"),
    ],
    ids=["empty", "the first are empty", "difficult"],
)
def test_data_without_an_object_are_refused(source, max_images, message):
    with pytest.raises(UserError, match=message):
        form_comparison.compare_forms(None, source, forms=["saved_model"], max_images=max_images)


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
    lines = form_comparison.targets_as_text(PLACED).splitlines()[5:9]
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


@pytest.fixture(scope="module")
def tiled():
    """A letterboxed detector that looks at tiles, and a picture of two tiles."""
    detector = enliven(tiny.detector(CLASSES, resize="letterbox"))
    detector.tiling = {"height": 120, "width": 160}
    return detector, np.concatenate(pictures(2, seed=9), 1)


def assert_equal(found, wanted):
    assert found.names == wanted.names
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-4)


def test_mediapipe_is_measured_as_it_works(tiled):
    detector, image = tiled
    content = deploy.to_tflite(detector, score_threshold=0.3)
    found = form_comparison._as_mediapipe(content, 1, trusted=True).detect(image)
    stretched = resize(image, detector.image_size)
    (wanted,) = detector.detect_batches([stretched[None]], score_threshold=0.3)
    assert len(wanted) > 3
    assert_equal(found, wanted)
    assert len(found) != len(deploy.TFLiteDetector(content, trusted=True).detect(image))


def test_a_saved_model_is_measured_as_it_works(tiled):
    detector, image = tiled
    (found,) = form_comparison._run_saved_model(detector, [image]).detections
    assert_equal(found, detector.detect(image, tiles=False))
    assert len(found) != len(detector.detect(image))


def test_what_a_form_does_otherwise_stands_below_the_table(tiled):
    detector, _ = tiled
    rows = [
        row(form, 0.5, notes=form_comparison._notes(form, detector))
        for form in ("keras", "saved_model", "mediapipe", "tflite int8", "cpu")
    ]
    wanted = [
        f"saved_model: looks at whole images; the detector at {detector.tiling}; measured so",
        f"mediapipe: looks at whole images; the detector at {detector.tiling}; measured so",
        "mediapipe: stretches images; the detector resizes by 'letterbox'; measured so",
    ]
    assert form_tables.note_lines(rows) == wanted
    shown = form_tables.as_text(rows).splitlines()
    page = html.unescape(form_tables.as_page(rows, "title"))
    for line in wanted:
        assert line in shown
        assert f"<p>{line}</p>" in page


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
