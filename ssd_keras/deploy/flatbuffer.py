"""Reading, joining and rewriting .tflite files as flatbuffers, without a converter."""

from __future__ import annotations

import collections
import io
import zipfile
from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
# The runtime maps constants straight from the file, and its kernels like them aligned.
BUFFER_ALIGNMENT = 16

_BUILTIN_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}


def read(model: bytes) -> schema.ModelT:
    """Takes a .tflite file apart. Files packed behind it (labels) are not kept.

    Raises:
        ValueError: these bytes are not a .tflite file.
    """
    if model[4:8] != FILE_IDENTIFIER:
        raise ValueError("These bytes are not a .tflite file: the identifier TFL3 is missing.")
    return schema.ModelT.InitFromPackedBuf(model, 0)


def write(model: schema.ModelT) -> bytes:
    """Packs a model into the bytes of a .tflite file; constants are aligned to 16 bytes."""
    for index, buffer in enumerate(model.buffers):
        if not isinstance(buffer, _AlignedBuffer):
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


def append(first: bytes, second: bytes, links: dict[str, str] | None = None) -> bytes:
    """Joins two models of one subgraph each: the outputs of `first` feed the inputs of `second`.

    Args:
        first: a .tflite file.
        second: a .tflite file whose inputs are all outputs of `first`.
        links: input name of `second` -> output name of `first`, both names of the signatures;
            equal names if not given.

    Returns:
        A .tflite file with the inputs of `first` and the outputs of `second`.

    Raises:
        ValueError: an input of `second` has no partner, or shape or type differ.
    """
    model, tail = read(first), read(second)
    graph, tail_graph = _only_subgraph(model), _only_subgraph(tail)
    outputs, inputs = _signature(model).outputs, _signature(tail).inputs
    produced = {_text(item.name): item.tensorIndex for item in outputs}
    # Inputs of the tail become tensors of the head; everything else moves behind it.
    moved: dict[int, int] = {}
    for item in inputs:
        name = _text(item.name)
        partner = (links or {}).get(name, name)
        if partner not in produced:
            raise ValueError(f"Input '{name}' has no partner among the outputs {sorted(produced)}.")
        _check_same(name, graph.tensors[produced[partner]], tail_graph.tensors[item.tensorIndex])
        moved[item.tensorIndex] = produced[partner]

    first_buffer, first_code = len(model.buffers), len(model.operatorCodes)
    model.buffers.extend(tail.buffers)
    model.operatorCodes.extend(tail.operatorCodes)
    for index, tensor in enumerate(tail_graph.tensors):
        if index in moved:
            continue
        moved[index] = len(graph.tensors)
        # Buffer 0 is the shared empty one by convention of the format.
        tensor.buffer = tensor.buffer + first_buffer if tensor.buffer else 0
        tensor.name = b"post/" + _bytes(tensor.name)
        graph.tensors.append(tensor)
    moved[-1] = -1
    for operator in tail_graph.operators:
        operator.opcodeIndex += first_code
        operator.inputs = _renumbered(operator.inputs, moved)
        operator.outputs = _renumbered(operator.outputs, moved)
        operator.intermediates = _renumbered(operator.intermediates, moved)
        graph.operators.append(operator)
    graph.outputs = _renumbered(tail_graph.outputs, moved)
    signature = _signature(model)
    signature.outputs = _signature(tail).outputs
    for item in signature.outputs:
        item.tensorIndex = moved[item.tensorIndex]
    return write(model)


def dequantize_last(model: bytes) -> bytes:
    """Moves the operators that turn outputs into float behind all others.

    Compilers for accelerators (Coral's for one) cut a graph at the first operator that they cannot
    run, and the converter puts these in the middle, behind the layer of each output.
    """
    content = read(model)
    graph = _only_subgraph(content)
    read_again = {int(index) for operator in graph.operators for index in operator.inputs}
    results = {int(index) for index in graph.outputs} - read_again
    codes = [_operator_name(code) for code in content.operatorCodes]
    # Sorting is stable: all others keep their order.
    graph.operators.sort(
        key=lambda operator: (
            codes[operator.opcodeIndex] == "DEQUANTIZE" and int(operator.outputs[0]) in results
        )
    )
    return write(content)


