"""SSD detectors of Caffe: our network is laid beside the one of the .prototxt, layer by layer."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import keras
import numpy as np

from ssd_keras.backbones import mobilenet, resnet101, vgg16
from ssd_keras.box_networks import DSSD, SSD, Extra, ListedAnchors
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights.caffe import BATCH_NORM_EPSILON, Layer, Network, statistics_of
from ssd_keras.weights.caffe_alignment import (
    CONVOLUTIONS,
    Alignment,
    Differs,
    Node,
    build_nodes,
    from_caffe,
    window_of,
)
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

# What caffe-ssd subtracts from red, green and blue, and what chuanqi305's MobileNet-SSD divides by.
MEANS = (123.0, 117.0, 104.0)
MOBILENET_SCALE = 0.007843
DEFAULT_SUPPRESSION = {"score_threshold": 0.01, "iou_threshold": 0.45, "max_detections": 200}

# Caffe codes boxes as x, y, width, height; we as y, x, height, width.
_CODE_ORDER = [1, 0, 3, 2]


def import_caffe(
    network: Network,
    blobs: dict[str, list[np.ndarray]],
    *,
    labels: dict[int, str] | None = None,
) -> Imported:
    """Builds the detector that a .prototxt describes and fills it from a .caffemodel.

    Our network and Caffe's are walked from the heads back to the image; every pair of layers must
    agree in kind, window, stride, padding and shapes, so that both compute the same.

    Args:
        network: see `caffe.read_network`.
        blobs: see `caffe.read_caffemodel`.
        labels: class names by number; classes without a name are left out.

    Raises:
        UserError: this is no SSD or DSSD with VGG16, MobileNet or ResNet-101, or it differs from
            what we can build.
    """
    _check_shapes(network, blobs)
    heads = _heads(network)
    classes = _class_count(heads)
    numbers, names, note = class_list(labels, classes)
    reasons = []
    for candidate in _candidates(network, heads):
        _check_candidate(candidate, network, classes)
        try:
            detector, pairs = _align(candidate, network, blobs, heads, classes, names)
        except (ValueError, Differs) as error:
            reasons.append(f"{candidate.name}: {error}")
            continue
        weights = _weights(pairs, blobs, detector, heads, numbers, candidate)
        mapped = fill(detector, weights)
        return Imported(
            detector=detector,
            origin="Caffe model",
            mapped=mapped,
            unused=_unused(mapped, blobs, network, candidate.name),
            notes=(note, "default boxes as in the .prototxt", candidate.note),
            suppression=_suppression(network),
            folded=tuple(our for our, pair in pairs.items() if pair.folded),
        )
    raise UserError(
        f"The network of the .prototxt is none that we can build. {'; '.join(reasons)[:400]}."
    )


def _check_candidate(candidate: _Candidate, network: Network, classes: int):
    """Refuses sizes out of proportion before anything is built."""
    plan = candidate.box_network.keywords
    check_plan(
        candidate.name,
        image_size=network.image_size,
        width=candidate.backbone.keywords["width"],
        classes=classes,
        per_cell=[len(level) for level in plan["anchors"].sizes],
        kernels=plan["head_kernels"],
        extras=plan["extras"],
    )


def _align(
    candidate: _Candidate,
    network: Network,
    blobs: dict,
    heads: _Heads,
    classes: int,
    names: tuple[str, ...],
) -> tuple[Detector, dict]:
    """The detector for the classes to keep, and its layers paired with Caffe's.

    Raises:
        ValueError: it cannot be built.
        Differs: it is another network than Caffe's.
    """
    backbone = candidate.backbone()
    detector = Detector(backbone, candidate.box_network(len(names)), names, name=candidate.name)
    trial = candidate.box_network(classes)
    flat = keras.Model(backbone.input, trial(backbone.output, network.image_size))
    return detector, Alignment(flat, blobs).of(heads.by_name(candidate.prefix))


def _unused(mapped: dict, blobs: dict, network: Network, model: str) -> tuple[str, ...]:
    """Layers of the .caffemodel that the .prototxt does not have; all others must be used."""
    used = {name for names in mapped.values() for name in names}
    unused = sorted(set(blobs) - used)
    in_network = [name for name in unused if name in network.layers]
    if in_network:
        raise UserError(
            f"{len(in_network)} layers of the .caffemodel have no place in {model}, "
            f"the first is '{in_network[0]}': this variant is not supported."
        )
    return tuple(unused)


# === Reading the network ===


def _check_shapes(network: Network, blobs: dict):
    """Both files must speak of the same convolutions, before anything is built of them."""
    for layer in network.layers.values():
        if layer.kind not in (*CONVOLUTIONS, "Deconvolution"):
            continue
        if layer.name not in blobs:
            raise UserError(f"The .caffemodel has no weights for '{layer.name}' of the .prototxt.")
        shape = blobs[layer.name][0].shape
        outputs = layer.parameter("convolution_param", "num_output", 0)
        kernel = window_of(layer).kernel
        told = (outputs, kernel, kernel)
        if layer.kind == "Deconvolution":
            shape = (*shape[1:2], *shape[:1], *shape[2:])
        if (*shape[:1], *shape[2:]) != told:
            raise UserError(
                f"'{layer.name}' has {told[0]} outputs and kernel {kernel} in the .prototxt, but "
                f"shape {list(shape)} in the .caffemodel: give the two files of one network."
            )


@dataclasses.dataclass(frozen=True)
class _Heads:
    """Per level, finest first: PriorBox layer, box and class convolution."""

    priors: tuple[Layer, ...]
    boxes: tuple[Node, ...]
    classes: tuple[Node, ...]
    sources: tuple[Node, ...]

    def by_name(self, prefix: str) -> dict[str, Node]:
        """Our names of the heads, with a box network's prefix, and Caffe's layers."""
        pairs = enumerate(zip(self.boxes, self.classes, strict=True))
        return {
            f"{prefix}{level}_{kind}": node
            for level, both in pairs
            for kind, node in zip(("boxes", "classes"), both, strict=True)
        }


def _heads(network: Network) -> _Heads:
    nodes = build_nodes(network)
    ends = network.of_kind("DetectionOutput") + network.of_kind("MultiBoxLoss")
    if not ends:
        raise UserError("The .prototxt has no DetectionOutput or MultiBoxLoss layer: it is no SSD.")
    inputs = nodes[ends[0].name].inputs
    if len(inputs) < 3:
        raise UserError(f"'{ends[0].name}' does not read boxes, classes and default boxes.")
    boxes, classes, priors = (_concat_inputs(node) for node in inputs[:3])
    convolutions = [[_before(node, CONVOLUTIONS) for node in side] for side in (boxes, classes)]
    priors = [_before(node, ("PriorBox",)) for node in priors]
    if not len(priors) == len(boxes) == len(classes):
        raise UserError("The levels of the .prototxt differ in number for boxes and classes.")
    return _Heads(
        tuple(node.layer for node in priors),
        *map(tuple, convolutions),
        tuple(node.inputs[0] for node in convolutions[0]),
    )


def _concat_inputs(node: Node) -> tuple[Node, ...]:
    while node.kind != "Concat":
        if len(node.inputs) != 1:
            return (node,)
        node = node.inputs[0]
    return node.inputs


def _before(node: Node, kinds: Sequence[str]) -> Node:
    while node.kind not in kinds:
        if node.kind not in ("Flatten", "Permute", "Reshape") or not node.inputs:
            raise UserError(f"'{node.layer.name}' ({node.kind}) is not where a head should be.")
        node = node.inputs[0]
    return node


def _class_count(heads: _Heads) -> int:
    counts = set()
    for boxes, classes in zip(heads.boxes, heads.classes, strict=True):
        per_cell = boxes.layer.parameter("convolution_param", "num_output", 0) // 4
        outputs = classes.layer.parameter("convolution_param", "num_output", 0)
        counts.add(outputs / max(1, per_cell) - 1)
    if len(counts) != 1 or not (count := counts.pop()).is_integer() or count < 1:
        raise UserError("The heads of the .prototxt do not agree in the number of classes.")
    return int(count)


def _anchors(network: Network, heads: _Heads) -> tuple[ListedAnchors, tuple[float, ...]]:
    """The default boxes of PriorBox layers, and the variances of their codes."""
    height, width = network.image_size
    sizes, steps, starts = [], [], []
    for prior, boxes in zip(heads.priors, heads.boxes, strict=True):
        count = boxes.layer.parameter("convolution_param", "num_output", 0) // 4

        def values(field, default=(), prior=prior):
            return prior.values("prior_box_param", field, default)

        if values("clip", [False])[0]:
            raise UserError(f"'{prior.name}' clips its default boxes, which is not supported.")
        ratios = []
        for ratio in values("aspect_ratio"):
            ratios += [ratio, 1 / ratio] if values("flip", [True])[0] else [ratio]
        level = []
        # caffe-ssd cuts sizes to whole pixels (prior_box_layer.cpp).
        for i, small in enumerate(map(int, values("min_size"))):
            level.append((small, small))
            if values("max_size"):
                middle = math.sqrt(small * int(values("max_size")[i]))
                level.append((middle, middle))
            level += [(small / math.sqrt(r), small * math.sqrt(r)) for r in ratios if r != 1]
        if len(level) != count:
            raise UserError(f"'{prior.name}' has {len(level)} default boxes, its heads {count}.")
        sizes.append(tuple((h / height, w / width) for h, w in level))
        steps.append(float(values("step", [0])[0]))
        starts.append(steps[-1] * float(values("offset", [0.5])[0]))
    variance = [float(v) for v in heads.priors[0].values("prior_box_param", "variance", [0.1])]
    variance = variance * 4 if len(variance) == 1 else [variance[i] for i in _CODE_ORDER]
    if not any(steps):
        return ListedAnchors(tuple(sizes)), tuple(variance)
    if 0.0 in steps:
        raise UserError("Some PriorBox layers give a step and some do not: not supported.")
    return ListedAnchors(tuple(sizes), tuple(steps), tuple(starts)), tuple(variance)


def _suppression(network: Network) -> dict[str, float]:
    found = dict(DEFAULT_SUPPRESSION)
    for layer in network.of_kind("DetectionOutput"):
        nms = layer.parameter("detection_output_param", "nms_param", {})
        for key, value in (
            ("iou_threshold", (nms.get("nms_threshold") or [None])[0]),
            ("max_per_class", (nms.get("top_k") or [None])[0]),
            ("max_detections", layer.parameter("detection_output_param", "keep_top_k")),
            ("score_threshold", layer.parameter("detection_output_param", "confidence_threshold")),
        ):
            if value is not None and value > 0:
                found[key] = value
    return found


# === What we would build for it ===


@dataclasses.dataclass(frozen=True)
class _Candidate:
    name: str
    backbone: functools.partial
    box_network: functools.partial
    prefix: str
    note: str
    first: str
    input_scale: float = 1.0
    swap_input: bool = False


def _candidates(network: Network, heads: _Heads) -> list[_Candidate]:
    anchors, variances = _anchors(network, heads)
    kernels = tuple(
        node.layer.parameter("convolution_param", "kernel_size", 1) for node in heads.boxes
    )
    common = {"anchors": anchors, "variances": variances, "head_kernels": kernels}
    layers = network.layers.values()
    first = next((layer for layer in layers if layer.kind in CONVOLUTIONS), None)
    if first is None:
        raise UserError("The .prototxt has no convolutions.")
    kinds = {layer.kind for layer in layers}
    grouped = any(layer.parameter("convolution_param", "group", 1) > 1 for layer in layers)
    if grouped or kinds & set(CONVOLUTIONS[1:]):
        return [_mobilenet_candidate(network, heads, common, first)]
    if "Eltwise" not in kinds:
        return [_vgg_candidate(network, heads, common, first)]
    return _resnet_candidates(network, heads, common, first)


def _mobilenet_candidate(network, heads, common, first) -> _Candidate:
    """chuanqi305's MobileNet-SSD."""
    size = network.image_size
    extras = [_plain_extra(source) for source in heads.sources[2:]]
    return _Candidate(
        f"SSD_MobileNet_{size[0]}",
        functools.partial(
            mobilenet, size, width=_width(first, 32), activation="relu", explicit_padding=True
        ),
        functools.partial(SSD, extras=extras, extra_block="conv_bn", activation="relu", **common),
        "level",
        f"BGR images as (x - 127.5) * {MOBILENET_SCALE}: kept in the first convolution",
        first.name,
        input_scale=MOBILENET_SCALE * 127.5,
        swap_input=True,
    )


