"""Which operators of a .tflite file a delegate takes, and how many parts the graph falls into."""

from __future__ import annotations

import collections
import csv
import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.deploy.terminal import hide_output
from ssd_keras.deploy.tflite_file import TFLiteFile

OPERATORS = Path(__file__).with_name("operators.csv")
XNNPACK = "XNNPACK"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published list of what a delegate takes; its operators are a column of `OPERATORS`.

    Attributes:
        column: of the table.
        source: where it was read, in November 2026. Of its conditions on shapes none is looked at.
        int8_only: it takes operators between 8-bit tensors alone.
        first_part_only: what comes behind the first operator that it leaves stays on the CPU.
    """

    column: str
    source: str
    int8_only: bool = False
    first_part_only: bool = False


_LITERT = "https://github.com/google-ai-edge/LiteRT/blob/main"
PUBLISHED = {
    "GPU": Published("gpu", f"{_LITERT}/tflite/tools/versioning/gpu_compatibility.cc"),
    "Qualcomm NPU": Published(
        "qualcomm", f"{_LITERT}/litert/vendors/qualcomm/compiler/Qualcomm_QNN_Compiler.md"
    ),
    "MediaTek NPU": Published(
        "mediatek", f"{_LITERT}/litert/vendors/mediatek/compiler/MediaTek_Neuro_Compiler.md"
    ),
    "Edge TPU": Published(
        "edgetpu",
        "https://coral.ai/docs/edgetpu/models-intro/#supported-operations",
        int8_only=True,
        first_part_only=True,
    ),
}
_EIGHT_BITS = (schema.TensorType.INT8, schema.TensorType.UINT8)


@dataclasses.dataclass(frozen=True)
class Placement:
    """What a delegate takes of a file.

    Attributes:
        delegate: `XNNPACK` or a name of `PUBLISHED`.
        taken: how many operators it takes.
        total: how many there are.
        partitions: how many parts of the graph these are.
        left: how often each operator is left to the CPU, most frequent first.
        breaks: of those the ones that stand between taken ones, as "OPERATOR layer".
    """

    delegate: str
    taken: int
    total: int
    partitions: int
    left: dict[str, int]
    breaks: tuple[str, ...]

    def __str__(self) -> str:
        parts = "1 part" if self.partitions == 1 else f"{self.partitions} parts"
        return f"{self.delegate} takes {self.taken} of {self.total} operators in {parts}"


def placements(content: bytes) -> list[Placement]:
    """What XNNPACK takes, asked from the runtime, and each of `PUBLISHED`, by its list."""
    return [placement_on(content, delegate) for delegate in (XNNPACK, *PUBLISHED)]


def placement_on(content: bytes, delegate: str) -> Placement:
    """What one delegate takes of a file: `XNNPACK` or a name of `PUBLISHED`."""
    return asked_of_xnnpack(content) if delegate == XNNPACK else by_list(content, delegate)


@functools.cache
def published_operators(column: str) -> frozenset[str]:
    """The operators of a column of the table."""
    with OPERATORS.open(newline="", encoding="utf-8") as file:
        return frozenset(row["operator"] for row in csv.DictReader(file) if row[column])


def by_list(content: bytes, name: str) -> Placement:
    """What a delegate takes of a file by its published list."""
    graph = _Graph(content)
    groups = graph.partitions(functools.partial(_is_on_list, graph, PUBLISHED[name]))
    if PUBLISHED[name].first_part_only:
        groups = groups[:1]
    return graph.placement(name, groups)


def _is_on_list(graph: _Graph, published: Published, operator: int) -> bool:
    if graph.names[operator] not in published_operators(published.column):
        return False
    return not published.int8_only or graph.is_eight_bits(operator)


def asked_of_xnnpack(content: bytes) -> Placement:
    """What XNNPACK, the runtime's own delegate for CPUs, took when the file was loaded."""
    graph = _Graph(content)
    with hide_output():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    parts = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    groups = [graph.find_between(part["inputs"], part["outputs"]) for part in parts]
    return graph.placement(XNNPACK, groups)


class _Graph:
    """The operators of a file by number, in the order in which they run."""

    def __init__(self, content: bytes):
        file = TFLiteFile(content)
        file.shorten_names()
        self._file = file
        self.names = [file.operator_name(operator) for operator in file.graph.operators]
        self._inputs = [
            [int(i) for i in operator.inputs if i >= 0] for operator in file.graph.operators
        ]
        self._outputs = [[int(i) for i in operator.outputs] for operator in file.graph.operators]
        self._maker = {
            tensor: operator for operator, tensors in enumerate(self._outputs) for tensor in tensors
        }

    def is_eight_bits(self, operator: int) -> bool:
        """Whether what it reads and writes, constants apart, is int8 or uint8."""
        tensors, buffers = self._file.graph.tensors, self._file.model.buffers
        read = [i for i in self._inputs[operator] if buffers[tensors[i].buffer].data is None]
        return all(tensors[i].type in _EIGHT_BITS for i in (*read, *self._outputs[operator]))

    def partitions(self, takes: Callable[[int], bool]) -> list[list[int]]:
        """The parts that a delegate gets: as the runtime makes them, each as large as can be."""
        waiting, done, groups = list(range(len(self.names))), set(), []
        while waiting:
            kind, group = None, []
            for operator in waiting:
                if not self._sources(operator) <= done:
                    continue
                kind = takes(operator) if kind is None else kind
                if takes(operator) == kind:
                    group.append(operator)
                    done.add(operator)
            waiting = [operator for operator in waiting if operator not in done]
            if kind:
                groups.append(group)
        return groups

    def find_between(self, inputs: Iterable[int], outputs: Iterable[int]) -> list[int]:
        """The operators that make `outputs` from `inputs`, both tensors."""
        known, found = {int(i) for i in inputs}, set()
        waiting = [int(i) for i in outputs]
        while waiting:
            tensor = waiting.pop()
            maker = self._maker.get(tensor)
            if tensor not in known and maker is not None and maker not in found:
                found.add(maker)
                waiting.extend(self._inputs[maker])
        return sorted(found)

    def placement(self, delegate: str, groups: list[list[int]]) -> Placement:
        """The summary of the parts that a delegate takes."""
        taken = set(np.concatenate(groups).astype(int).tolist()) if groups else set()
        left = [operator for operator in range(len(self.names)) if operator not in taken]
        counts = collections.Counter(self.names[operator] for operator in left)
        behind, before = self._behind(taken), self._before(taken)
        return Placement(
            delegate=delegate,
            taken=len(taken),
            total=len(self.names),
            partitions=len(groups),
            left=dict(counts.most_common()),
            breaks=tuple(self._describe(op) for op in left if op in behind and op in before),
        )

    def _sources(self, operator: int) -> set[int]:
        return {self._maker[i] for i in self._inputs[operator] if i in self._maker}

    def _behind(self, some: set[int]) -> set[int]:
        """The operators that need what `some` make."""
        found = set()
        for operator in range(len(self.names)):
            if self._sources(operator) & (some | found):
                found.add(operator)
        return found

    def _before(self, some: set[int]) -> set[int]:
        """The operators whose results `some` need."""
        found = set()
        for operator in reversed(range(len(self.names))):
            if operator in some or operator in found:
                found |= self._sources(operator)
        return found

    def _describe(self, operator: int) -> str:
        tensor = self._file.graph.tensors[self._outputs[operator][0]]
        return f"{self.names[operator]} {tensor.name.decode()}"
