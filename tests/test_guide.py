"""The guides for beginners, English and Korean: their numbers are those of their pictures."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import ssd_keras
from ssd_keras import boxes
from ssd_keras.evaluation.voc import average_precision, curve
from ssd_keras.training.one_line import SETTINGS

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDES = {"en": DOCS / "guide.md", "ko": DOCS / "guide.ko.md"}


@pytest.fixture(scope="module")
def make():
    """docs/pictures/make.py"""
    spec = importlib.util.spec_from_file_location("make", DOCS / "pictures" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(make):
    """The objects of the pictures, the default boxes, and which learns which."""
    truth = make.boxes_of(make.scene()[1])
    anchors = boxes.default_boxes(make.levels())
    return truth, anchors, make.matches(truth, anchors)


@pytest.fixture(params=GUIDES)
def guide(request):
    return GUIDES[request.param].read_text(encoding="utf-8")


def numbers(text: str) -> list[str]:
    """The numbers of a text, as they are written."""
    return re.findall(r"\d[\d,]*(?:\.\d+)?", text)


def section(text: str, picture: str) -> list[str]:
    """The numbers of the section that shows a picture."""
    return numbers(next(part for part in text.split("\n## ") if f"pictures/{picture}." in part))


def test_default_boxes(guide, make, scene):
    found = section(guide, "default_boxes")
    assert f"{len(scene[1]):,}" in found
    assert set(map(str, make.map_sides())) <= set(re.findall(r"\d+", " ".join(found)))


def test_matching(guide, scene):
    truth, anchors, matched = scene
    found = section(guide, "matching")
    circle, star, triangle = np.bincount(matched[matched >= 0])
    assert {str(circle), str(star)} <= set(found)
    assert triangle == 1
    # "only because each object gets one"
    assert np.asarray(boxes.iou(truth[2:], anchors)).max() < 0.5


def test_hard_negatives(guide, make, scene):
    _, anchors, matched = scene
    found, positives = section(guide, "negatives"), int((matched >= 0).sum())
    assert {str(positives), f"{len(anchors) - positives:,}"} <= set(found)
    assert str(make.mined(*scene).sum()) in found
    assert make.mined(*scene).sum() == 3 * positives


def test_suppression(guide, make, scene):
    labels = make.suppressed(*make.half_learned(*scene))[2]
    assert sorted(labels) == [0, 1, 2]
    assert f"{boxes.Suppression().iou_threshold:g}" in section(guide, "suppression")


def test_average_precision(guide):
    recall, precision = curve(np.array([True, True, False, True, False, False]), 4)
    area = average_precision(recall, precision, "all_point")
    assert area == pytest.approx(0.25 * 1 + 0.25 * 1 + 0.25 * 0.75)
    assert f"{area:.2f}" in section(guide, "precision")


def test_every_picture_is_made_in_both_languages_and_shown_once(make):
    for language, path in GUIDES.items():
        shown = re.findall(r"pictures/(\w+)\.(\w+)\.png", path.read_text(encoding="utf-8"))
        assert shown == [(name, language) for name in make.PICTURES]
        assert all((DOCS / "pictures" / f"{name}.{language}.png").is_file() for name, _ in shown)


def test_pictures_speak_both_languages(make):
    english, korean = (make.translator(language) for language in GUIDES)
    for text in make.KOREAN:
        assert english(text, 1, 2)
        assert korean(text, 1, 2)
        assert re.findall(r"\{[^}]*\}", text) == re.findall(r"\{[^}]*\}", make.KOREAN[text])


@pytest.mark.parametrize("name", ["tasks", "negatives"])
def test_a_picture_is_drawn(make, name):
    picture = make.PICTURES[name](make.translator("en"))
    assert picture.dtype == np.uint8
    assert picture.std() > 20


def test_what_is_called_in_python_exists(guide):
    calls = [
        call
        for block in re.findall(r"```py\n(.*?)```", guide, re.S)
        for call in ast.walk(ast.parse(block))
        if isinstance(call, ast.Call)
    ]
    train = next(call for call in calls if ast.unparse(call.func) == "ssd_keras.train")
    given = {keyword.arg for keyword in train.keywords}
    assert given <= {*inspect.signature(ssd_keras.train).parameters, *SETTINGS}
    for call, owner in (("load", ssd_keras), ("detect", ssd_keras.Detector)):
        assert any(ast.unparse(c.func).endswith(f".{call}") for c in calls)
        assert callable(getattr(owner, call))
    for call in ("above", "save"):
        assert any(ast.unparse(c.func).endswith(f".{call}") for c in calls)
        assert callable(getattr(ssd_keras.Detections, call))
