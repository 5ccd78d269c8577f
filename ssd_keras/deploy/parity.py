"""How near an exported form comes to the detector it was made from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ssd_keras.boxes.numpy_boxes import pairwise_iou
from ssd_keras.deploy.decoding import Decoding
from ssd_keras.deploy.placement import published_operators
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.detections import Detections

MATCH_IOU = 0.5


@dataclasses.dataclass(frozen=True)
class Parity:
    """Differences between what two forms of one detector found in the same images.

    Attributes:
        matched: share of the wanted detections that were found: same class, IoU of at least 0.5.
            nan if nothing was wanted.
        extra: detections found beyond these, per wanted detection. nan if nothing was wanted.
        box_p95, box_max: difference of box edges in pixels, 95th percentile and largest. nan if
            nothing was matched.
        score_mean, score_max: difference of scores. nan if nothing was matched.
    """

    matched: float = math.nan
    extra: float = math.nan
    box_p95: float = math.nan
    box_max: float = math.nan
    score_mean: float = math.nan
    score_max: float = math.nan


def compare(
    wanted: Sequence[Detections],
    found: Sequence[Detections],
    sizes: Sequence[tuple[int, int]],
    *,
    min_score: float = 0.1,
) -> Parity:
    """Matches detections image by image, best first, each at most once.

    Args:
        wanted: what the detector itself found.
        found: what the other form found in the same images.
        sizes: (height, width) of each image in pixels.
        min_score: weaker wanted detections are not looked at. Of the other form all are, so that a
            score that falls a little below is a difference in score and not a lost detection.
    """
    edges, scores, total, others = [], [], 0, 0
    for ours, theirs, size in zip(wanted, found, sizes, strict=True):
        ours = ours.above(min_score)
        pairs = _pairs(ours, theirs)
        total += len(ours)
        others += len(theirs.above(min_score))
        scale = np.tile(np.asarray(size, np.float64), 2)
        for i, j in pairs:
            edges.append(np.abs((ours.boxes[i] - theirs.boxes[j]) * scale).max())
            scores.append(abs(float(ours.scores[i]) - float(theirs.scores[j])))
    if not total:
        return Parity()
    matched, extra = len(scores) / total, max(0, others - len(scores)) / total
    if not scores:
        return Parity(matched, extra)
    return Parity(
        matched,
        extra,
        box_p95=float(np.percentile(edges, 95)),
        box_max=float(np.max(edges)),
        score_mean=float(np.mean(scores)),
        score_max=float(np.max(scores)),
    )


def _pairs(ours: Detections, theirs: Detections) -> list[tuple[int, int]]:
    free = np.ones(len(theirs), bool)
    pairs = []
    for i, box in enumerate(ours.boxes):
        overlap = np.where(free & (theirs.labels == ours.labels[i]), _iou(box, theirs.boxes), 0.0)
        if len(overlap) and overlap.max() >= MATCH_IOU:
            j = int(overlap.argmax())
            free[j] = False
            pairs.append((i, j))
    return pairs


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap of one box `[4]` with boxes `[N, 4]`; identical empty boxes give 1."""
    same = np.all(np.abs(boxes - box) < 1e-6, axis=1)
    return np.where(same, 1.0, pairwise_iou(box, boxes)[0])


@dataclasses.dataclass(frozen=True)
class Operators:
    """What a .tflite file needs of the runtime.

    Attributes:
        counts: how often each operator occurs.
        custom: operators outside the builtin set.
        not_on_gpu: builtin operators that the GPU delegate does not run.
    """

    counts: dict[str, int]
    custom: tuple[str, ...]
    not_on_gpu: tuple[str, ...]


def operators(model: bytes) -> Operators:
    """The operators of a .tflite file, read from the file itself.

    `Analyzer.analyze(gpu_compatibility=True)` is no help: its list of misfits is never filled.
    """
    counts = TFLiteFile(model).operators()
    custom = tuple(sorted(n for n in counts if n.startswith("custom:") or n.startswith("Flex")))
    return Operators(
        counts=counts,
        custom=custom,
        not_on_gpu=tuple(sorted(set(counts) - set(custom) - published_operators("gpu"))),
    )


