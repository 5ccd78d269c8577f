"""The tables of a .tflite file: reading them with care, packing them as device libraries want."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ssd_keras.errors import UserError, one_line

FILE_IDENTIFIER = b"TFL3"
# The runtime maps constants straight from the file, and its kernels like them aligned.
BUFFER_ALIGNMENT = 16
# Of the largest networks there are a few thousand.
MAX_TABLES = 100_000


def read(content: bytes) -> schema.ModelT:
    """The tables of a .tflite file.

    Raises:
        UserError: these bytes are not a .tflite file, or it is damaged.
    """
    check_identifier(content)
    try:
        _check_counts(content)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _take_in_constants(model, content)
        return model
    except Exception as error:
        raise UserError(f"The .tflite file is damaged: {one_line(error)}.") from error


def _take_in_constants(model: schema.ModelT, content: bytes):
    """Reads constants that lie behind the tables, where litert-quantizer leaves them.

    Left there, they would be missing from a file that is written anew.
    """
    behind = [buffer for buffer in model.buffers if buffer.data is None and buffer.size]
    if sum(buffer.size for buffer in behind) > len(content):
        raise ValueError("its constants are larger than the file")
    for buffer in behind:
        if buffer.offset + buffer.size > len(content):
            raise ValueError("a constant lies beyond its end")
        buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0


def check_identifier(content: bytes):
    """Raises a UserError for bytes that do not say that they are a .tflite file."""
    if content[4:8] != FILE_IDENTIFIER:
        raise UserError("This is not a .tflite file: the identifier TFL3 is missing.")


def _check_counts(content: bytes):
    """Refuses files whose lists point to the same tables again and again."""
    model = schema.Model.GetRootAs(content)
    graphs = [model.Subgraphs(i) for i in range(min(model.SubgraphsLength(), MAX_TABLES))]
    counts = (
        model.SubgraphsLength(),
        model.BuffersLength(),
        model.OperatorCodesLength(),
        model.MetadataLength(),
        *(graph.TensorsLength() + graph.OperatorsLength() for graph in graphs),
    )
    if sum(counts) > MAX_TABLES:
        raise ValueError(f"it has {sum(counts):,} parts")


def write(model: schema.ModelT) -> bytes:
    """Packs the tables; constants are aligned to 16 bytes, equal tables give equal bytes."""
    for index, buffer in enumerate(model.buffers):
        model.buffers[index] = _AlignedBuffer(buffer.data, buffer.offset, buffer.size)
    shared: dict[int, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization = _SharedZeros(tensor.quantization, shared)
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):
    """A buffer that honours `force_align: 16` of the schema; the generated code does not."""

    def Pack(self, builder):
        data = None
        if self.data is not None:
            raw = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(raw), BUFFER_ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)


class _SharedZeros(schema.QuantizationParametersT):
    """Quantization of a tensor whose zero points, if all 0, are stored once for the whole file.

    Per-channel kernels have 8 bytes of zeros per channel, together 5 % of a small model.
    """

    def __init__(self, original: schema.QuantizationParametersT, shared: dict[int, int]):
        super().__init__()
        vars(self).update(vars(original))
        self._shared = shared

    def Pack(self, builder):
        points, length = self.zeroPoint, 0 if self.zeroPoint is None else len(self.zeroPoint)
        if not length or np.any(points):
            return super().Pack(builder)
        if length not in self._shared:
            self._shared[length] = builder.CreateNumpyVector(np.zeros(length, np.int64))
        vectors = {
            name: builder.CreateNumpyVector(np.asarray(value, np.float32))
            for name in ("Min", "Max", "Scale")
            if (value := getattr(self, name.lower())) is not None and len(value)
        }
        schema.QuantizationParametersStart(builder)
        for name, offset in vectors.items():
            getattr(schema, f"QuantizationParametersAdd{name}")(builder, offset)
        schema.QuantizationParametersAddZeroPoint(builder, self._shared[length])
        schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
        return schema.QuantizationParametersEnd(builder)
