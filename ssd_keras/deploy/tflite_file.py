"""A .tflite file as one object: taken apart once, edited, packed once."""

from __future__ import annotations

import collections
import io
import zipfile
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools.flatbuffer_utils import opcode_to_name

from ssd_keras.deploy import flatbuffer
from ssd_keras.errors import UserError, one_line

MAX_PACKED_BYTES = 64 << 20


class TFLiteFile:
    """The network of a .tflite file and the files that are packed behind it.

    Attributes:
        model: the tables of the flatbuffer, as in `ai_edge_litert.schema_py_generated`.
        files: what is packed behind it, such as labels: contents by name.

    Args:
        content: the bytes of a .tflite file.

    Raises:
        UserError: these bytes are not a .tflite file, or it is damaged.
    """

    def __init__(self, content: bytes):
        self.model = flatbuffer.read(content)
        self.files = packed_files(content)

    def to_bytes(self) -> bytes:
        """The whole file. Constants are aligned to 16 bytes; equal files give equal bytes."""
        stream = io.BytesIO(flatbuffer.write(self.model))
        stream.seek(0, io.SEEK_END)
        if self.files:
            # Uncompressed, because that is what device libraries read.
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name, data in self.files.items():
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
        return stream.getvalue()

    @property
    def graph(self) -> schema.SubGraphT:
        """The only subgraph.

        Raises:
            ValueError: there are several.
        """
        if len(self.model.subgraphs) != 1:
            raise ValueError(
                f"The model has {len(self.model.subgraphs)} subgraphs, but device libraries take "
                "one."
            )
        return self.model.subgraphs[0]

    @property
    def signature(self) -> schema.SignatureDefT:
        """The names of inputs and outputs.

        Raises:
            ValueError: there is none.
        """
        if not self.model.signatureDefs:
            raise ValueError("The model has no signature, so its outputs have no names.")
        return self.model.signatureDefs[0]

    def append(self, other: TFLiteFile, links: dict[str, str] | None = None):
        """Feeds the outputs into the inputs of another model; its outputs are the outputs then.

        Args:
            other: a model of one subgraph whose inputs are all outputs of this one. It becomes
                part of this one and is of no use afterwards.
            links: input name of `other` -> output name of this, both names of the signatures;
                equal names if not given.

        Raises:
            ValueError: an input of `other` has no partner, or shape or type differ.
        """
        moved = self._link_inputs(other, links or {})
        first_buffer, first_code = len(self.model.buffers), len(self.model.operatorCodes)
        self.model.buffers.extend(other.model.buffers)
        self.model.operatorCodes.extend(other.model.operatorCodes)
        for index, tensor in enumerate(other.graph.tensors):
            if index in moved:
                continue
            moved[index] = len(self.graph.tensors)
            # Buffer 0 is the shared empty one by convention of the format.
            tensor.buffer = tensor.buffer + first_buffer if tensor.buffer else 0
            tensor.name = b"post/" + tensor.name
            self.graph.tensors.append(tensor)
        for operator in other.graph.operators:
            operator.opcodeIndex += first_code
            _renumber(operator, moved)
            self.graph.operators.append(operator)
        self.graph.outputs = _renumber_indices(other.graph.outputs, moved)
        self.signature.outputs = other.signature.outputs
        for item in self.signature.outputs:
            item.tensorIndex = moved[item.tensorIndex]

    def _link_inputs(self, other: TFLiteFile, links: dict[str, str]) -> dict[int, int]:
        """The inputs of another model as tensors of this one."""
        outputs = {item.name.decode(): item.tensorIndex for item in self.signature.outputs}
        moved = {}
        for item in other.signature.inputs:
            name = item.name.decode()
            partner = links.get(name, name)
            if partner not in outputs:
                raise ValueError(
                    f"Input '{name}' has no partner among the outputs {sorted(outputs)}."
                )
            moved[item.tensorIndex] = outputs[partner]
            _check_same(
                name, self.graph.tensors[outputs[partner]], other.graph.tensors[item.tensorIndex]
            )
        return moved

    def dequantize_last(self):
        """Moves the operators that turn outputs into float behind all others.

        Compilers for accelerators (Coral's for one) cut a graph at the first operator that they
        cannot run, and the converter puts these in the middle, behind the layer of each output.
        """
        read_again = {int(index) for operator in self.graph.operators for index in operator.inputs}
        results = {int(index) for index in self.graph.outputs} - read_again
        # Sorting is stable: all others keep their order.
        self.graph.operators.sort(
            key=lambda operator: (
                self.operator_name(operator) == "DEQUANTIZE" and int(operator.outputs[0]) in results
            )
        )

    def order_outputs(self, names: Sequence[str]):
        """Puts the outputs in the order of `names`, with ascending tensor indices.

        The converter orders outputs by a hash of their names; programs that read outputs by
        position and tools that sort tensors by index (the MediaPipe loader) need a fixed order.

        Args:
            names: all output names of the signature, in the order wanted.

        Raises:
            ValueError: these are not the names, or two outputs are one tensor.
        """
        items = {item.name.decode(): item for item in self.signature.outputs}
        if sorted(items) != sorted(names):
            raise ValueError(f"The outputs are {sorted(items)}, not {sorted(names)}.")
        wanted = [items[name].tensorIndex for name in names]
        if len(set(wanted)) < len(wanted):
            raise ValueError(
                "Two outputs are one and the same tensor: give each a tensor of its own."
            )
        rest = [index for index in range(len(self.graph.tensors)) if index not in set(wanted)]
        self._reorder_tensors(rest + wanted)
        self.graph.outputs = np.array([items[name].tensorIndex for name in names], np.int32)
        self.signature.outputs = [items[name] for name in names]
        for name in names:
            # The tensor's name is what some viewers and runtimes show for the output.
            self.graph.tensors[items[name].tensorIndex].name = name.encode()

    def _reorder_tensors(self, order: list[int]):
        moved = {old: new for new, old in enumerate(order)}
        graph = self.graph
        graph.tensors = [graph.tensors[old] for old in order]
        for operator in graph.operators:
            _renumber(operator, moved)
        graph.inputs = _renumber_indices(graph.inputs, moved)
        for item in (*self.signature.inputs, *self.signature.outputs):
            item.tensorIndex = moved[item.tensorIndex]

    def shorten_names(self):
        """Cuts tensor names to the part that tells the layer, such as "extra1_conv/convolution".

        The converter strings together the names of all operations that it fused into one.
        """
        kept = {int(index) for index in (*self.graph.inputs, *self.graph.outputs)}
        seen: collections.Counter = collections.Counter()
        for index, tensor in enumerate(self.graph.tensors):
            if index in kept:
                continue
            name = "/".join(tensor.name.decode().split(";")[0].split("/")[-2:])
            seen[name] += 1
            tensor.name = (name if seen[name] == 1 else f"{name}:{seen[name]}").encode()

    def set_metadata(self, name: str, data: bytes):
        """Stores `data` as the metadata buffer called `name`, in place of one that is there."""
        buffer = self._metadata_buffer(name)
        if buffer is None:
            buffer = schema.BufferT()
            entry = schema.MetadataT(name.encode(), len(self.model.buffers))
            self.model.buffers.append(buffer)
            self.model.metadata = [*(self.model.metadata or []), entry]
        buffer.data = np.frombuffer(data, np.uint8)

    def get_metadata(self, name: str) -> bytes | None:
        """The metadata buffer called `name`, or None."""
        buffer = self._metadata_buffer(name)
        return None if buffer is None else np.asarray(buffer.data, np.uint8).tobytes()

    def _metadata_buffer(self, name: str) -> schema.BufferT | None:
        for entry in self.model.metadata or []:
            if entry.name == name.encode():
                return self.model.buffers[entry.buffer]
        return None

    def operator_name(self, operator: schema.OperatorT) -> str:
        """The name of an operator in the schema; "custom:NAME" of one outside the builtin set."""
        name = opcode_to_name(self.model, operator.opcodeIndex)
        code = self.model.operatorCodes[operator.opcodeIndex]
        return f"custom:{code.customCode.decode()}" if name == "CUSTOM" else name or "unknown"

    def operators(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        counts = collections.Counter(
            self.operator_name(operator)
            for graph in self.model.subgraphs
            for operator in graph.operators
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def constant_bytes(self) -> int:
        """Size of all constants, in bytes."""
        return sum(len(buffer.data) for buffer in self.model.buffers if buffer.data is not None)


def packed_files(content: bytes) -> dict[str, bytes]:
    """The files that are packed behind a model, by name; empty if there are none.

    Raises:
        UserError: they are damaged, or larger than any that belong there.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception:
        # Weights may look like the end of an archive.
        return {}
    try:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_PACKED_BYTES:
            raise ValueError(f"they have {size:,} bytes")
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except Exception as error:
        raise UserError(
            f"The files packed behind the .tflite file are damaged: {one_line(error)}."
        ) from error


def _check_same(name: str, output: schema.TensorT, expected: schema.TensorT):
    shapes = [[int(n) for n in tensor.shape] for tensor in (output, expected)]
    if shapes[0] != shapes[1] or output.type != expected.type:
        raise ValueError(
            f"'{name}' is {shapes[0]} of type {output.type} but {shapes[1]} of type "
            f"{expected.type} is expected."
        )


def _renumber(operator: schema.OperatorT, moved: dict[int, int]):
    operator.inputs = _renumber_indices(operator.inputs, moved)
    operator.outputs = _renumber_indices(operator.outputs, moved)
    operator.intermediates = _renumber_indices(operator.intermediates, moved)


def _renumber_indices(indices, moved: dict[int, int]):
    """Indices of tensors after a move; -1 stands for an input that is left out."""
    if indices is None:
        return None
    return np.array([moved[int(index)] if index >= 0 else -1 for index in indices], np.int32)
