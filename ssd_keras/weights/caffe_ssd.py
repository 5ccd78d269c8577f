"""SSD detectors of Caffe: our network is laid beside the one of the .prototxt, layer by layer."""

from __future__ import annotations

import keras
import numpy as np

from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights.caffe import BATCH_NORM_EPSILON, Network, statistics_of
from ssd_keras.weights.caffe_alignment import (
    CONVOLUTIONS,
    Alignment,
    Differs,
    Node,
    from_caffe,
)
from ssd_keras.weights.caffe_candidates import Candidate, candidates_for
from ssd_keras.weights.caffe_heads import (
    Heads,
    check_shapes,
    class_count,
    read_heads,
    read_suppression,
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
    swap_codes,
)
from ssd_keras.weights.label_maps import class_list


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
    check_shapes(network, blobs)
    heads = read_heads(network)
    classes = class_count(heads)
    numbers, names, note = class_list(labels, classes)
    reasons = []
    for candidate in candidates_for(network, heads):
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
            unused=_find_unused(mapped, blobs, network, candidate.name),
            notes=(note, "default boxes as in the .prototxt", candidate.note),
            suppression=read_suppression(network),
            folded=tuple(our for our, pair in pairs.items() if pair.folded),
        )
    raise UserError(
        f"The network of the .prototxt is none that we can build. {'; '.join(reasons)[:400]}."
    )


def _check_candidate(candidate: Candidate, network: Network, classes: int):
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
    candidate: Candidate,
    network: Network,
    blobs: dict,
    heads: Heads,
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


def _find_unused(mapped: dict, blobs: dict, network: Network, model: str) -> tuple[str, ...]:
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


def _convert_input(weights: dict[str, Tensors], pairs: dict, candidate: Candidate):
    """Gives the first convolution what our images do not have: Caffe's scale and order."""
    first = next(
        name
        for name, pair in pairs.items()
        if pair.theirs.layer.name == candidate.first and not pair.folded
    )
    if candidate.swap_input:
        kernel = weights[first].arrays[0]
        weights[first].arrays[0] = kernel[:, :, ::-1] * np.float32(candidate.input_scale)


def _convert_heads(weights: dict[str, Tensors], heads: Heads, numbers: tuple, prefix: str):
    """Puts box codes in our order and leaves only the classes to keep."""
    for level, prior in enumerate(heads.boxes):
        per_cell = prior.layer.parameter("convolution_param", "num_output") // 4
        boxes = weights[f"{prefix}{level}_boxes"]
        boxes.arrays = [swap_codes(array) for array in boxes.arrays]
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
