"""SSD detectors of the TF Object Detection API, from the names and shapes of their tensors."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import keras
import numpy as np

from ssd_keras.backbones import inception_v2, mobiledet, mobilenet, mobilenet_v2, resnet50
from ssd_keras.box_networks import SSD, Extra, ListedAnchors, ScaleAnchors
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.resizing import CORNER
from ssd_keras.weights.api_facts import Facts as Facts
from ssd_keras.weights.imported import (
    Imported,
    Tensors,
    batch_norm_arrays,
    batch_norm_epsilons,
    check_plan,
    fill,
    folded_batch_norm_arrays,
    keep_classes,
)
from ssd_keras.weights.label_maps import class_list
from ssd_keras.weights.tensorflow_file import TensorFlowFile

# What the API's configurations of these models say, where a file does not.
DEFAULT_SIZE = 300
DEFAULT_EPSILON = 1e-3
# How far 8 bits may round the side of a default box.
ROUNDING = 5e-3
DEFAULT_SUPPRESSION = {"score_threshold": 1e-8, "iou_threshold": 0.6, "max_detections": 100}

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
_BACKBONE_SCOPE = r"^.*?(MobilenetV1|MobilenetV2|InceptionV2|MobileDet[A-Za-z]+)/(\1/)?"
_HEAD = re.compile(
    r"(BoxPredictor_|Convolutional(?:Box|Class)Head_)(?P<level>\d+)/"
    r"(?P<kind>BoxEncodingPredictor|ClassPredictor)(?P<depthwise>_depthwise)?"
)


@dataclasses.dataclass(frozen=True)
class Family:
    """A backbone of the API.

    Attributes:
        name: as in our model names.
        build: `(image_size, width, min_channels) -> keras.Model`.
        joins: the same with `finest_stride`, the maps that FPN joins; None if it is in no FPN.
        layer: our names of (layer, batch norm) for a scope below the backbone's, or None.
        last: the layer whose output channels tell the width, and their number at width 1.
        first: the first layer and its output channels at width 1.
    """

    name: str
    build: Callable[..., keras.Model]
    layer: Callable[[str], tuple[str, str] | None]
    last: tuple[str, int]
    first: tuple[str, int]
    joins: Callable[..., keras.Model] | None = None


def _mobilenet_layer(scope: str) -> tuple[str, str] | None:
    if scope in ("Conv2d_0", "conv1"):
        return "conv1", "conv1_bn"
    match = re.fullmatch(r"Conv2d_(\d+)_(depthwise|pointwise)", scope)
    if match:
        name = f"conv_{'dw' if match[2] == 'depthwise' else 'pw'}_{match[1]}"
        return name, f"{name}_bn"
    if re.fullmatch(r"conv_(dw|pw)_\d+", scope):
        return scope, f"{scope}_bn"
    return None


def _mobilenet_v2_layer(scope: str) -> tuple[str, str] | None:
    if scope in ("Conv", "Conv1"):
        return "Conv1", "bn_Conv1"
    if scope == "Conv_1":
        return "Conv_1", "Conv_1_bn"
    match = re.fullmatch(r"expanded_conv(?:_(\d+))?/(expand|depthwise|project)", scope)
    if match:
        block = f"block_{match[1]}" if match[1] else "expanded_conv"
        name = f"{block}_{match[2]}"
        return name, f"{name}_BN"
    if re.fullmatch(r"(block_\d+|expanded_conv)_(expand|depthwise|project)", scope):
        return scope, f"{scope}_BN"
    return None


def _inception_layer(scope: str) -> tuple[str, str] | None:
    if re.fullmatch(r"(Mixed_\w+/Branch_\d/)?Conv2d_\d[a-z]_\dx\d", scope):
        name = scope.replace("/", "_")
        return name, f"{name}_bn"
    return None


def _mobiledet_layer(scope: str) -> tuple[str, str] | None:
    block = r"(IBN|IBNNoExpansion|FusedConv|TuckerConv)(_\d+)?/"
    if re.fullmatch(rf"({block}(SqueezeExcite/)?)?(Conv(_[12])?|SeparableConv2d)", scope):
        name = scope.replace("/", "_")
        return name, f"{name}_bn"
    return None


def _mobiledet_family(target: str, name: str, last: tuple[str, int], first: int) -> Family:
    return Family(
        name,
        lambda size, width, least: mobiledet(size, width=width, target=target),
        _mobiledet_layer,
        last=last,
        first=("Conv", first),
    )


def _resnet_layer(scope: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(conv1|conv[2-5]_block\d_[0-3])(_conv)?", scope)
    return (f"{match[1]}_conv", f"{match[1]}_bn") if match else None


_FAMILIES = {
    "MobilenetV1": Family(
        "MobileNet",
        lambda size, width, least: mobilenet(size, width=width, min_channels=least),
        _mobilenet_layer,
        last=("conv_pw_13", 1024),
        first=("conv1", 32),
        joins=lambda size, width, least, **maps: mobilenet(
            size, width=width, min_channels=least, **maps
        ),
    ),
    "MobilenetV2": Family(
        "MobileNetV2",
        lambda size, width, least: mobilenet_v2(size, width=width),
        _mobilenet_v2_layer,
        last=("block_16_project", 320),
        first=("Conv1", 32),
        joins=lambda size, width, least, **maps: mobilenet_v2(
            size, width=width, stage_ends=True, **maps
        ),
    ),
    "InceptionV2": Family(
        "InceptionV2",
        lambda size, width, least: inception_v2(size, width=width),
        _inception_layer,
        last=("Mixed_5c_Branch_0_Conv2d_0a_1x1", 352),
        first=("Conv2d_1a_7x7", 64),
    ),
    "MobileDetCPU": _mobiledet_family("cpu", "MobileDetCPU", ("IBN_17_Conv_1", 144), 16),
    "MobileDetEdgeTPU": _mobiledet_family(
        "edgetpu", "MobileDetEdgeTPU", ("IBN_10_Conv_1", 384), 32
    ),
    "MobileDetDSP": _mobiledet_family("dsp", "MobileDetDSP", ("IBN_10_Conv_1", 240), 32),
    "ResNet50": Family(
        "ResNet50",
        lambda size, width, least: resnet50(size, width=width, version="api"),
        _resnet_layer,
        last=("conv5_block3_3_conv", 2048),
        first=("conv1_conv", 64),
        joins=lambda size, width, least, **maps: resnet50(size, width=width, version="api", **maps),
    ),
}


# Of families whose names do not say what they are, a layer that only they have.
_LAST_LAYERS = (
    ("MobilenetV1", "conv_pw_13"),
    ("MobilenetV2", "block_16_project"),
    ("ResNet50", "conv5_block3_3_conv"),
)


def import_tensors(
    file: TensorFlowFile,
    origin: str,
    facts: Facts,
    *,
    labels: dict[int, str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Imported:
    """Builds the detector that these tensors belong to and fills it.

    Width, extra levels, kernel sizes, depthwise parts and the number of classes are read from the
    tensors.

    Args:
        file: the tensors; TF1's names or those that Keras layers give.
        origin: what the file was, for messages.
        facts: what the file says beside.
        labels: class names by number; classes without a name are left out.
        image_size: (height, width), where the file does not say.

    Raises:
        UserError: this is no SSD of a known backbone, or a tensor has no place in it.
    """
    family = find_family(file, origin)
    parts, names, unused = _collect(file.variables, family)
    _fix_epsilons(parts, file, family)
    size = image_size or facts.image_size or (DEFAULT_SIZE, DEFAULT_SIZE)
    heads = _heads(parts, origin)
    numbers, classes, label_note = class_list(labels, heads.classes)
    anchors, anchor_note = _anchors(facts, size, heads.per_cell)
    detector = _detector(parts, family, origin, facts, size, heads, anchors, classes)
    _keep_classes(parts, heads.per_cell, numbers)
    epsilons = batch_norm_epsilons(detector)
    folded = tuple(name for name in epsilons if name in parts and "bias" in parts[name])
    weights = tensors_of(parts, names, epsilons)
    size_told = bool(facts.image_size or image_size)
    return Imported(
        detector=detector,
        origin=origin,
        mapped=fill(detector, weights),
        unused=tuple(sorted(unused)),
        notes=(label_note, anchor_note, *notes_on(detector, facts, size_told, len(folded))),
        suppression={**DEFAULT_SUPPRESSION, **(facts.suppression or {})},
        folded=folded,
    )


def _detector(
    parts: dict,
    family: Family,
    origin: str,
    facts: Facts,
    size: tuple[int, int],
    heads: _Heads,
    anchors: ScaleAnchors | ListedAnchors,
    classes: tuple[str, ...],
) -> Detector:
    """The detector of these shapes, whose weights are still random."""
    width = width_of(parts, family, origin)
    extras, separable = _extras(parts, origin)
    check_plan(
        origin,
        image_size=size,
        width=width,
        classes=heads.classes,
        per_cell=heads.per_cell,
        kernels=heads.kernels,
        extras=extras,
    )
    backbone = family.build(size, width, fewest_channels(parts, family))
    try:
        network = SSD(
            len(classes),
            anchors=anchors,
            extras=extras,
            extra_block="separable" if separable else "conv_bn",
            activation="relu6",
            head_kernels=heads.kernels,
            separable_heads=heads.separable,
            scores=facts.scores or "sigmoid",
            variances=facts.variances or (0.1, 0.1, 0.2, 0.2),
        )
        lite = "SSDLite" if heads.separable else "SSD"
        name = f"{lite}_{family.name}_{size[0]}"
        return Detector(backbone, network, classes, name=name, resize=CORNER)
    except ValueError as error:
        raise UserError(
            f"{origin}: no detector can be built of these tensors ({error})."
        ) from error


def _keep_classes(parts: dict, per_cell: tuple[int, ...], numbers: tuple[int, ...]):
    """Leaves only these classes in the heads."""
    for level, boxes in enumerate(per_cell):
        head = parts[f"level{level}_classes"]
        for part in ("kernel", "bias"):
            head[part] = keep_classes(head[part], boxes, numbers)


def notes_on(detector: Detector, facts: Facts, size_told: bool, folded: int) -> list[str]:
    """What was taken from the file and what was assumed."""
    height, width = detector.image_size
    network = detector.box_network
    notes = [
        told(f"image size {height}x{width}", size_told),
        "images are resized as the API does, sampled at the corners of pixels",
        told(f"{network.scores} scores", facts.scores),
        told("box coder " + ", ".join(f"{1 / v:g}" for v in network.variances), facts.variances),
    ]
    if folded:
        notes.append(f"{folded} batch norms were folded into their convolutions")
    return notes


def graph_facts(file: TensorFlowFile) -> Facts:
    """What a frozen graph or a SavedModel says of itself in its constants and operations."""
    constants = file.constants
    size = next(
        (
            tuple(int(side) for side in value)
            for name, value in constants.items()
            if re.search(r"Preprocessor/.*ResizeImage/(stack|size)$", name) and value.shape == (2,)
        ),
        None,
    )
    scales = [
        float(constants[name])
        for stem in ("div", "truediv", "RealDiv")
        for name in _decoder_scales(stem)
        if name in constants and constants[name].ndim == 0
    ]
    operation = file.operations.get("Postprocessor/convert_scores")
    suppression = {}
    for part, key in (("iou_threshold", "iou_threshold"), ("score_threshold", "score_threshold")):
        for name, value in constants.items():
            if re.search(rf"Postprocessor/.*non_max_suppression\w*/{part}$", name):
                suppression[key] = float(f"{float(value):.6g}")
    for name, value in constants.items():
        if re.search(r"MultiClassNonMaxSuppression/FilterGreaterThan\w*/Greater/y$", name):
            suppression["score_threshold"] = float(f"{float(value):.6g}")
    return Facts(
        image_size=size,
        anchors=_graph_anchors(constants),
        variances=tuple(1 / scale for scale in scales[:4]) if len(scales) >= 4 else None,
        scores={"Sigmoid": "sigmoid", "Softmax": "softmax"}.get(operation),
        suppression=suppression or None,
    )


def _decoder_scales(stem: str) -> list[str]:
    """The constants that divide ty, tx, th and tw when box codes are decoded."""
    return [f"Postprocessor/Decode/{stem}{i}/y" for i in ("", "_1", "_2", "_3")]


def _graph_anchors(constants: dict[str, np.ndarray]) -> ScaleAnchors | ListedAnchors | None:
    """The anchors of the API's MultipleGridAnchorGenerator, whose lists are in the graph.

    Of each level there is a list of ratios, whose square root is taken, and a list of scales that
    are divided by it; the operations are numbered level by level.
    """

    def lists(pattern):
        found = [
            (int(match[1] or 0), value)
            for name, value in constants.items()
            if (match := re.search(rf"MultipleGridAnchorGenerator/{pattern}(?:_(\d+))?/x$", name))
            and value.ndim == 1
        ]
        return [value for _, value in sorted(found, key=lambda pair: pair[0])]

    ratios, scales = lists("Sqrt"), lists("(?:true|Real)?[dD]iv")
    if not ratios or [len(r) for r in ratios] != [len(s) for s in scales]:
        return None
    sizes = tuple(
        tuple(
            (float(s / math.sqrt(r)), float(s * math.sqrt(r))) for s, r in zip(*pair, strict=True)
        )
        for pair in zip(scales, ratios, strict=True)
    )
    if len(scales) > 2 and len(scales[0]) == 3:
        ratio_list = tuple(round(float(ratio), 6) for ratio in ratios[1][:-1])
        rule = ScaleAnchors(
            min_scale=round(float(scales[0][1]), 6),
            max_scale=round(float(scales[-1][0]), 6),
            smallest=round(float(scales[0][0]), 6),
            ratios=ratio_list,
        )
        levels = rule.levels([(1, 1)] * len(sizes), (1, 1))
        ruled = [np.asarray(level.sizes) for level in levels]
        if all(
            a.shape == np.shape(b) and np.allclose(a, b, atol=1e-6)
            for a, b in zip(ruled, sizes, strict=True)
        ):
            return rule
    return ListedAnchors(sizes)


def find_family(file: TensorFlowFile, origin: str) -> Family:
    names = file.variables
    for key, family in _FAMILIES.items():
        if any(f"/{key}/" in f"/{name}" for name in names):
            return family
    tails = {name.rsplit("/", 2)[-2] for name in names if "/" in name}
    for key, layer in _LAST_LAYERS:
        if layer in tails:
            return _FAMILIES[key]
    known = ", ".join(family.name for family in _FAMILIES.values())
    raise UserError(
        f"{origin}: its tensors are not those of an SSD of the TF Object Detection API with one "
        f"of the backbones {known}."
    )


def _collect(variables: dict[str, np.ndarray], family: Family) -> tuple[dict, dict, list]:
    """Our layer -> part -> array, our layer -> names in the file, and the names without a place."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    names: dict[str, list[str]] = {}
    unused = []
    levels = _extra_levels(variables)
    for name, array in variables.items():
        scope, part, in_norm = scope_of(name)
        layer = _our_layer(scope, in_norm, family, levels)
        if part == "bias" and layer is not None and not re.fullmatch(_BIASED, layer):
            layer = _our_layer(scope, True, family, levels)
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


