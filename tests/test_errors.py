"""Errors say what was wrong, where, and what is near."""

import pytest

from ssd_keras.errors import UserError, did_you_mean, missing_place, one_line, unknown

MODELS = ["SSD_MobileNet_300", "SSD_VGG16_300", "YOLO_Inception_500"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("SSD_MobilNet_300", " Did you mean 'SSD_MobileNet_300'?"),
        ("ssd_mobilenet_300", " Did you mean 'SSD_MobileNet_300'?"),
        ("SSD_VGG_300", " Did you mean 'SSD_VGG16_300'?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_suggests_only_what_is_near(word, expected):
    assert did_you_mean(word, MODELS) == expected


def test_an_unknown_name_comes_with_the_known_ones():
    error = unknown("split", "vall", ["train", "val"], "in 'data.yaml'")
    assert isinstance(error, UserError)
    assert str(error) == (
        "There is no split 'vall' in 'data.yaml'. Did you mean 'val'? Known: train, val."
    )
    assert str(unknown("class", "zebra", [])) == "There is no class 'zebra'."
    assert str(unknown("class", "x", map(str, range(1203)))).endswith("28, 29, ...")


def test_a_missing_place_comes_with_its_neighbours(tmp_path):
    (tmp_path / "photos").mkdir()
    error = missing_place("folder", tmp_path / "fotos", "voc:fotos#train")
    assert str(error) == (
        f"There is no folder '{tmp_path}/fotos' (from 'voc:fotos#train'). Did you mean 'photos'?"
    )
    assert str(missing_place("file", "no/such/place")) == "There is no file 'no/such/place'."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or directory"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 300), "x" * 196 + " ..."),
    ],
)
def test_other_libraries_errors_become_one_line(error, expected):
    assert one_line(error) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\0b\x1b[31m c", r"a\x00b\x1b[31m c"),
        ("cat\u202egod\ud800", r"cat\u202egod\ud800"),
        ("고양이 naïve\ttwo\nlines", "고양이 naïve\ttwo\nlines"),
        ("see '" + "x" * 400 + "' there", "see '" + "x" * 149 + "[...]" + "x" * 99 + "' there"),
    ],
)
def test_errors_show_no_signs_that_steer_and_no_words_without_end(text, expected):
    assert str(UserError(text)) == expected


def test_of_equally_near_names_the_first_known_comes_first():
    assert did_you_mean("VGG", ["VGG16", "VGG19"]) == " Did you mean 'VGG16' or 'VGG19'?"
    assert did_you_mean("VGG", ["VGG19", "VGG16"]) == " Did you mean 'VGG19' or 'VGG16'?"
    assert did_you_mean("VGG1", ["VGG19x", "VGG"]) == " Did you mean 'VGG' or 'VGG19x'?"
