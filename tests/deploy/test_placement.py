"""Which operators a delegate takes: asked of XNNPACK, and by published lists."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ssd_keras.deploy import placement
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.form_tables import target_lines
from ssd_keras.deploy.placement import OPERATORS, PUBLISHED, asked_of_xnnpack, by_list
from ssd_keras.deploy.tflite_file import TFLiteFile
from tests.deploy.conftest import assemble


@pytest.fixture(scope="module")
def broken() -> bytes:
    """A graph that the GPU cannot take in one part: convolution, segment sum, convolution."""
    kernel = np.ones((1, 1, 3, 3), np.float32)

    def function(x):
        x = tf.nn.conv2d(x, kernel, 1, "SAME")
        x = tf.reshape(tf.math.segment_sum(tf.reshape(x, [16, 3]), np.arange(16)), [1, 4, 4, 3])
        return {"y": tf.nn.conv2d(x, kernel, 1, "SAME")}

    return convert(function, tf.TensorSpec([1, 4, 4, 3], tf.float32, "x"))


def test_the_table_names_operators_of_the_runtime_in_order():
    with OPERATORS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["operator"] for row in rows]
    assert names == sorted(set(names))
    assert all(hasattr(schema.BuiltinOperator, name) for name in names)
    assert rows[0].keys() == {"operator", *(listed.column for listed in PUBLISHED.values())}
    assert {row[column] for row in rows for column in row if column != "operator"} == {"yes", ""}


@pytest.mark.parametrize(
    ("name", "takes", "leaves"),
    [
        ("GPU", "TOPK_V2", "L2_NORMALIZATION"),
        ("Qualcomm NPU", "L2_NORMALIZATION", "NON_MAX_SUPPRESSION_V4"),
        ("MediaTek NPU", "TRANSPOSE_CONV", "EXP"),
        ("Edge TPU", "QUANTIZE", "DEQUANTIZE"),
    ],
)
def test_what_the_lists_say(name, takes, leaves):
    listed = placement.published_operators(PUBLISHED[name].column)
    assert takes in listed
    assert leaves not in listed


def test_a_network_without_suppression_is_one_part_of_the_gpu():
    on_gpu = by_list(assemble("none", "float16"), "GPU")
    assert (on_gpu.taken, on_gpu.partitions) == (on_gpu.total, 1)
    assert on_gpu.left == {}
    assert on_gpu.breaks == ()


def test_suppression_inside_is_left_to_the_cpu():
    on_gpu = by_list(assemble("builtin"), "GPU")
    assert on_gpu.left["NON_MAX_SUPPRESSION_V4"] == 1
    assert on_gpu.taken < on_gpu.total
    assert any(line.startswith("NON_MAX_SUPPRESSION_V4 ") for line in on_gpu.breaks)


def test_an_edge_tpu_takes_the_int8_part_and_nothing_behind_it():
    int8 = by_list(assemble("op", "int8"), "Edge TPU")
    assert int8.partitions == 1
    assert "CONV_2D" not in int8.left
    assert int8.left["DEQUANTIZE"] >= 1
    assert int8.breaks == ()
    assert by_list(assemble("op"), "Edge TPU").taken == 0


def test_the_layer_that_breaks_a_graph_is_named(broken):
    on_gpu = by_list(broken, "GPU")
    assert on_gpu.partitions == 2
    (line,) = on_gpu.breaks
    assert line.startswith("SEGMENT_SUM ")
    assert str(on_gpu) == f"GPU takes {on_gpu.total - 1} of {on_gpu.total} operators in 2 parts"


def test_what_a_target_takes_in_lines():
    lines = target_lines(assemble("none", "int8"), "npu")
    assert lines[0].startswith("Qualcomm NPU takes ")
    assert all(line.startswith(("Qualcomm NPU ", "MediaTek NPU ")) for line in lines)
    assert target_lines(assemble("none"), "edgetpu") == []


@pytest.mark.parametrize(("kind", "quantization"), [("builtin", "none"), ("none", "int8")])
def test_xnnpack_is_asked(kind, quantization):
    content = assemble(kind, quantization)
    asked = asked_of_xnnpack(content)
    assert asked.total == len(TFLiteFile(content).graph.operators)
    assert asked.taken + sum(asked.left.values()) == asked.total
    assert "CONV_2D" not in asked.left
    assert ("NON_MAX_SUPPRESSION_V4" in asked.left) == (kind == "builtin")
    assert asked.partitions == nodes_of_delegates(content)


def nodes_of_delegates(content: bytes) -> int:
    """How many nodes the runtime has added to those of the file."""

    def nodes(resolver) -> int:
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
        return len(interpreter._get_ops_details())

    plain = nodes(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return nodes(OpResolverType.BUILTIN) - plain
