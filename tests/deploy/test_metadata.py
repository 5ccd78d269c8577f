"""What a file says of itself comes out as it went in, or is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.deploy import metadata
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.metadata import LABEL_FILES, SETTINGS_FILE, ModelCard
from ssd_keras.deploy.runtime import TFLiteDetector
from ssd_keras.deploy.tflite_file import TFLiteFile, packed_files
from ssd_keras.errors import UserError

ODD_NAMES = (
    "$HOME",
    "$x^2$",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'`\\",
    "{name} %s %(name)s",
    " blanks at the ends ",
    "a\tb",
    "\x1b[31mred\x1b[0m",
    "\u202eevil",
    "고양이",
    "👩‍🚀",
    "../../etc/passwd",
    "x" * 10_000,
)


@pytest.fixture(scope="module")
def small():
    return convert(lambda x: {"y": x + 1.0}, tf.TensorSpec([1, 3], tf.float32, "x"))


def described(small: bytes, classes, **texts) -> TFLiteFile:
    """The file as it is read again."""
    file = TFLiteFile(small)
    card = ModelCard("pets", tuple(classes), (96, 64), settings={"a": [1, 0.5]}, **texts)
    metadata.add_metadata(file, card, float_input=True)
    return TFLiteFile(file.to_bytes())


@pytest.mark.parametrize(
    "classes", [ODD_NAMES, [f"class {i}" for i in range(1203)], ["cat"]], ids=["odd", "many", "one"]
)
def test_names_come_out_as_they_went_in(small, classes):
    file = described(small, classes)
    assert metadata.labels_of(file.files) == tuple(classes)
    assert file.files[LABEL_FILES[0]] == file.files[LABEL_FILES[1]]
    assert metadata.settings_of(file.files) == {"a": [1, 0.5]}


def test_a_detector_of_odd_names_shows_them(float_file):
    file = TFLiteFile(float_file)
    names = ODD_NAMES[2:5]
    file.files[LABEL_FILES[0]] = "".join(f"{name}\n" for name in names).encode()
    runner = TFLiteDetector(file.to_bytes(), trusted=True)
    found = runner.detect(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    assert runner.classes == names
    assert set(found.names) <= set(names)
    assert len(found) > 3


@pytest.mark.parametrize(
    "name", ["a\nb", "a\r", "a\0b", "", " ", "\u2028", "\x85", "\ud800", 3, None], ids=repr
)
def test_names_that_no_label_file_holds_are_refused(name):
    with pytest.raises(UserError, match=r"[Cc]lass"):
        ModelCard("pets", ("cat", name), (96, 64))


@pytest.mark.parametrize("field", ["name", "description", "author", "license", "version"])
@pytest.mark.parametrize("text", ["a\0b", "\udcff"], ids=repr)
def test_texts_that_are_none_are_refused(field, text):
    with pytest.raises(UserError, match=f"The {field} .* is no text: write it in UTF-8"):
        ModelCard(**{"name": "pets", "classes": ("cat",), "image_size": (96, 64), field: text})


def test_texts_come_out_as_they_went_in(small):
    texts = {"author": "Žofie & Söhne <a@b>", "license": "x\ny", "description": "$" * 999}
    content = described(small, ["cat"], **texts).get_metadata(metadata.METADATA_NAME)
    for text in texts.values():
        assert text.encode() in content


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LABEL_FILES[0], b"\xff\xfe", "labels.txt, which is packed .* is damaged: 'utf-8' codec"),
        (LABEL_FILES[0], b"cat\0", "labels.txt, which is packed .* is damaged: it is no text"),
        (SETTINGS_FILE, b"{", "ssd_keras.json, which is packed .* is damaged: "),
        (SETTINGS_FILE, b"[]", "ssd_keras.json, which is packed .* is damaged: it is no JSON obj"),
        (SETTINGS_FILE, b'{"a": NaN}', "ssd_keras.json, .* NaN is no number of JSON"),
        (SETTINGS_FILE, b"[" * 100_000, "ssd_keras.json, which is packed .* is damaged: "),
    ],
)
def test_damaged_files_are_named(small, tmp_path, name, content, message):
    file = described(small, ["cat"])
    file.files[name] = content
    (tmp_path / "pets.tflite").write_bytes(file.to_bytes())
    with pytest.raises(UserError, match=f"pets.tflite' cannot be read. {message}"):
        TFLiteDetector(tmp_path / "pets.tflite")


def test_labels_of_other_makers_may_end_lines_otherwise():
    assert metadata.labels_of({"labelmap.txt": b"\xef\xbb\xbfcat\r\ndog\r\n"}) == ("cat", "dog")


def test_settings_are_json_that_anybody_reads(float_file):
    settings = json.loads(packed_files(float_file)[SETTINGS_FILE])
    assert settings["image_size"] == [96, 96]