def _extra_levels(names) -> list[int]:
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


def _our_layer(scope: str, in_norm: bool, family: Family, levels: list[int]) -> str | None:
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
    found = family.layer(scope) or family.layer(scope.rpartition("/")[2])
    return found[in_norm] if found else None


def _fix_epsilons(parts: dict, file: TensorFlowFile, family: Family):
    """Notes beside each batch norm the epsilon that the graph gives it."""
    found = {
        re.sub(r"/FusedBatchNorm\w*$", "", name): epsilon for name, epsilon in file.epsilons.items()
    }
    for name, value in file.constants.items():
        if name.endswith("/BatchNorm/batchnorm/add/y"):
            found[name.removesuffix("/batchnorm/add/y")] = float(value)
    levels = _extra_levels(file.variables)
    for scope, epsilon in found.items():
        layer = _our_layer(scope.removesuffix("/BatchNorm"), True, family, levels)
        if layer in parts and 0 < epsilon < 1:
            parts[layer]["epsilon"] = epsilon


def width_of(parts: dict, family: Family, origin: str) -> float:
    name, full = family.last
    kernel = parts.get(name, {}).get("kernel")
    if kernel is None or kernel.ndim != 4:
        raise UserError(f"{origin}: the backbone has no layer '{name}' or not of this kind.")
    return kernel.shape[-1] / full


