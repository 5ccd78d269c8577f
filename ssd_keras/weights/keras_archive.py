"""Models in .keras archives, loaded without running anything and without taking undue memory.

An archive says which classes a model is made of, how large its layers are and where its weights
lie. Keras builds what it says; here it is looked at first.
"""

from __future__ import annotations

import collections
import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from ssd_keras.reading import AGAIN, MAX_JSON_BYTES, check_regular, parse_json, read_member, reading
from ssd_keras.weights.files import MAX_FILE_BYTES, check_finite
from ssd_keras.weights.hdf5 import open_self_contained
from ssd_keras.weights.kerashub_layers import is_kerashub_layer, names_kerashub

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_DEPTH = 100
MAX_LAYERS = 10_000
MAX_IMAGE_SIDE = 8192
# Values that a model may have beside its weights, such as the states of random generators.
SLACK = 1 << 20

# Layers of Keras that run code, or read files that their configuration names.
_REFUSED = (
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
)
# What a configuration writes in the place of a class for a value.
_VALUES = ("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__")
# What a model and its optimizer are made of.
_KINDS = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "random",
    "regularizers",
)
# Layers that networks of keras.applications have of their own, each of them arithmetic alone.
_OF_APPLICATIONS = {
    "keras.src.applications.convnext": ("LayerScale", "StochasticDepth"),
    "keras.src.applications.inception_resnet_v2": ("CustomScaleLayer",),
}
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "regularizers")


def load_archive(path: str | Path, advice: str = AGAIN) -> keras.Model:
    """Loads a model of Keras' own layers and of registered classes.

    Args:
        path: a `.keras` file.
        advice: what to do if it is no good.

    Raises:
        UserError: the file is missing, damaged, names code to be run or classes that are not
            registered, or holds weights that are no numbers.
    """
    path = Path(path)
    with _open(path, advice) as archive:
        config = _config(archive)
        _check_config(config)
        count = _count_weights(archive)
        with weights_up_to(count):
            model = keras.saving.load_model(path, safe_mode=True)
        _check_finite(model)
        return model


def read_config(path: str | Path, advice: str = AGAIN) -> dict:
    """The configuration of the model in a `.keras` file; `load_archive` says what is refused."""
    with _open(Path(path), advice) as archive:
        config = _config(archive)
        _check_config(config)
        return config


def count_weights(path: str | Path) -> int:
    """How many values the weights in a `.keras` file have; raises UserError as `load_archive`."""
    with _open(Path(path), AGAIN) as archive:
        return _count_weights(archive)


def read_weights(path: str | Path) -> bytes:
    """The `.weights.h5` file inside a `.keras` file.

    Raises:
        ValueError, KeyError, zipfile.BadZipFile: it is damaged or out of proportion.
    """
    with zipfile.ZipFile(path) as archive:
        return read_member(archive, WEIGHTS, MAX_FILE_BYTES)


@contextlib.contextmanager
def _open(path: Path, advice: str) -> Iterator[zipfile.ZipFile]:
    check_regular(path, "file", advice)
    with reading(path, "a .keras file", advice), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            # Keras unpacks what else there is.
            if name not in (CONFIG, METADATA, WEIGHTS):
                raise ValueError(f"it holds '{name[:80]}', which no detector has")
        yield archive


def _config(archive: zipfile.ZipFile) -> dict:
    config = parse_json(read_member(archive, CONFIG, MAX_JSON_BYTES))
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ValueError(f"its {CONFIG} describes no model")
    return config


# === What a configuration may say ===


def _check_config(config: dict):
    """Refuses what would run code, read files or never come to an end.

    Raises:
        ValueError: says what.
    """
    pending: list = [(config, 0)]
    while pending:
        part, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError("its configuration is nested too deep")
        if isinstance(part, dict):
            if "class_name" in part:
                _check_class(part)
            if isinstance(part.get("layers"), list):
                _check_graph(part["layers"])
            pending += [(value, depth + 1) for value in part.values()]
        elif isinstance(part, list):
            pending += [(value, depth + 1) for value in part]


