"""SSD detectors in .tflite files of the TF Object Detection API: quantised weights made floats."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from ssd_keras.reading import read_member, reading
from ssd_keras.weights.api_facts import Facts
from ssd_keras.weights.files import check_finite, checked_shape, read_file
from ssd_keras.weights.label_maps import labels_of_lines
from ssd_keras.weights.tensorflow_file import TensorFlowFile

MAX_ENTRIES = 10_000
MAX_LABEL_BYTES = 1 << 20
POST_PROCESS = b"TFLite_Detection_PostProcess"

_DTYPES = {
    schema.TensorType.FLOAT32: "<f4",
    schema.TensorType.FLOAT16: "<f2",
    schema.TensorType.INT32: "<i4",
    schema.TensorType.UINT8: "u1",
    schema.TensorType.INT8: "i1",
}


def read_tflite(path: str | Path) -> tuple[TensorFlowFile, Facts, dict[int, str] | None]:
    """Reads the convolutions of a .tflite detector as float32, under the names of TF1.

    Batch norms are folded into the convolutions of such files; what is left of them is a bias.

    Returns:
        The tensors; what the file says beside them; class names by number if labels are packed in.

    Raises:
        UserError: the file is missing, damaged, of another kind, or no detector of the API.
    """
    data = read_file(path)
    with reading(path, "a .tflite detector"):
        if data[4:8] != b"TFL3":
            raise ValueError("the identifier TFL3 is missing")
        graph = _Graph(data)
        variables: dict[str, np.ndarray] = {}
        operations = {}
        suppression, table, variances = {}, None, None
        for operator, code, custom in graph.operators():
            inputs = graph.indices(operator.Inputs, operator.InputsLength())
            outputs = graph.indices(operator.Outputs, operator.OutputsLength())
            if code in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
                variables |= graph.convolution(inputs, outputs, code)
            elif code in (schema.BuiltinOperator.LOGISTIC, schema.BuiltinOperator.SOFTMAX):
                is_sigmoid = code == schema.BuiltinOperator.LOGISTIC
                operations["scores"] = "sigmoid" if is_sigmoid else "softmax"
            elif custom == POST_PROCESS:
                options = _Options(operator.CustomOptionsAsNumpy())
                table = graph.constant(inputs[2])
                variances = tuple(1 / options.number(f"{side}_scale") for side in "yxhw")
                suppression = {
                    "score_threshold": float(f"{options.number('nms_score_threshold'):.6g}"),
                    "iou_threshold": float(f"{options.number('nms_iou_threshold'):.6g}"),
                    "max_detections": int(options.number("max_detections")),
                    "class_agnostic": not options.flag("use_regular_nms"),
                }
        if not variables:
            raise ValueError("it has no convolutions with the names of the TF Object Detection API")
        check_finite(variables)
        facts = Facts(
            image_size=graph.image_size(),
            anchor_table=table,
            variances=variances,
            scores=operations.get("scores"),
            suppression=suppression,
        )
        return TensorFlowFile(variables), facts, _packed_labels(data)


class _Options:
    """The options of a custom operator. Only what is asked for is read: a value may be a tree."""

    def __init__(self, data):
        self.values = flexbuffers.GetRoot(bytearray(data)).AsMap

    def number(self, key: str) -> float:
        value = self.values[key]
        if not value.IsNumeric:
            raise ValueError(f"its {key} is no number")
        return float(value.AsFloat)

    def flag(self, key: str) -> bool:
        """Whether it is set; one that is left out is not."""
        try:
            return bool(self.values[key].AsBool)
        except KeyError:
            return False


class _Graph:
    """The first subgraph of a .tflite file, read with its limits checked."""

    def __init__(self, data: bytes):
        self.model = schema.Model.GetRootAs(data, 0)
        self.graph = self.model.Subgraphs(0)
        counts = (self.graph.TensorsLength(), self.graph.OperatorsLength())
        if not all(0 <= count <= MAX_ENTRIES for count in counts):
            raise ValueError(f"it has {counts[0]} tensors and {counts[1]} operators")
        # Tensors could share their bytes, any number of them.
        self.values_left = 2 * len(data)

    def operators(self):
        """(operator, builtin code, custom code) of each operator."""
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            kind = self.model.OperatorCodes(operator.OpcodeIndex())
            yield operator, max(kind.BuiltinCode(), kind.DeprecatedBuiltinCode()), kind.CustomCode()

    def indices(self, read, count: int) -> list[int]:
        if not 0 <= count <= MAX_ENTRIES:
            raise ValueError(f"an operator has {count} inputs or outputs")
        return [int(read(i)) for i in range(count)]

    def tensor(self, index: int) -> schema.Tensor:
        if not 0 <= index < self.graph.TensorsLength():
            raise ValueError(f"there is no tensor {index}")
        return self.graph.Tensors(index)

    def image_size(self) -> tuple[int, int] | None:
        shape = self.shape(self.tensor(int(self.graph.Inputs(0))))
        return (shape[1], shape[2]) if len(shape) == 4 and min(shape[1:3]) >= 32 else None

    def shape(self, tensor: schema.Tensor) -> tuple[int, ...]:
        if tensor.ShapeLength() > 8:
            raise ValueError(f"a tensor has {tensor.ShapeLength()} sides")
        return checked_shape([tensor.Shape(i) for i in range(tensor.ShapeLength())])

    def constant(self, index: int) -> np.ndarray:
        """A constant tensor as float32."""
        tensor = self.tensor(index)
        if tensor.Type() not in _DTYPES:
            raise ValueError(f"'{_name(tensor)}' has a type that weights do not have")
        buffer = self.model.Buffers(tensor.Buffer())
        shape = self.shape(tensor)
        self.values_left -= math.prod(shape)
        if self.values_left < 0:
            raise ValueError("its tensors have more values than it has bytes")
        values = np.frombuffer(bytes(buffer.DataAsNumpy()), _DTYPES[tensor.Type()])
        if values.size != math.prod(shape):
            raise ValueError(f"'{_name(tensor)}' has {values.size} values for {list(shape)}")
        values = values.reshape(shape).astype(np.float32)
        quantization = tensor.Quantization()
        if quantization is None or quantization.ScaleLength() == 0:
            return values
        scale = np.asarray(quantization.ScaleAsNumpy(), np.float32)
        zero = np.zeros(len(scale), np.float32)
        if quantization.ZeroPointLength() == len(scale):
            zero = np.asarray(quantization.ZeroPointAsNumpy(), np.float32)
        if len(scale) > 1:
            axis = quantization.QuantizedDimension()
            sides = [1] * len(shape)
            sides[axis] = shape[axis]
            scale, zero = scale.reshape(sides), zero.reshape(sides)
        return (values - zero) * scale

    def convolution(self, inputs: list[int], outputs: list[int], code: int) -> dict:
        """Kernel and bias of a convolution, named by its scope in the original graph."""
        kernel = self.constant(inputs[1])
        depthwise = code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
        # [out, h, w, in], and [1, h, w, channels] of a depthwise one.
        kernel = kernel.transpose((1, 2, 3, 0))
        channels = kernel.shape[2] if depthwise else kernel.shape[3]
        has_bias = len(inputs) > 2 and inputs[2] >= 0
        bias = self.constant(inputs[2]) if has_bias else np.zeros(channels, np.float32)
        scope = _scope(_name(self.tensor(outputs[0])))
        return {
            f"{scope}/{'depthwise_weights' if depthwise else 'weights'}": kernel,
            f"{scope}/biases": bias,
        }


def _name(tensor: schema.Tensor) -> str:
    return (tensor.Name() or b"").decode()


def _scope(output: str) -> str:
    """The scope of a convolution from the name of its result, such as ".../Conv2d_0/Relu6"."""
    return re.sub(r"/(BatchNorm/.*|[^/]*)$", "", output)


def _packed_labels(data: bytes) -> dict[int, str] | None:
    """Class names from a label file packed behind the model."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".txt") and entry.file_size <= MAX_LABEL_BYTES:
                return labels_of_lines(read_member(archive, entry, MAX_LABEL_BYTES).decode())
    return None