def fewest_channels(parts: dict, family: Family) -> int:
    """The fewest channels that a layer of the backbone has, which the API limits."""
    name, _ = family.first
    first = parts.get(name, {}).get("kernel")
    return int(first.shape[-1]) if first is not None else 8


def _extras(parts: dict, origin: str) -> tuple[list[Extra], bool]:
    extras, separable = [], []
    for index in range(1, 1 + sum(bool(re.fullmatch(r"extra\d+_conv", name)) for name in parts)):
        reduce, conv = (parts.get(f"extra{index}_{step}", {}) for step in ("reduce", "conv"))
        depthwise = parts.get(f"extra{index}_depthwise", {}).get("depthwise")
        if "kernel" not in reduce or "kernel" not in conv:
            raise UserError(
                f"{origin}: extra level {index} is not a 1x1 and a strided convolution."
            )
        kernel = conv["kernel"] if depthwise is None else depthwise
        extras.append(Extra(reduce["kernel"].shape[-1], conv["kernel"].shape[-1], kernel.shape[0]))
        separable.append(depthwise is not None)
    if len(set(separable)) > 1:
        raise UserError(f"{origin}: some extra levels are depthwise-separable and some are not.")
    return extras, any(separable)


@dataclasses.dataclass(frozen=True)
class _Heads:
    classes: int
    per_cell: tuple[int, ...]
    kernels: tuple[int, ...]
    separable: bool