def _check_class(part: dict):
    name, module, registered = (part.get(k) for k in ("class_name", "module", "registered_name"))
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise ValueError("a class is named by something that is no text")
    if name == "InputLayer":
        _check_input(part)
    if name == "function":
        name = part.get("config")
        known = _is_function(name)
    elif names_kerashub(module, registered):
        known = is_kerashub_layer(module, name, registered)
        registered = name = f"{module}.{name}"
    else:
        known = name in _VALUES or name in _OF_APPLICATIONS.get(module, ())
        known = known or (_is_of_keras(module or "keras") and not _is_refused(name))
    registered_classes = keras.saving.get_custom_objects()
    if not known and not {str(registered or name), str(name)} & registered_classes.keys():
        raise ValueError(
            f"it needs '{module}.{str(name)[:80]}', which is neither a layer of Keras nor "
            "registered by keras.saving.register_keras_serializable"
        )


def _is_refused(name: str) -> bool:
    return name in _REFUSED or name.startswith("__")


def _is_function(name) -> bool:
    return isinstance(name, str) and any(hasattr(getattr(keras, k), name) for k in _FUNCTIONS)


def _is_of_keras(module: str) -> bool:
    parts = module.removeprefix("keras.src.").removeprefix("keras.").split(".")
    return module == "keras" or (module.startswith("keras.") and parts[0] in _KINDS)


def _check_input(part: dict):
    inner = part.get("config")
    shape = inner.get("batch_shape") if isinstance(inner, dict) else None
    for side in shape if isinstance(shape, list) else ():
        if side is not None and not (isinstance(side, int) and 0 < side <= MAX_IMAGE_SIDE):
            raise ValueError(f"its images have a side of {str(side)[:30]}")


def _check_graph(layers: list):
    """Refuses a graph whose layers wait for each other: Keras before 3.13 waits with them."""
    if len(layers) > MAX_LAYERS:
        raise ValueError(f"it has {len(layers)} layers")
    done, waiting = collections.Counter(), {}
    for layer in layers:
        nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        if not isinstance(nodes, list):
            return  # a Sequential, which has no graph
        waiting[str(layer.get("name"))] = [_inputs(node) for node in nodes] or [set()]
    while waiting:
        before = sum(done.values())
        for name in list(waiting):
            while waiting[name] and _is_ready(waiting[name][0], done):
                done[name] += 1
                waiting[name].pop(0)
            if not waiting[name]:
                del waiting[name]
        if waiting and sum(done.values()) == before:
            raise ValueError(f"'{next(iter(waiting))[:80]}' waits for layers that do not come")


def _is_ready(inputs: set[tuple[str, int]], done: collections.Counter) -> bool:
    return all(index < done[name] for name, index in inputs)


def _inputs(node) -> set[tuple[str, int]]:
    """(layer, number of its call) of each tensor that a call of a layer takes."""
    found, pending = set(), [node]
    while pending:
        part = pending.pop()
        if isinstance(part, dict) and part.get("class_name") == "__keras_tensor__":
            name, index, _ = part["config"]["keras_history"]
            found.add((str(name), int(index)))
        elif isinstance(part, (dict, list)):
            pending += part.values() if isinstance(part, dict) else part
    return found


# === What its weights may be ===


def _count_weights(archive: zipfile.ZipFile) -> int:
    data = read_member(archive, WEIGHTS, MAX_FILE_BYTES)
    with open_self_contained(io.BytesIO(data), len(data)) as file:
        sizes: list[int] = []
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
        return sum(sizes)


@contextlib.contextmanager
def weights_up_to(count: int) -> Iterator[None]:
    """While it is open, layers may have hardly more than so many values among them.

    A configuration of a few bytes can ask for a layer of a terabyte.
    """
    left = count + SLACK
    original = keras.Layer.add_weight

    def count_and_add(layer, shape=None, *args, **options):
        nonlocal left
        left -= math.prod(shape or ())
        if left < 0:
            raise ValueError(f"'{layer.name}' is larger than all weights of the file")
        return original(layer, shape, *args, **options)

    keras.Layer.add_weight = count_and_add
    try:
        yield
    finally:
        keras.Layer.add_weight = original


def _check_finite(model: keras.Model):
    check_finite({v.path: np.asarray(keras.ops.convert_to_numpy(v)) for v in model.variables})
