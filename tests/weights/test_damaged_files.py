"""Damaged files of every kind give one clear line: no crash, no hang, no other error."""

import io
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.errors import UserError
from ssd_keras.weights import tensorflow_files
from ssd_keras.weights.importing import import_detector
from ssd_keras.weights.torch_files import read_state_dict
from tests.weights import torch_file
from tests.weights.good_files import KERNEL, KINDS

CORRUPTIONS = 100


@pytest.fixture(params=KINDS)
def file(request, tmp_path):
    """(path of a good file, its reader)."""
    write, read = KINDS[request.param]
    return write(tmp_path), read


def corrupted(data: bytes, random) -> bytes:
    """The bytes with one of the damages that files suffer."""
    data, kind = bytearray(data), random.integers(5)
    at = int(random.integers(len(data)))
    length = int(random.integers(1, 1 + min(64, len(data))))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for position in random.integers(0, len(data), length):
            data[position] ^= 1 << random.integers(8)
    elif kind == 2:
        data[at : at + length] = bytes(length)
    elif kind == 3:
        data[at : at + length] = b"\xff" * length
    else:
        data[at:at] = random.integers(0, 256, length, np.uint8).tobytes()
    return bytes(data)


def test_a_good_file_is_read(file):
    path, read = file
    assert read(path)


def test_damaged_files_give_one_clear_line(file):
    path, read = file
    good = path.read_bytes()
    random = np.random.default_rng(3)
    messages = []
    for _ in range(CORRUPTIONS):
        path.write_bytes(corrupted(good, random))
        try:
            read(path)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > CORRUPTIONS / 10
    assert all("\n" not in message and str(path.parent) in message for message in messages)


@pytest.mark.parametrize("content", [b"", b"\x00", b"not this", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_empty_and_other_files_are_refused(file, content):
    path, read = file
    path.write_bytes(content)
    with pytest.raises(UserError):
        read(path)


@pytest.mark.parametrize("kind", ["x.pb", "x.pth", "x.h5", "x.tflite", "x.caffemodel", "x.zip"])
def test_the_importer_names_the_file(tmp_path, kind):
    (tmp_path / kind).write_bytes(b"nothing of the kind")
    (tmp_path / "net.prototxt").write_text("layer {")
    with pytest.raises(UserError, match=kind if kind != "x.caffemodel" else "net.prototxt"):
        import_detector(tmp_path / kind, prototxt=tmp_path / "net.prototxt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pb.*does not exist"):
        import_detector(tmp_path / "nowhere.pb")


def test_a_shape_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path):
    graph = tf.compat.v1.GraphDef()
    node = graph.node.add(name="a/weights", op="Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([1.0]))
    side = node.attr["value"].tensor.tensor_shape.dim
    side[0].size = 1 << 40
    (tmp_path / "x.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(UserError, match="not possible"):
        tensorflow_files.read_frozen_graph(tmp_path / "x.pb")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ssd_keras.weights.torch_files.MAX_FILE_BYTES", 1000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("archive/data.pkl", bytes(100_000))
    (tmp_path / "x.pth").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="too much"):
        read_state_dict(tmp_path / "x.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    broken = KERNEL.copy()
    broken[0, 0, 0, 0] = np.nan
    (tmp_path / "x.pth").write_bytes(torch_file.pth({"a.weight": broken}))
    with pytest.raises(UserError, match=r"'a\.weight' holds values that are not finite"):
        read_state_dict(tmp_path / "x.pth")
