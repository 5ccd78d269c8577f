"""Which of our layers a tensor of the TF Object Detection API belongs to, from its name."""

from __future__ import annotations

import re

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.weights.api_families import Family

# Of each kind of tensor its place among the arrays of our layer. Names as in TF1 and in Keras.
_PARTS = {
    "weights": "kernel",
    "kernel": "kernel",
    "depthwise_weights": "depthwise",
    "depthwise_kernel": "depthwise",
    "pointwise_weights": "pointwise",
    "pointwise_kernel": "pointwise",
    "biases": "bias",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
}
_EXTRA = re.compile(
    r"(?P<base>[A-Za-z0-9_]+?)_(?P<step>[12])_Conv2d_(?P<level>\d+)_\d+x\d+(_s2)?_\d+"
    r"(?P<depthwise>_depthwise)?"
)
# The only layers with a bias of their own; any other bias is what is left of a batch norm.
_BIASED = r"level\d+_(boxes|classes)|\w+(SqueezeExcite_Conv|squeeze_excite_conv)(_1)?"
_BACKBONE_SCOPE = r"^.*?(MobilenetV[123]|InceptionV2|MobileDet[A-Za-z]+)/(\1/)?"
_HEAD = re.compile(
    r"(BoxPredictor_|Convolutional(?:Box|Class)Head_)(?P<level>\d+)/"
    r"(?P<kind>BoxEncodingPredictor|ClassPredictor)(?P<depthwise>_depthwise)?"
)


def collect(variables: dict[str, np.ndarray], family: Family) -> tuple[dict, dict, list]:
    """Our layer -> part -> array, our layer -> names in the file, and the names without a place."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    names: dict[str, list[str]] = {}
    unused = []
    levels = extra_levels(variables)
    for name, array in variables.items():
        scope, part, in_norm = scope_of(name)
        layer = our_layer(scope, in_norm, family, levels)
        if part == "bias" and layer is not None and not re.fullmatch(_BIASED, layer):
            layer = our_layer(scope, True, family, levels)
        if layer is None or part is None:
            unused.append(name)
            continue
        parts.setdefault(layer, {})[part] = array
        names.setdefault(layer, []).append(name)
    matter = [name for name in unused if scope_of(name)[1] is not None]
    if matter:
        raise UserError(
            f"{len(matter)} tensors of the file have no place in an SSD, the first is "
            f"'{matter[0]}': this variant is not supported."
        )
    return parts, names, unused


def extra_levels(names) -> list[int]:
    """The numbers that the file gives to its extra levels."""
    return sorted({int(match["level"]) for name in names if (match := _EXTRA.search(name))})


def scope_of(name: str) -> tuple[str, str | None, bool]:
    """(layer's scope, part, whether it belongs to the layer's batch norm) of a tensor."""
    scope, _, tail = name.rpartition("/")
    part = _PARTS.get(tail)
    if scope.endswith("/BatchNorm"):
        return scope.removesuffix("/BatchNorm"), part, True
    for suffix in ("_batchnorm", "_bn", "_BN"):
        if scope.endswith(suffix):
            return scope.removesuffix(suffix), part, True
    if scope.rpartition("/")[2] == "bn_Conv1":
        return scope.replace("bn_Conv1", "Conv1"), part, True
    return scope, part, part in ("gamma", "beta", "mean", "variance")


def our_layer(scope: str, in_norm: bool, family: Family, levels: list[int]) -> str | None:
    """Our name of the layer, or of its batch norm, that a scope of the file is."""
    head = _HEAD.search(scope)
    if head and head.end() == len(scope):
        kind = "boxes" if head["kind"].startswith("Box") else "classes"
        name = f"level{head['level']}_{kind}{head['depthwise'] or ''}"
        return f"{name}_bn" if in_norm else name
    extra = _EXTRA.search(scope.removesuffix("_conv"))
    if extra and extra.end() == len(scope.removesuffix("_conv")):
        step = "reduce" if extra["step"] == "1" else "conv"
        name = f"extra{levels.index(int(extra['level'])) + 1}_{extra['depthwise'] or step}"
        name = name.replace("__", "_")
        return f"{name}_bn" if in_norm else name
    if "BoxPredictor" in scope:
        return None
    scope = re.sub(_BACKBONE_SCOPE, "", scope)
    found = family.find_layer(scope)
    return found[in_norm] if found else None