def _heads(parts: dict, origin: str) -> _Heads:
    per_cell, kernels, separable, classes = [], [], set(), set()
    level = 0
    while f"level{level}_boxes" in parts:
        boxes, found = parts[f"level{level}_boxes"], parts.get(f"level{level}_classes", {})
        if not all("kernel" in head and "bias" in head for head in (boxes, found)):
            raise UserError(f"{origin}: level {level} lacks a part of its heads.")
        depthwise = parts.get(f"level{level}_boxes_depthwise", {}).get("depthwise")
        per_cell.append(len(boxes["bias"]) // 4)
        kernels.append((boxes["kernel"] if depthwise is None else depthwise).shape[0])
        separable.add(depthwise is not None)
        classes.add(len(found["bias"]) / max(1, per_cell[-1]) - 1)
        level += 1
    if not per_cell:
        raise UserError(
            f"{origin}: it has no box predictors of the kind 'BoxPredictor_0': it is no SSD."
        )
    if len(classes) > 1 or len(separable) > 1 or not min(classes).is_integer() or min(classes) < 1:
        raise UserError(f"{origin}: the heads of its levels differ in classes or kind.")
    return _Heads(int(classes.pop()), tuple(per_cell), tuple(kernels), separable.pop())


def _anchors(facts: Facts, size: tuple[int, int], per_cell: tuple[int, ...]):
    """A rule for the default boxes, and a sentence on where it comes from."""
    if facts.anchors is not None:
        return facts.anchors, "default boxes as in the file"
    if facts.anchor_table is not None:
        sizes, start = [], 0
        rows, columns = (math.ceil(side / 16) for side in size)
        for count in per_cell:
            sizes.append(tuple(map(tuple, facts.anchor_table[start : start + count, 2:].tolist())))
            start += rows * columns * count
            rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
        if start != len(facts.anchor_table):
            raise UserError(f"The file's {len(facts.anchor_table)} default boxes are not {start}.")
        rule = ScaleAnchors()
        ruled = [level.sizes for level in rule.levels([(1, 1)] * len(sizes), (1, 1))]
        same = [
            len(a) == len(b) and np.allclose(a, b, atol=ROUNDING)
            for a, b in zip(ruled, sizes, strict=True)
        ]
        if all(same):
            return rule, "default boxes of the API's configuration, which the file holds rounded"
        return ListedAnchors(tuple(sizes)), "default boxes as in the file"
    return ScaleAnchors(), "default boxes of the API's configuration; the file does not say"


def told(what: str, said) -> str:
    return what if said else f"{what}: assumed, the file does not say"


def tensors_of(parts: dict, names: dict, epsilons: dict[str, float]) -> dict[str, Tensors]:
    """What fills each of our layers: its arrays, and what they are called in the file."""
    return {
        name: Tensors(_arrays_of(name, arrays, epsilons), tuple(names[name]))
        for name, arrays in parts.items()
    }


def _arrays_of(name: str, parts: dict, epsilons: dict[str, float]) -> list[np.ndarray]:
    """The arrays of one of our layers in Keras' order."""
    try:
        if name in epsilons:
            if "bias" in parts:
                return folded_batch_norm_arrays(epsilons[name], parts["bias"])
            return batch_norm_arrays(
                epsilons[name],
                gamma=parts.get("gamma"),
                beta=parts["beta"],
                mean=parts["mean"],
                variance=parts["variance"],
                epsilon=parts.get("epsilon", DEFAULT_EPSILON),
            )
    except KeyError as error:
        raise UserError(f"The batch norm '{name}' lacks its {error.args[0]} in the file.") from None
    order = ("depthwise", "pointwise", "kernel", "bias")
    return [parts[part] for part in order if part in parts]