def _vgg_candidate(network, heads, common, first) -> _Candidate:
    """caffe-ssd's SSD300 and SSD512."""
    size, means = network.image_size, _means(network)
    extras = [_plain_extra(source) for source in heads.sources[2:]]
    return _Candidate(
        f"SSD_VGG16_{size[0]}",
        functools.partial(vgg16, size, width=_width(first, 64), means=means),
        functools.partial(SSD, extras=extras, extra_block="conv", activation="relu", **common),
        "level",
        _means_note(means),
        first.name,
    )


def _width(first: Layer, channels: int) -> float:
    """The width of a backbone whose first convolution has so many channels at width 1."""
    return first.parameter("convolution_param", "num_output", 0) / channels


def _means_note(means: tuple[float, ...]) -> str:
    return "BGR images with the means {:g}, {:g}, {:g} subtracted".format(*means[::-1])


def _plain_extra(source: Node) -> Extra:
    """An extra level of a 1x1 and another convolution, each with whatever follows it."""
    shrink = _convolution_of(source)
    reduce = _convolution_of(shrink.inputs[0])
    window = window_of(shrink.layer)
    return Extra(
        reduce.layer.parameter("convolution_param", "num_output"),
        shrink.layer.parameter("convolution_param", "num_output"),
        window.kernel,
        window.stride,
        window.padding or "valid",
    )