def network(content: bytes) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A .tflite file with one input as a function: an image `[1, H, W, 3]` -> outputs by name."""
    serve = Interpreter(model_content=content).get_signature_runner()
    ((name, details),) = serve.get_input_details().items()
    return lambda image: serve(**{name: image.astype(details["dtype"])})


def score_change(
    network: Callable,
    detector: keras.Model,
    decoding: Decoding,
    images: Sequence[np.ndarray],
    *,
    min_score: float = 0.3,
) -> float:
    """By how much another form of the raw network changes the scores of objects, on average.

    Args:
        network: an image -> raw outputs by name.
        detector: what it was made from.
        decoding: how raw outputs become scores.
        images: `[1, H, W, 3]` of the network's size, RGB 0..255.
        min_score: what both score lower is no object; of a detector whose best scores are usually
            less than twice as high, half of these. Else only images on which it explodes counted.

    Returns:
        Mean difference over the scores of default boxes that are objects, then over the images
        that have any: an image on which the network explodes is full of them. 0 if none has.
    """
    changes = []
    expected = [np.asarray(decoding.scores(dict(detector(i, training=False)))) for i in images]
    usual = np.median([wanted.max(initial=0.0) for wanted in expected]) if expected else 0.0
    min_score = min(min_score, usual / 2)
    for image, wanted in zip(images, expected, strict=True):
        found = np.asarray(decoding.scores(network(image)))
        objects = np.maximum(wanted, found) > min_score
        if objects.any():
            changes.append(np.mean(np.abs(found - wanted)[objects]))
    return float(np.mean(changes)) if changes else 0.0


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """How well a layer survived quantization.

    Attributes:
        name: the layer.
        decibel: signal-to-noise ratio of its output.
        lost: by how much that is lower than at its noisiest input: what the layer itself adds.
    """

    name: str
    decibel: float
    lost: float


def worst_layers(
    wanted: bytes, quantized: bytes, images: Sequence[np.ndarray], count: int = 5
) -> list[LayerNoise]:
    """The layers of a quantized network that add most noise to what they get.

    Args:
        wanted: the float32 network as a .tflite file (`raw_network`).
        quantized: the same network quantized.
        images: uint8 images `[H, W, 3]` of the size of the input.
        count: how many layers to return, worst first.
    """
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    first, second = _Activations(wanted), _Activations(quantized)
    for image in images:
        ours, theirs = first(image), second(image)
        for name in ours.keys() & theirs.keys():
            if ours[name].shape == theirs[name].shape:
                difference = ours[name] - theirs[name]
                signal[name] = signal.get(name, 0.0) + float(np.sum(ours[name] ** 2))
                noise[name] = noise.get(name, 0.0) + float(np.sum(difference**2))
    decibel = {
        name: 10 * float(np.log10(signal[name] / noise[name]))
        for name in signal
        if signal[name] > 0 and noise[name] > 0
    }
    layers = []
    for name, inputs in second.inputs.items():
        before = [decibel[other] for other in inputs if other in decibel]
        if name in decibel and before:
            layers.append(LayerNoise(name, decibel[name], min(before) - decibel[name]))
    return sorted(layers, key=lambda layer: -layer.lost)[:count]


class _Activations:
    """Runs a network and returns the real values of all its layers by name."""

    def __init__(self, content: bytes):
        file = TFLiteFile(content)
        file.shorten_names()
        self._interpreter = Interpreter(
            model_content=file.to_bytes(),
            experimental_preserve_all_tensors=True,
            # Delegates fuse layers and keep their results to themselves.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        names = [tensor.name.decode() for tensor in file.graph.tensors]
        # Layer -> the tensors it reads.
        self.inputs = {
            names[int(output)]: [names[int(index)] for index in operator.inputs if index >= 0]
            for operator in file.graph.operators
            for output in operator.outputs
        }
        self._layers = [
            detail
            for detail in self._interpreter.get_tensor_details()
            if detail["name"] in self.inputs and len(detail["shape"]) > 1
        ]

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self._interpreter.set_tensor(self._input["index"], image[None].astype(self._input["dtype"]))
        self._interpreter.invoke()
        return {
            detail["name"]: _real(self._interpreter.get_tensor(detail["index"]), detail)
            for detail in self._layers
        }


def _real(value: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if value.dtype == np.float32 or not scale:
        return value.astype(np.float64)
    return (value.astype(np.float64) - zero_point) * scale
