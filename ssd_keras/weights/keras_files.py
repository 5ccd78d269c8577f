"""Keras weight files of every generation, read by layer name."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.reading import check_regular, reading
from ssd_keras.traversal import leaf_layers
from ssd_keras.weights.files import check_finite
from ssd_keras.weights.hdf5 import open_self_contained
from ssd_keras.weights.keras_archive import read_weights


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of the layers when weights were loaded by name.

    Attributes:
        loaded: layers that took their weights from the file.
        missing: layers with weights of which the file has none.
        mismatched: layers whose shapes differ, name -> (shapes in the model, shapes in the file).
        unused: layers of the file that the model does not have.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: dict[str, tuple[list, list]]
    unused: tuple[str, ...]


def read_keras_file(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads layer name -> arrays from `.weights.h5`, legacy `.h5` or `.keras`.

    Args:
        path: the file. Only arrays are read from it; nothing in it is executed.

    Returns:
        The arrays of each layer that has any, in Keras' order.

    Raises:
        UserError: the file is missing, is none of these formats, or names no layers.
    """
    path = Path(path)
    check_regular(path, "weights file")
    with reading(path, ".weights.h5, .h5 or .keras as Keras writes them"):
        data = read_weights(path) if zipfile.is_zipfile(path) else None
        content = path if data is None else io.BytesIO(data)
        with open_self_contained(
            content, path.stat().st_size if data is None else len(data)
        ) as file:
            arrays = _read_legacy(file) if _legacy_root(file) else _read_named(file)
        check_finite({name: array for name, found in arrays.items() for array in found})
    if not arrays:
        raise UserError(
            f"Weights file '{path}' holds no layers with names: save it again with Keras 3.6 or "
            "later (model.save_weights)."
        )
    return arrays


def _legacy_root(file: h5py.File):
    if "layer_names" in file.attrs:
        return file
    root = file.get("model_weights")
    return root if root is not None and "layer_names" in root.attrs else None


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_legacy(file: h5py.File) -> dict[str, list[np.ndarray]]:
    root = _legacy_root(file)
    arrays: dict[str, list[np.ndarray]] = {}
    for layer in map(_text, root.attrs["layer_names"]):
        names = [_text(name) for name in root[layer].attrs["weight_names"]]
        owners = {_owner(name) for name in names}
        # The weights of a model inside the model stand together, named by its layers.
        is_model = len(owners) > 1 and _last(layer) not in owners
        for name in names:
            owner = _owner(name) if is_model else layer
            arrays.setdefault(owner, []).append(root[layer][name][()])
    return arrays


def _owner(weight: str) -> str:
    """The layer of a weight such as "stem/stem_conv/kernel:0"; "" where its name does not say."""
    return _last(weight.rpartition("/")[0])


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _read_named(file: h5py.File) -> dict[str, list[np.ndarray]]:
    arrays = {}

    def visit(path: str, group):
        is_layer = isinstance(group, h5py.Group) and path.rsplit("/", 1)[-1] == "vars"
        if is_layer and "name" in group.attrs and len(group) and not path.startswith("optimizer"):
            arrays[_text(group.attrs["name"])] = [group[key][()] for key in sorted(group, key=int)]

    file.visititems(visit)
    return arrays


def layers_with_weights(model: keras.Model) -> dict[str, keras.Layer]:
    """All layers of a model that own weights, nested models opened, by name."""
    return {layer.name: layer for layer in leaf_layers(model) if layer.weights}


def load_by_name(model: keras.Model, arrays: dict[str, list[np.ndarray]]) -> LoadReport:
    """Gives each layer the arrays of its own name; layers whose shapes differ stay as they are."""
    loaded, missing, mismatched = [], [], {}
    layers = layers_with_weights(model)
    for name, layer in layers.items():
        if name not in arrays:
            missing.append(name)
            continue
        ours = [tuple(weight.shape) for weight in layer.weights]
        theirs = [tuple(np.shape(array)) for array in arrays[name]]
        if ours != theirs:
            mismatched[name] = (ours, theirs)
            continue
        layer.set_weights(arrays[name])
        loaded.append(name)
    unused = tuple(name for name in arrays if name not in layers)
    return LoadReport(tuple(loaded), tuple(missing), mismatched, unused)
