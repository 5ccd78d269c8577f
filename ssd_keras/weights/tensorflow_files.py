"""TensorFlow's files: frozen graphs, SavedModels, checkpoints. Nothing in them is run."""

from __future__ import annotations

import dataclasses
import glob
import math
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from ssd_keras.errors import UserError
from ssd_keras.reading import reading
from ssd_keras.weights.api_checkpoint_keys import names_of_keys
from ssd_keras.weights.checkpoint_index import check_index
from ssd_keras.weights.files import (
    MAX_ARRAY_VALUES,
    MAX_ARRAYS,
    check_finite,
    checked_shape,
    read_file,
)
from ssd_keras.weights.tensorflow_file import TensorFlowFile, checkpoint_prefix

_ROOM = 1 << 20
POST_PROCESS = "TFLite_Detection_PostProcess"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

# What an optimizer keeps beside the weights.
_TRAINING_STATE = re.compile(
    r"(^|/)(global_step|iter|learning_rate|save_counter|beta1_power|beta2_power)$"
    r"|/(Momentum|RMSProp(_1)?|Adam(_1)?|Adadelta(_1)?|ExponentialMovingAverage"
    r"|\.OPTIMIZER_SLOT/.*)$"
)


_VARIABLE = re.compile(
    r"(^|/)(weights|depthwise_weights|pointwise_weights|biases|gamma|beta|moving_mean"
    r"|moving_variance|kernel|depthwise_kernel|bias)$"
)


def read_frozen_graph(path: str | Path) -> TensorFlowFile:
    """Reads the constants and operations of a GraphDef (`.pb`).

    Raises:
        UserError: the file is missing, too large, damaged or holds no weights.
    """
    data = read_file(path)
    with reading(path, "a frozen graph of TensorFlow"):
        graph = tf.compat.v1.GraphDef()
        graph.ParseFromString(data)
        found = _from_nodes(graph.node, len(data))
        if not found.variables:
            raise ValueError("it holds no weights")
    return found


def read_saved_model(path: str | Path) -> TensorFlowFile:
    """Reads the weights of a SavedModel folder, and its graph's constants and operations.

    Raises:
        UserError: the folder or its checkpoint is missing, damaged or holds no weights.
    """
    path = Path(path)
    data = read_file(path / "saved_model.pb")
    with reading(path, "a SavedModel"):
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString(data)
        (graph,) = [meta.graph_def for meta in saved.meta_graphs][:1]
        nodes = list(graph.node)
        for function in graph.library.function:
            nodes += function.node_def
        found = _from_nodes(nodes, len(data))
    prefix = path / "variables" / "variables"
    if prefix.with_suffix(".index").is_file():
        found = dataclasses.replace(
            found, variables={**found.variables, **read_checkpoint(prefix).variables}
        )
    if not found.variables:
        raise UserError(f"The SavedModel '{path}' holds no weights: was it copied whole?")
    return found


def read_checkpoint(path: str | Path) -> TensorFlowFile:
    """Reads the variables of a checkpoint; optimizer state is left out.

    Variables of a TF2 checkpoint carry the names that their layers gave them.

    Args:
        path: its prefix, its `.index` file, or a folder that holds it.

    Raises:
        UserError: the checkpoint is missing, damaged or not whole.
    """
    prefix = checkpoint_prefix(Path(path))
    if prefix is None:
        raise UserError(f"There is no checkpoint at '{path}': give its prefix or its folder.")
    index = read_file(prefix.with_name(f"{prefix.name}.index"))
    with reading(path, "a checkpoint of TensorFlow"):
        check_index(index)
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        dtypes = reader.get_variable_to_dtype_map()
        if len(shapes) > MAX_ARRAYS:
            raise ValueError("it has too many variables")
        names = {key: key.removesuffix(_SUFFIX) for key in shapes if key != OBJECT_GRAPH}
        if OBJECT_GRAPH in shapes:
            names |= _full_names(reader.get_tensor(OBJECT_GRAPH))
            by_way = names_of_keys(key.removesuffix(_SUFFIX) for key in shapes)
            names |= {f"{key}{_SUFFIX}": name for key, name in by_way.items()}
        variables, left = {}, min(MAX_ARRAY_VALUES, _stored_bytes(prefix))
        for key, name in names.items():
            if key not in shapes or _TRAINING_STATE.search(key) or _TRAINING_STATE.search(name):
                continue
            if dtypes[key] in (tf.float32, tf.float16, tf.float64, tf.bfloat16):
                left -= math.prod(checked_shape(shapes[key], left))
                variables[name] = np.asarray(reader.get_tensor(key), np.float32)
        check_finite(variables)
        if not variables:
            raise ValueError("it holds no weights")
    return TensorFlowFile(variables)


def _stored_bytes(prefix: Path) -> int:
    """Bytes of a checkpoint's data files: no value takes less than one."""
    files = prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*")
    return sum(file.stat().st_size for file in files)


def _full_names(object_graph: bytes) -> dict[str, str]:
    """Checkpoint key -> the name of the variable, from the object graph of a TF2 checkpoint."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(object_graph)
    return {
        attribute.checkpoint_key: attribute.full_name
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.full_name
    }


def _from_nodes(nodes, size: int) -> TensorFlowFile:
    """What the operations of a graph of `size` bytes hold."""
    if len(nodes) > MAX_ARRAYS:
        raise ValueError(f"it has {len(nodes)} operations")
    numeric = {tf.float32, tf.float16, tf.float64, tf.int32, tf.int64}
    variables, constants, operations, epsilons = {}, {}, {}, {}
    inputs, post_processing = {}, {}
    # A constant of one value may have any shape.
    left = min(MAX_ARRAY_VALUES, size + _ROOM)
    for node in nodes:
        operations[node.name] = node.op
        if node.op.startswith("FusedBatchNorm"):
            epsilons[node.name] = float(node.attr["epsilon"].f)
        elif node.op == "Placeholder":
            inputs[node.name] = tuple(side.size for side in node.attr["shape"].shape.dim)
        elif node.op == POST_PROCESS:
            post_processing = {name: float(attr.f) for name, attr in node.attr.items() if attr.f}
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor
        if tensor.dtype not in {dtype.as_datatype_enum for dtype in numeric}:
            continue
        shape = checked_shape([side.size for side in tensor.tensor_shape.dim], left)
        left -= math.prod(shape)
        array = tf.make_ndarray(tensor)
        target = variables if _VARIABLE.search(node.name) and array.ndim else constants
        target[node.name] = array
    check_finite(variables)
    return TensorFlowFile(variables, constants, operations, epsilons, inputs, post_processing)
