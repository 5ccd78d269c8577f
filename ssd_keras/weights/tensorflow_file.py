"""What a file of TensorFlow holds, and where a checkpoint lies, without TensorFlow itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class TensorFlowFile:
    """What a file of TensorFlow holds.

    Attributes:
        variables: name -> weights. In a frozen graph these are constants as well.
        constants: name -> every other numeric constant of the graph.
        operations: name -> type of each operation of the graph; empty for checkpoints.
        epsilons: name of a fused batch norm -> its epsilon.
        inputs: name of an input of the graph -> its shape, where that is known.
        post_processing: numbers of the operation in which graphs made for TFLite end.
    """

    variables: dict[str, np.ndarray]
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    operations: dict[str, str] = dataclasses.field(default_factory=dict)
    epsilons: dict[str, float] = dataclasses.field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    post_processing: dict[str, float] = dataclasses.field(default_factory=dict)


def is_checkpoint(path: str | Path) -> bool:
    """Whether this is a checkpoint: its index, its prefix, or a folder with one."""
    return checkpoint_prefix(Path(path)) is not None


def checkpoint_prefix(path: Path) -> Path | None:
    """The path without suffix that TensorFlow asks for, or None if there is no checkpoint."""
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    if path.with_name(path.name + ".index").is_file():
        return path
    if path.is_dir():
        indices = sorted(path.glob("*.index"), key=lambda index: index.stat().st_mtime)
        return indices[-1].with_suffix("") if indices else None
    return None
