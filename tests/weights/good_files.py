"""Small good files of every kind of weights, and their readers."""

import flatbuffers
import h5py
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from ssd_keras.weights import caffe, keras_files, label_maps, tensorflow_files, tflite_files
from ssd_keras.weights.torch_files import read_state_dict
from tests.weights import caffe_files, torch_file

RANDOM = np.random.default_rng(7)
KERNEL = RANDOM.normal(size=(3, 3, 3, 8)).astype("f4")
BIAS = RANDOM.normal(size=8).astype("f4")


def frozen_graph():
    graph = tf.compat.v1.GraphDef()
    for name, array in (("a/weights", KERNEL), ("a/biases", BIAS), ("size", np.array([300, 300]))):
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    graph.node.add(name="norm", op="FusedBatchNorm").attr["epsilon"].f = 1e-3
    return graph


def write_pb(folder):
    (folder / "x.pb").write_bytes(frozen_graph().SerializeToString())
    return folder / "x.pb"


def write_saved_model(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    saved.meta_graphs.add().graph_def.CopyFrom(frozen_graph())
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder / "saved_model.pb"


def write_checkpoint(folder):
    names = ["a/weights", "a/biases", "global_step"]
    tensors = [KERNEL, BIAS, np.int64(5)]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "x.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * 3,
        tensors=tensors,
    )
    return folder / "x.ckpt.index"


def write_checkpoint_data(folder):
    write_checkpoint(folder)
    return folder / "x.ckpt.data-00000-of-00001"


def write_caffemodel(folder):
    blobs = {"a": [KERNEL.transpose(3, 2, 0, 1), BIAS], "b": [BIAS]}
    (folder / "x.caffemodel").write_bytes(caffe_files.caffemodel(blobs))
    return folder / "x.caffemodel"


def write_old_caffemodel(folder):
    blobs = {"a": [KERNEL.transpose(3, 2, 0, 1), BIAS]}
    (folder / "x.caffemodel").write_bytes(caffe_files.caffemodel(blobs, v1=True))
    return folder / "x.caffemodel"


def write_prototxt(folder):
    net = caffe_files.Net(300)
    net.heads(net.relu(net.conv("a", "data", 8, 3)), 2, 4, 3, "min_size: 30 step: 8")
    (folder / "x.prototxt").write_text(net.finish(2))
    return folder / "x.prototxt"


def write_pth(folder):
    (folder / "x.pth").write_bytes(torch_file.pth({"a.weight": KERNEL, "a.bias": BIAS}))
    return folder / "x.pth"


def write_h5(folder):
    with h5py.File(folder / "x.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = [b"a/kernel:0", b"a/bias:0"]
        group["a/kernel:0"], group["a/bias:0"] = KERNEL, BIAS
    return folder / "x.h5"


def write_tflite(folder):
    def tensor(name, shape, kind, buffer, scale=None):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), kind, buffer
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [3]
        return made

    def buffer(array=None):
        made = schema.BufferT()
        made.data = None if array is None else np.frombuffer(array.tobytes(), np.uint8)
        return made

    kinds = schema.TensorType
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("image", (1, 300, 300, 3), kinds.UINT8, 0, 1.0),
        tensor("a/weights", (8, 3, 3, 3), kinds.UINT8, 1, 0.1),
        tensor("a/bias", (8,), kinds.INT32, 2, 0.01),
        tensor(
            "FeatureExtractor/MobilenetV1/Conv2d_0/Relu6", (1, 150, 150, 8), kinds.UINT8, 0, 1.0
        ),
    ]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1, 2], [3], 0
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    model = schema.ModelT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    quantised = RANDOM.integers(0, 256, (8, 3, 3, 3), np.uint8)
    model.buffers = [buffer(), buffer(quantised), buffer(np.arange(8, dtype="i4"))]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "x.tflite").write_bytes(builder.Output())
    return folder / "x.tflite"


def write_label_map(folder):
    items = (f"item {{ id: {i} name: 'n{i}' display_name: \"class {i}\" }}\n" for i in range(1, 9))
    (folder / "x.pbtxt").write_text("# classes\n" + "".join(items))
    return folder / "x.pbtxt"


KINDS = {
    "frozen graph": (write_pb, tensorflow_files.read_frozen_graph),
    "SavedModel": (write_saved_model, lambda p: tensorflow_files.read_saved_model(p.parent)),
    "checkpoint, index": (write_checkpoint, tensorflow_files.read_checkpoint),
    "checkpoint, data": (
        write_checkpoint_data,
        lambda p: tensorflow_files.read_checkpoint(p.parent / "x.ckpt"),
    ),
    "caffemodel": (write_caffemodel, caffe.read_caffemodel),
    "old caffemodel": (write_old_caffemodel, caffe.read_caffemodel),
    "prototxt": (write_prototxt, caffe.read_network),
    "pth": (write_pth, read_state_dict),
    "h5": (write_h5, keras_files.read_keras_file),
    "tflite": (write_tflite, tflite_files.read_tflite),
    "label map": (write_label_map, label_maps.read_labels),
}