def _convolution_of(node: Node) -> Node:
    while node.kind in ("ReLU", "Scale", "BatchNorm") and node.inputs:
        node = node.inputs[0]
    if node.kind not in CONVOLUTIONS or not node.inputs:
        raise UserError(f"'{node.layer.name}' ({node.kind}) is not where an extra level should be.")
    return node


def _resnet_candidates(network, heads, common, first) -> list[_Candidate]:
    """SSD and DSSD on ResNet-101, each with the prediction modules it may have."""
    size, means = network.image_size, _means(network)
    extras = [_residual_extra(node) for node in _residual_levels(network, len(heads.priors) - 2)]
    settings = {**common, "extras": extras, "extra_block": "residual", "activation": "relu"}
    box_network, prefix, kind = SSD, "level", "SSD"
    deconvolutions = network.of_kind("Deconvolution")
    if deconvolutions:
        box_network, prefix, kind = DSSD, "fused", "DSSD"
        operations = {
            str(layer.parameter("eltwise_param", "operation", "SUM"))
            for layer in network.of_kind("Eltwise")
        }
        settings["fusion"] = "product" if operations & {"PROD", "0"} else "sum"
        settings["decoder_channels"] = deconvolutions[0].parameter(
            "convolution_param", "num_output"
        )
    modules = {"a": {}}
    if _is_residual_block(heads.sources[0]):
        module = _residual_extra(heads.sources[0])
        modules = {"c": {"module_channels": (module.reduced, module.channels)}, "a": {}}
    return [
        _Candidate(
            f"{kind}_ResNet101_{size[0]}",
            functools.partial(resnet101, size, width=_width(first, 64), means=means),
            functools.partial(box_network, prediction_module=module, **settings, **options),
            prefix,
            f"{_means_note(means)}; prediction modules of kind '{module}'",
            first.name,
        )
        for module, options in modules.items()
    ]


