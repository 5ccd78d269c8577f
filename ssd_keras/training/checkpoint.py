"""The state of a run at a step: all that is needed to go on as if nothing had happened."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import keras
import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.files import replace
from ssd_keras.keras_compat import sync_weights
from ssd_keras.reading import check_regular, exists, parse_json, reading
from ssd_keras.weights.files import check_finite

PROGRESS = "progress"
MAX_PROGRESS_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: training steps done.
        rate_factor: what roll-backs have multiplied the learning rate by.
        rollbacks: how many there were.
    """

    step: int = 0
    rate_factor: float = 1.0
    rollbacks: int = 0


def save_state(path: Path, detector: keras.Model, progress: Progress, with_means: bool = True):
    """Writes weights, optimizer and progress, whole or not at all.

    Args:
        path: the file.
        detector: the compiled detector.
        progress: how far the run is.
        with_means: also the running means of the losses, which an epoch's end does not need.

    Raises:
        UserError: the file cannot be written; the earlier one is unchanged.
    """
    sync_weights(detector)
    arrays = {
        key: keras.ops.convert_to_numpy(variable)
        for key, variable in _variables(detector, with_means).items()
    }
    arrays[PROGRESS] = np.array(json.dumps(dataclasses.asdict(progress)))

    def write(temporary: Path):
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)

    replace(path, write)


def read_progress(path: Path) -> Progress:
    """How far the run was when `path` was written; the beginning if there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not exists(path):
        return Progress()
    with _open(path) as archive:
        text = _read_array(archive, PROGRESS, limit=MAX_PROGRESS_BYTES)
        return _check(Progress(**parse_json(str(text).encode())))


def restore_state(path: Path, detector: keras.Model):
    """Gives the detector, its optimizer and its metrics the values of `path`.

    Nothing is changed unless everything fits.

    Raises:
        UserError: the file is damaged, of another model, or holds weights that are no numbers.
    """
    with _open(path) as archive:
        headers = {name: _read_header(archive, name) for name in _names(archive)}
        with_means = any(name.startswith("means") for name in headers)
        variables = _variables(detector, with_means)
        if headers != {name: _header_of(variable) for name, variable in variables.items()}:
            raise UserError(
                f"'{path}' is the state of another model or optimizer: give another --run_dir."
            )
        values = {name: _read_array(archive, name) for name in headers}
        for name, value in values.items():
            if name.startswith("model"):
                check_finite({variables[name].path: value})
    for name, variable in variables.items():
        variable.assign(values[name].view(keras.ops.convert_to_numpy(variable).dtype))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    advice = "Put back a good copy of it, or remove it to start the run anew."
    check_regular(path, "state of a run", advice)
    with reading(path, "the state of a run", advice), zipfile.ZipFile(path) as archive:
        yield archive


def _names(archive: zipfile.ZipFile) -> list[str]:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    return [name for name in names if name != PROGRESS]


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(_entry(archive, name)) as file:
        return _parse_header(file)


def _read_array(archive: zipfile.ZipFile, name: str, limit: int | None = None) -> np.ndarray:
    """An array whose size was looked at, or that has at most `limit` bytes."""
    with archive.open(_entry(archive, name)) as file:
        shape, dtype = _parse_header(file)
        size = math.prod(shape) * dtype.itemsize
        if limit is not None and size > limit:
            raise ValueError(f"'{name}' has {size:,} bytes")
        data = file.read(size)
        if len(data) != size or file.read(1):
            raise ValueError(f"'{name}' has another size than it says")
        return np.frombuffer(data, dtype).reshape(shape)


def _entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"'{name[:80]}' is compressed")
    return entry


def _parse_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of a later format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ValueError("an array is not stored as plain numbers")
    return shape, dtype


def _header_of(variable: keras.Variable) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype as a file has them: dtypes that NumPy does not know are bytes there."""
    value = keras.ops.convert_to_numpy(variable)
    return value.shape, np.dtype(np.lib.format.dtype_to_descr(value.dtype))


def _check(progress: Progress) -> Progress:
    counts = (progress.step, progress.rollbacks)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"it counts {counts} steps and roll-backs")
    factor = progress.rate_factor
    if type(factor) not in (int, float) or not 0 < factor <= 1:
        raise ValueError(f"its rate factor is {factor!r}")
    return progress


def _variables(detector: keras.Model, with_means: bool) -> dict[str, keras.Variable]:
    measures = {id(variable) for variable in detector.metrics_variables}
    groups = {
        "model": [variable for variable in detector.variables if id(variable) not in measures],
        "optimizer": detector.optimizer.variables,
        "means": detector.metrics_variables if with_means else [],
    }
    return {
        f"{group}{index}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }
