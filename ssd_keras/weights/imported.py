"""What all importers end with: a detector whose every weight came from the file, and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from ssd_keras.box_networks import Extra
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights.keras_files import layers_with_weights


@dataclasses.dataclass(frozen=True)
class Imported:
    """A detector made from published weights.

    Attributes:
        detector: the detector, ready to use.
        origin: what the file was.
        mapped: name of each of our layers -> names of the tensors in the file it was filled from.
        unused: tensors of the file that a detector does not need.
        notes: what was read from the file or had to be assumed, a sentence each.
        suppression: the original's values of `Suppression`, which the detector has, too.
        folded: batch norms that had been folded into their convolutions.
    """

    detector: Detector
    origin: str
    mapped: dict[str, tuple[str, ...]]
    unused: tuple[str, ...]
    notes: tuple[str, ...]
    suppression: dict[str, float]
    folded: tuple[str, ...] = ()

    def report(self) -> str:
        """The report for the user, several lines."""
        tensors = sum(len(names) for names in self.mapped.values())
        lines = [
            f"{self.origin}: {tensors} tensors fill {len(self.mapped)} layers of "
            f"{self.detector.name}; {len(self.unused)} tensors are not needed.",
            *(f"  {note}" for note in self.notes),
        ]
        lines += [f"  not needed: {name}" for name in self.unused[:10]]
        if len(self.unused) > 10:
            lines.append(f"  not needed: {len(self.unused) - 10} more")
        return "\n".join(lines)


def common_class_count(origin: str, columns: Iterable[float]) -> int:
    """The number of classes that all heads predict.

    Args:
        origin: what the file is, for the error.
        columns: for each head its class outputs for a default box, the background's included.

    Raises:
        UserError: they differ, or this is no number of classes.
    """
    counts = {found - 1 for found in columns}
    if len(counts) > 1 or not min(counts).is_integer() or min(counts) < 1:
        raise UserError(f"{origin}: its heads do not agree in the number of classes.")
    return int(counts.pop())


@dataclasses.dataclass
class Tensors:
    """The weights of a layer of ours, and the names they have in the file."""

    arrays: list[np.ndarray]
    names: tuple[str, ...]


def check_plan(
    origin: str,
    *,
    image_size: Sequence[int],
    width: float,
    classes: int,
    per_cell: Sequence[int],
    kernels: Sequence[int],
    extras: Sequence[Extra] = (),
    channels: Sequence[int] = (),
    depths: Sequence[int] = (),
):
    """Refuses a detector that no one would publish, before memory is taken for it.

    Raises:
        UserError: a number read from the file is beyond all reason.
    """
    channels = [*channels] + [
        count for extra in extras for count in (extra.reduced, extra.channels)
    ]
    for what, values, low, high in (
        ("image sides", image_size, 32, 2048),
        ("a width", [width], 0.01, 4),
        ("classes", [classes], 1, 10_000),
        ("levels", [len(per_cell)], 1, 12),
        ("default boxes per cell", per_cell, 1, 64),
        ("kernel sizes", [*kernels, *(extra.kernel for extra in extras)], 1, 7),
        ("strides", [extra.stride for extra in extras], 1, 4),
        ("channels", channels, 1, 4096),
        ("convolutions before the last one", depths, 0, 32),
    ):
        if any(not low <= value <= high for value in values):
            raise UserError(
                f"{origin}: {what} of {list(values)} cannot be right; the file is damaged or of "
                "another kind."
            )


def fill(detector: Detector, weights: dict[str, Tensors]) -> dict[str, tuple[str, ...]]:
    """Gives every layer of a detector its weights.

    Returns:
        Layer -> names of its tensors in the file.

    Raises:
        UserError: a layer gets none, gets other shapes, or weights are left over that would have
            to go somewhere.
    """
    layers = layers_with_weights(detector)
    missing = [name for name in layers if name not in weights]
    if missing:
        raise UserError(
            f"The file has no weights for {len(missing)} of the {len(layers)} layers of "
            f"{detector.name}, the first is '{missing[0]}': this variant is not supported."
        )
    left = [name for name in weights if name not in layers]
    if left:
        names = ", ".join(weights[left[0]].names)
        raise UserError(
            f"{len(left)} layers of the file have no place in {detector.name}, the first is "
            f"'{names}': this variant is not supported."
        )
    for name, layer in layers.items():
        ours = [tuple(weight.shape) for weight in layer.weights]
        theirs = [tuple(array.shape) for array in weights[name].arrays]
        if ours != theirs:
            raise UserError(
                f"'{', '.join(weights[name].names)}' has shapes {theirs}, but '{name}' of "
                f"{detector.name} needs {ours}: this variant is not supported."
            )
        layer.set_weights(weights[name].arrays)
    return {name: weights[name].names for name in layers}


def batch_norm_arrays(
    layer_epsilon: float,
    *,
    gamma: np.ndarray | None,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> list[np.ndarray]:
    """Keras' arrays of a batch norm that was trained with another epsilon; exact in inference."""
    gamma = np.ones_like(beta) if gamma is None else gamma
    return [gamma, beta, mean, variance + np.float32(epsilon - layer_epsilon)]


def folded_batch_norm_arrays(layer_epsilon: float, bias: np.ndarray) -> list[np.ndarray]:
    """Keras' arrays of a batch norm that only adds a bias: what folding into a kernel leaves."""
    ones = np.ones_like(bias)
    return [ones, bias, np.zeros_like(bias), ones - np.float32(layer_epsilon)]


def keep_classes(array: np.ndarray, per_cell: int, numbers: Sequence[int]) -> np.ndarray:
    """A class head's kernel or bias with background and the classes of these numbers only."""
    kept = array.reshape(*array.shape[:-1], per_cell, -1)[..., [0, *numbers]]
    return np.ascontiguousarray(kept.reshape(*array.shape[:-1], -1))


def swap_codes(array: np.ndarray) -> np.ndarray:
    """A box head's kernel or bias whose codes are x, y, width, height, with y and height first."""
    codes = array.reshape(*array.shape[:-1], -1, 4)[..., [1, 0, 3, 2]]
    return codes.reshape(array.shape)


def batch_norm_epsilons(model: keras.Model) -> dict[str, float]:
    """The epsilon of each batch norm of a model, nested models opened, by name."""
    return {
        name: layer.epsilon
        for name, layer in layers_with_weights(model).items()
        if isinstance(layer, keras.layers.BatchNormalization)
    }