def _residual_levels(network: Network, count: int) -> list[Node]:
    """The ends of the residual blocks that make the extra levels: those that shrink their map.

    The blocks of ResNet and of prediction modules begin with a 1x1 convolution instead.
    """
    nodes = build_nodes(network)
    blocks = [node for node in dict.fromkeys(nodes.values()) if _is_residual_block(node)]
    return [node for node in blocks if _residual_extra(node).kernel > 1][:count]


def _is_residual_block(end: Node) -> bool:
    try:
        _residual_extra(end)
    except UserError:
        return False
    return True


def _residual_extra(end: Node) -> Extra:
    """A bottleneck block as an extra level, from the ReLU that ends it."""
    if end.kind != "ReLU" or not end.inputs or end.inputs[0].kind != "Eltwise":
        raise UserError(f"'{end.layer.name}' ({end.kind}) does not end a residual block.")
    eltwise = end.inputs[0]
    for side in eltwise.inputs:
        chain = []
        node = side
        while len(chain) < 3 and node.kind in ("ReLU", "Scale", "BatchNorm", *CONVOLUTIONS):
            if node.kind in CONVOLUTIONS:
                chain.append(node.layer)
            if not node.inputs:
                break
            node = node.inputs[0]
        if len(chain) == 3 and window_of(chain[1]).kernel == 3 and window_of(chain[0]).kernel == 1:
            window = window_of(chain[2])
            return Extra(
                chain[2].parameter("convolution_param", "num_output"),
                chain[0].parameter("convolution_param", "num_output"),
                window.kernel,
                window.stride,
                window.padding or "valid",
            )
    raise UserError(f"'{eltwise.layer.name}' does not end a residual block.")


