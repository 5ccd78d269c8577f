"""Joining and rewriting .tflite files."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.deploy import flatbuffer
from ssd_keras.deploy.converter import convert

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


@pytest.mark.parametrize(
    "order", [("one", "two", "three", "four"), ("four", "three", "one", "two")]
)
def test_outputs_of_a_joined_model_come_in_the_order_asked_for(first, second, order):
    model = flatbuffer.order_outputs(flatbuffer.append(first, second), order)
    for name, found in zip(order, run(model), strict=True):
        np.testing.assert_allclose(found, values()[name], rtol=1e-6, err_msg=name)


def test_output_tensors_have_ascending_indices(first, second):
    model = flatbuffer.order_outputs(
        flatbuffer.append(first, second), ("two", "one", "four", "three")
    )
    outputs = list(flatbuffer.read(model).subgraphs[0].outputs)
    assert outputs == sorted(outputs)


def test_signature_still_names_the_right_tensors(first, second):
    order = ("three", "one", "four", "two")
    model = flatbuffer.order_outputs(flatbuffer.append(first, second), order)
    signature = Interpreter(model_content=model).get_signature_runner("serve")
    for name, found in signature(x=X).items():
        np.testing.assert_allclose(found, values()[name], rtol=1e-6, err_msg=name)


def test_joining_names_the_input_that_has_no_partner(first):
    lonely = convert(lambda c: {"y": c + 1.0}, spec("c"))
    with pytest.raises(ValueError, match="'c' has no partner among the outputs \\['a', 'b'\\]"):
        flatbuffer.append(first, lonely)


def test_joining_refuses_another_shape(first):
    other = convert(lambda a: {"y": a + 1.0}, spec("a", (1, 4)))
    with pytest.raises(ValueError, match=r"'a' is \[1, 3\].*but \[1, 4\]"):
        flatbuffer.append(first, other)


def test_one_tensor_cannot_be_two_outputs():
    model = convert(lambda x: (lambda y: {"a": y, "b": y})(x + 1.0), spec("x"))
    with pytest.raises(ValueError, match="one and the same tensor"):
        flatbuffer.order_outputs(model, ("a", "b"))


def test_constants_are_aligned_to_16_bytes(first, second):
    model = flatbuffer.append(first, second)
    address = np.frombuffer(model, np.uint8).__array_interface__["data"][0]
    for buffer in flatbuffer.read(model).buffers:
        if buffer.data is not None and len(buffer.data):
            offset = np.asarray(buffer.data).__array_interface__["data"][0] - address
            assert offset % flatbuffer.BUFFER_ALIGNMENT == 0


def test_rewriting_changes_no_value(first):
    again = flatbuffer.write(flatbuffer.read(first))
    assert flatbuffer.write(flatbuffer.read(again)) == again
    for before, after in zip(run(first), run(again), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_rewrite_drops_packed_files_so_packing_is_last(first):
    packed = flatbuffer.pack_files(first, {"labels.txt": b"cat\n"})
    assert flatbuffer.packed_files(packed) == {"labels.txt": b"cat\n"}
    assert flatbuffer.packed_files(flatbuffer.write(flatbuffer.read(packed))) == {}


def test_packing_is_deterministic(first):
    files = {"labels.txt": b"cat\n", "b.bin": bytes(range(9))}
    assert flatbuffer.pack_files(first, files) == flatbuffer.pack_files(first, files)


def test_metadata_is_stored_and_replaced(first):
    once = flatbuffer.set_metadata(first, "NOTE", b"first")
    twice = flatbuffer.set_metadata(once, "NOTE", b"second one")
    assert flatbuffer.get_metadata(once, "NOTE") == b"first"
    assert flatbuffer.get_metadata(twice, "NOTE") == b"second one"
    assert flatbuffer.get_metadata(first, "NOTE") is None


def test_zero_points_of_a_quantized_model_are_stored_once(int8_file):
    tensors = flatbuffer.read(int8_file).subgraphs[0].tensors
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
        flatbuffer.read(b"PK\x03\x04 something else")