def order_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Puts the outputs in the order of `names`, with ascending tensor indices.

    The converter orders outputs by a hash of their names; programs that read outputs by position
    and tools that sort tensors by index (the MediaPipe loader) need a fixed order.

    Args:
        model: a .tflite file with one subgraph and one signature.
        names: all output names of the signature, in the order wanted.
    """
    content = read(model)
    graph, signature = _only_subgraph(content), _signature(content)
    items = {_text(item.name): item for item in signature.outputs}
    if sorted(items) != sorted(names):
        raise ValueError(f"The outputs are {sorted(items)}, not {sorted(names)}.")
    wanted = [items[name].tensorIndex for name in names]
    if len(set(wanted)) < len(wanted):
        raise ValueError("Two outputs are one and the same tensor: give each a tensor of its own.")
    rest = [index for index in range(len(graph.tensors)) if index not in set(wanted)]
    order = rest + wanted
    moved = {old: new for new, old in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in order]
    for operator in graph.operators:
        operator.inputs = _renumbered(operator.inputs, moved)
        operator.outputs = _renumbered(operator.outputs, moved)
        operator.intermediates = _renumbered(operator.intermediates, moved)
    graph.inputs = _renumbered(graph.inputs, moved)
    graph.outputs = np.array([moved[index] for index in wanted], np.int32)
    for item in signature.inputs:
        item.tensorIndex = moved[item.tensorIndex]
    for name in names:
        items[name].tensorIndex = moved[items[name].tensorIndex]
        # The tensor's name is what some viewers and runtimes show for the output.
        graph.tensors[items[name].tensorIndex].name = _bytes(name)
    signature.outputs = [items[name] for name in names]
    return write(content)


def shorten_names(model: bytes) -> bytes:
    """Cuts tensor names to the part that tells the layer, such as "extra1_conv/convolution".

    The converter strings together the names of all operations that it fused into one.
    """
    content = read(model)
    graph = _only_subgraph(content)
    kept = {int(index) for index in (*graph.inputs, *graph.outputs)}
    seen: collections.Counter = collections.Counter()
    for index, tensor in enumerate(graph.tensors):
        if index in kept:
            continue
        name = "/".join(_text(tensor.name).split(";")[0].split("/")[-2:])
        seen[name] += 1
        tensor.name = _bytes(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return write(content)


def set_metadata(model: bytes, name: str, data: bytes) -> bytes:
    """Stores `data` as the metadata buffer called `name`, in place of one that is there."""
    content = read(model)
    content.metadata = content.metadata or []
    for entry in content.metadata:
        if _text(entry.name) == name:
            content.buffers[entry.buffer].data = np.frombuffer(data, np.uint8)
            return write(content)
    entry = schema.MetadataT()
    entry.name = _bytes(name)
    entry.buffer = len(content.buffers)
    content.buffers.append(_AlignedBuffer(np.frombuffer(data, np.uint8)))
    content.metadata.append(entry)
    return write(content)


def get_metadata(model: bytes, name: str) -> bytes | None:
    """The metadata buffer called `name`, or None."""
    content = read(model)
    for entry in content.metadata or []:
        if _text(entry.name) == name:
            return np.asarray(content.buffers[entry.buffer].data, np.uint8).tobytes()
    return None


def pack_files(model: bytes, files: dict[str, bytes]) -> bytes:
    """Appends files as an uncompressed zip, which unzip tools and device libraries read.

    This must be the last step: `write` knows nothing of what lies behind the flatbuffer.
    """
    stream = io.BytesIO()
    stream.write(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            # A fixed date keeps equal exports byte for byte equal.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return stream.getvalue()


def packed_files(model: bytes) -> dict[str, bytes]:
    """The files packed behind a model; empty if there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def operators(model: bytes) -> dict[str, int]:
    """How often each operator occurs, most frequent first; custom ones as "custom:NAME"."""
    content = read(model)
    names = [_operator_name(code) for code in content.operatorCodes]
    counts = collections.Counter(
        names[operator.opcodeIndex] for graph in content.subgraphs for operator in graph.operators
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _operator_name(code: schema.OperatorCodeT) -> str:
    # Files of before 2020 hold the code in the older one-byte field only.
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return f"custom:{_text(code.customCode)}"
    return _BUILTIN_NAMES.get(builtin, f"BUILTIN_{builtin}")


def constant_bytes(model: bytes) -> int:
    """Size of all constants of the model, in bytes."""
    content = read(model)
    return sum(len(buffer.data) for buffer in content.buffers if buffer.data is not None)


def _only_subgraph(model: schema.ModelT) -> schema.SubGraphT:
    if len(model.subgraphs) != 1:
        raise ValueError(
            f"The model has {len(model.subgraphs)} subgraphs, but device libraries take one."
        )
    return model.subgraphs[0]


def _signature(model: schema.ModelT) -> schema.SignatureDefT:
    if not model.signatureDefs:
        raise ValueError("The model has no signature, so its outputs have no names.")
    return model.signatureDefs[0]


def _check_same(name: str, output: schema.TensorT, expected: schema.TensorT):
    shapes = [[int(n) for n in tensor.shape] for tensor in (output, expected)]
    if shapes[0] != shapes[1] or output.type != expected.type:
        raise ValueError(
            f"'{name}' is {shapes[0]} of type {output.type} but {shapes[1]} of type "
            f"{expected.type} is expected."
        )


def _renumbered(indices, moved: dict[int, int]):
    if indices is None:
        return None
    return np.array([moved[int(index)] for index in indices], np.int32)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _bytes(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()