def _means(network: Network) -> tuple[float, ...]:
    """The means of red, green and blue: those of the data layer, or caffe-ssd's."""
    for layer in network.layers.values():
        values = layer.values("transform_param", "mean_value")
        if len(values) == 3:
            return tuple(float(value) for value in values[::-1])
    return MEANS


# === Weights ===


def _weights(pairs, blobs, detector, heads, numbers, candidate) -> dict[str, Tensors]:
    """Our layer -> its arrays, from the pairs of the alignment."""
    epsilons = batch_norm_epsilons(detector)
    folded = {pair.theirs for pair in pairs.values() if pair.folded}
    weights = {}
    for name, pair in pairs.items():
        node = pair.theirs
        arrays = blobs[node.layer.name]
        names = (node.layer.name,)
        if name in epsilons and pair.folded:
            filled = folded_batch_norm_arrays(epsilons[name], arrays[1])
        elif name in epsilons:
            norm = node.inputs[0]
            filled = _batch_norm(epsilons[name], norm, blobs[norm.layer.name], arrays)
            names = (norm.layer.name, node.layer.name)
        elif node.kind == "Normalize":
            filled = [arrays[0].reshape(-1)]
        else:
            filled = _convolution(node, arrays, node in folded, _has_bias(detector, name))
        weights[name] = Tensors([np.ascontiguousarray(array) for array in filled], names)
    _convert_input(weights, pairs, candidate)
    _convert_heads(weights, heads, numbers, candidate.prefix)
    return weights


def _convolution(node: Node, arrays: list, is_folded: bool, has_bias: bool) -> list[np.ndarray]:
    """Kernel and bias; the bias is 0 where it is left to a batch norm that was folded."""
    grouped = node.layer.parameter("convolution_param", "group", 1) > 1
    kernel = from_caffe(arrays[0], grouped or node.kind in CONVOLUTIONS[1:])
    if len(arrays) > 1 and not is_folded:
        return [kernel, arrays[1].reshape(-1)]
    return [kernel, np.zeros(arrays[0].shape[0], np.float32)] if has_bias else [kernel]


def _convert_input(weights: dict[str, Tensors], pairs: dict, candidate: _Candidate):
    """Gives the first convolution what our images do not have: Caffe's scale and order."""
    first = next(
        name
        for name, pair in pairs.items()
        if pair.theirs.layer.name == candidate.first and not pair.folded
    )
    if candidate.swap_input:
        kernel = weights[first].arrays[0]
        weights[first].arrays[0] = kernel[:, :, ::-1] * np.float32(candidate.input_scale)


def _convert_heads(weights: dict[str, Tensors], heads: _Heads, numbers: tuple, prefix: str):
    """Puts box codes in our order and leaves only the classes to keep."""
    for level, prior in enumerate(heads.boxes):
        per_cell = prior.layer.parameter("convolution_param", "num_output") // 4
        boxes = weights[f"{prefix}{level}_boxes"]
        boxes.arrays = [_reorder(array, per_cell) for array in boxes.arrays]
        classes = weights[f"{prefix}{level}_classes"]
        classes.arrays = [keep_classes(array, per_cell, numbers) for array in classes.arrays]


def _has_bias(detector: keras.Model, name: str) -> bool:
    for model in (detector, detector.backbone):
        if name in {layer.name for layer in model.layers}:
            return bool(getattr(model.get_layer(name), "use_bias", False))
    return False


def _batch_norm(epsilon: float, norm: Node, statistics: list, scale: list) -> list[np.ndarray]:
    mean, variance = statistics_of(statistics)
    return batch_norm_arrays(
        epsilon,
        gamma=scale[0].reshape(-1),
        beta=scale[1].reshape(-1) if len(scale) > 1 else np.zeros(scale[0].size, np.float32),
        mean=mean,
        variance=variance,
        epsilon=norm.layer.parameter("batch_norm_param", "eps", BATCH_NORM_EPSILON),
    )


def _reorder(array: np.ndarray, per_cell: int) -> np.ndarray:
    """Box codes x, y, width, height of the last axis in our order."""
    codes = array.reshape(*array.shape[:-1], per_cell, 4)[..., _CODE_ORDER]
    return np.ascontiguousarray(codes.reshape(array.shape))
