"""Joining and rewriting .tflite files."""

import io
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.deploy import flatbuffer
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.tflite_file import TFLiteFile, packed_files
from ssd_keras.errors import UserError

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def spec(name, shape=(1, 3)):
    return tf.TensorSpec(shape, tf.float32, name)


@pytest.fixture(scope="module")
def first():
    kernel = np.arange(9, dtype=np.float32).reshape(3, 3)
    return convert(lambda x: {"a": x @ kernel, "b": x + 10.0}, spec("x"))


@pytest.fixture(scope="module")
def second():
    return convert(
        lambda a, b: {"one": a - b, "two": a * 2.0, "three": b * 3.0, "four": a + b},
        (spec("a"), spec("b")),
    )


def run(model: bytes) -> list[np.ndarray]:
    """The outputs by position."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def values() -> dict[str, np.ndarray]:
    a, b = X @ np.arange(9, dtype=np.float32).reshape(3, 3), X + 10
    return {"one": a - b, "two": a * 2, "three": b * 3, "four": a + b}


def appended(first: bytes, second: bytes) -> TFLiteFile:
    file = TFLiteFile(first)
    file.append(TFLiteFile(second))
    return file


def ordered(file: TFLiteFile, names) -> bytes:
    file.order_outputs(names)
    return file.to_bytes()


@pytest.mark.parametrize(
    "order", [("one", "two", "three", "four"), ("four", "three", "one", "two")]
)
def test_outputs_of_a_joined_model_come_in_the_order_asked_for(first, second, order):
    model = ordered(appended(first, second), order)
    for name, found in zip(order, run(model), strict=True):
        np.testing.assert_allclose(found, values()[name], rtol=1e-6, err_msg=name)


def test_output_tensors_have_ascending_indices(first, second):
    model = ordered(appended(first, second), ("two", "one", "four", "three"))
    outputs = list(TFLiteFile(model).graph.outputs)
    assert outputs == sorted(outputs)


def test_signature_still_names_the_right_tensors(first, second):
    model = ordered(appended(first, second), ("three", "one", "four", "two"))
    signature = Interpreter(model_content=model).get_signature_runner("serving_default")
    for name, found in signature(x=X).items():
        np.testing.assert_allclose(found, values()[name], rtol=1e-6, err_msg=name)


def test_inputs_and_outputs_of_other_names_are_linked(first):
    other = TFLiteFile(convert(lambda c: {"y": c + 1.0}, spec("c")))
    file = TFLiteFile(first)
    file.append(other, {"c": "b"})
    np.testing.assert_allclose(run(file.to_bytes())[0], X + 11)


def test_joining_names_the_input_that_has_no_partner(first):
    lonely = convert(lambda c: {"y": c + 1.0}, spec("c"))
    with pytest.raises(ValueError, match="'c' has no partner among the outputs \\['a', 'b'\\]"):
        appended(first, lonely)


def test_joining_refuses_another_shape(first):
    other = convert(lambda a: {"y": a + 1.0}, spec("a", (1, 4)))
    with pytest.raises(ValueError, match=r"'a' is \[1, 3\].*but \[1, 4\]"):
        appended(first, other)


def test_one_tensor_cannot_be_two_outputs():
    model = convert(lambda x: (lambda y: {"a": y, "b": y})(x + 1.0), spec("x"))
    with pytest.raises(ValueError, match="one and the same tensor"):
        TFLiteFile(model).order_outputs(("a", "b"))


def test_constants_are_aligned_to_16_bytes(first, second):
    model = appended(first, second).to_bytes()
    address = np.frombuffer(model, np.uint8).__array_interface__["data"][0]
    for buffer in flatbuffer.read(model).buffers:
        if buffer.data is not None and len(buffer.data):
            offset = np.asarray(buffer.data).__array_interface__["data"][0] - address
            assert offset % flatbuffer.BUFFER_ALIGNMENT == 0


def test_rewriting_changes_no_value(first):
    again = TFLiteFile(first).to_bytes()
    assert TFLiteFile(again).to_bytes() == again
    for before, after in zip(run(first), run(again), strict=True):
        np.testing.assert_array_equal(before, after)


def test_packed_files_survive_a_rewrite(first):
    file = TFLiteFile(first)
    assert file.files == {}
    file.files["labels.txt"] = b"cat\n"
    packed = file.to_bytes()
    assert packed_files(packed) == {"labels.txt": b"cat\n"}
    assert TFLiteFile(packed).to_bytes() == packed


def test_packing_is_deterministic(first):
    files = {"labels.txt": b"cat\n", "b.bin": bytes(range(9))}
    one, other = TFLiteFile(first), TFLiteFile(first)
    one.files |= files
    other.files |= files
    assert one.to_bytes() == one.to_bytes() == other.to_bytes()


def test_metadata_is_stored_and_replaced(first):
    file = TFLiteFile(first)
    assert file.get_metadata("NOTE") is None
    file.set_metadata("NOTE", b"first")
    assert TFLiteFile(file.to_bytes()).get_metadata("NOTE") == b"first"
    file.set_metadata("NOTE", b"second one")
    assert TFLiteFile(file.to_bytes()).get_metadata("NOTE") == b"second one"


def test_operators_are_counted_by_name(first):
    assert TFLiteFile(first).operators() == {"ADD": 1, "FULLY_CONNECTED": 1}


def test_zero_points_of_a_quantized_model_are_stored_once(int8_file):
    tensors = TFLiteFile(int8_file).graph.tensors
    points = [
        t.quantization.zeroPoint
        for t in tensors
        if t.quantization is not None and t.quantization.zeroPoint is not None
    ]
    zeros = [np.asarray(p) for p in points if len(p) == 64 and not np.any(p)]
    places = {p.__array_interface__["data"][0] for p in zeros}
    assert len(zeros) > 5
    assert len(places) == 1


def test_bytes_that_are_no_model():
    with pytest.raises(ValueError, match=r"not a \.tflite file"):
        TFLiteFile(b"PK\x03\x04 something else")


def test_a_damaged_model(first):
    with pytest.raises(UserError, match=r"The \.tflite file is damaged"):
        TFLiteFile(first[:100])


def test_a_list_that_points_to_the_same_table_again_and_again(first, monkeypatch):
    monkeypatch.setattr(flatbuffer, "MAX_TABLES", 10)
    with pytest.raises(UserError, match=r"damaged: it has \d\d parts"):
        TFLiteFile(first)


def packed(model: bytes, name: str, data: bytes, compression=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", compression) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def test_packed_files_that_would_fill_the_memory(first):
    bomb = packed(first, "labels.txt", bytes(100 << 20), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 200_000
    with pytest.raises(UserError, match="are damaged: they have 104,857,600 bytes"):
        packed_files(bomb)


def test_packed_files_that_are_damaged(first):
    whole = packed(first, "labels.txt", b"cat\n")
    with pytest.raises(UserError, match=r"packed behind the \.tflite file are damaged: Bad CRC"):
        packed_files(whole.replace(b"cat\n", b"cow\n"))


def test_weights_that_look_like_the_end_of_an_archive(first):
    assert packed_files(first + b"PK\5\6" + bytes(range(18))) == {}


def with_constant_behind(content: bytes, shift: int = 0, more: int = 0) -> bytes:
    """The file with its largest constant behind the tables, as litert-quantizer leaves them."""
    model = flatbuffer.read(content)
    buffer = max(model.buffers, key=lambda b: 0 if b.data is None else len(b.data))
    data = np.asarray(buffer.data, np.uint8).tobytes()
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, len(data) + more
    length = len(flatbuffer.write(model))
    for one in model.buffers:
        one.offset = length + shift if one.size else 0
    return flatbuffer.write(model) + data


def test_constants_behind_the_tables_are_read_and_written(float_file):
    file = TFLiteFile(float_file)
    file.files = {}
    plain = file.to_bytes()
    behind = with_constant_behind(plain)
    assert TFLiteFile(behind).constant_bytes() == TFLiteFile(plain).constant_bytes()
    assert TFLiteFile(behind).to_bytes() == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shift": 64}, "a constant lies beyond its end"),
        ({"more": 1 << 40}, "larger than the file"),
    ],
)
def test_constants_that_are_not_there_are_refused(float_file, change, message):
    with pytest.raises(UserError, match=message):
        TFLiteFile(with_constant_behind(float_file, **change))
