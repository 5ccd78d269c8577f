"""The state of a run at a step: all that is needed to go on as if nothing had happened."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.files import replace

PROGRESS = "progress"


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
    if hasattr(detector, "jax_state_sync"):
        detector.jax_state_sync()
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
    """How far the run was when `path` was written; the beginning if there is no such file."""
    if not path.is_file():
        return Progress()
    with _opened(path) as stored:
        return Progress(**json.loads(str(stored[PROGRESS])))


def restore_state(path: Path, detector: keras.Model):
    """Gives the detector, its optimizer and its metrics the values of `path`.

    Raises:
        UserError: the file is damaged or of another model.
    """
    with _opened(path) as stored:
        with_means = any(key.startswith("means") for key in stored.files)
        variables = _variables(detector, with_means)
        shapes = {key: tuple(variable.shape) for key, variable in variables.items()}
        found = {key: stored[key].shape for key in stored.files if key != PROGRESS}
        if found != shapes:
            raise UserError(
                f"'{path}' is the state of another model or optimizer: give another --run_dir."
            )
        for key, variable in variables.items():
            variable.assign(stored[key])


@contextlib.contextmanager
def _opened(path: Path):
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except UserError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"'{path}' is damaged ({' '.join(str(error).split())[:150]}): remove it to start the "
            "run anew."
        ) from error


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
