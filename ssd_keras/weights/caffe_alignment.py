"""Our network laid beside one of Caffe's, layer by layer, from the heads back to the image."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
from keras import layers

from ssd_keras.backbones.normalization import L2Normalization
from ssd_keras.weights.caffe import Layer, Network

CONVOLUTIONS = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
_TRANSPARENT = ("Split", "Dropout")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """A layer of Caffe's network and the layers whose results it reads."""

    layer: Layer
    inputs: tuple[Node, ...]

    @property
    def kind(self) -> str:
        """Caffe's type of the layer."""
        return self.layer.kind


def build_nodes(network: Network) -> dict[str, Node]:
    """The layers by name, each with those that wrote what it reads."""
    nodes, writer = {}, {}
    for layer in network.layers.values():
        inputs = tuple(writer[blob] for blob in layer.bottoms if blob in writer)
        node = Node(layer, inputs)
        if layer.kind in _TRANSPARENT and inputs:
            node = inputs[0]
        nodes[layer.name] = node
        writer |= dict.fromkeys(layer.tops, node)
    return nodes


@dataclasses.dataclass(frozen=True)
class Window:
    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    def size(self, before: int) -> int:
        return (
            before + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        ) // self.stride + 1


def window_of(layer: Layer) -> Window:
    def value(field, default):
        return layer.parameter("convolution_param", field, default)

    return Window(
        value("kernel_size", value("kernel_h", 1)),
        value("stride", value("stride_h", 1)),
        value("pad", value("pad_h", 0)),
        value("dilation", 1),
    )


class Differs(Exception):
    """Two layers that should be the same are not."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A layer of Caffe's that fills a layer of ours; a batch norm has its Scale beside it."""

    theirs: Node
    folded: bool = False


class Alignment:
    """Pairs of our layers and Caffe's, found from the heads back to the image."""

    def __init__(self, model: keras.Model, blobs: dict):
        self.blobs = blobs
        self.maker = {}
        for layer in model.layers:
            if not isinstance(layer, layers.InputLayer):
                self.maker[id(layer.output)] = layer
        self.model = model
        self.pairs: dict[str, Pair] = {}
        self.seen: set[tuple[str, int]] = set()

    def of(self, heads: dict[str, Node]) -> dict[str, Pair]:
        """Our layer -> Caffe's, for all layers that have weights.

        Args:
            heads: the last layers: names of ours and theirs.

        Raises:
            Differs: the networks are not the same.
        """
        for name, node in heads.items():
            self._match(self.model.get_layer(name).output, node)
        return self.pairs

    def _match(self, tensor, node: Node):
        ours = self.maker.get(id(tensor))
        if ours is None or (ours.name, id(node)) in self.seen:
            return
        if ours.name == "normalization":
            if node.kind not in ("Input", "AnnotatedData", "Data"):
                raise Differs(f"our network begins where theirs has '{node.layer.name}'")
            return
        self._pair(ours, node)
        self.seen.add((ours.name, id(node)))

    def _pair(self, ours, node: Node):
        if isinstance(ours, (layers.Conv2D, layers.DepthwiseConv2D)):
            self._convolution(ours, node)
        elif isinstance(ours, layers.Conv2DTranspose):
            self._deconvolution(ours, node)
        elif isinstance(ours, layers.BatchNormalization):
            self._batch_norm(ours, node)
        elif isinstance(ours, L2Normalization):
            self._expect(node, "Normalize", ours)
            if node.layer.parameter("norm_param", "across_spatial", True):
                raise Differs(f"'{node.layer.name}' normalises over the whole map")
            self.pairs[ours.name] = Pair(node)
            self._match(ours.input, self._input(node))
        elif isinstance(ours, layers.ReLU):
            self._expect(node, "ReLU", ours)
            self._match(ours.input, self._input(node))
        elif isinstance(ours, layers.MaxPooling2D):
            self._expect(node, "Pooling", ours)
            self._pool(ours, node)
            self._match(ours.input, self._input(node))
        elif isinstance(ours, (layers.Add, layers.Multiply)):
            self._expect(node, "Eltwise", ours)
            self._eltwise(ours, node)
        else:
            raise Differs(f"'{node.layer.name}' meets our '{ours.name}'")

    def _expect(self, node: Node, kind: str, ours):
        if node.kind != kind:
            raise Differs(
                f"'{node.layer.name}' is a {node.kind} where our '{ours.name}' needs a {kind}"
            )

    def _input(self, node: Node) -> Node:
        if node.inputs:
            return node.inputs[0]
        return Node(
            Layer(node.layer.bottoms[0] if node.layer.bottoms else "", "Input", (), (), {}), ()
        )

    def _convolution(self, ours, node: Node):
        if getattr(ours, "activation", None) is keras.activations.relu:
            self._expect(node, "ReLU", ours)
            node = self._input(node)
        if node.kind not in CONVOLUTIONS:
            raise Differs(
                f"'{node.layer.name}' is a {node.kind} where our '{ours.name}' is a convolution"
            )
        source, padding = ours.input, 0
        before = self.maker.get(id(source))
        if isinstance(before, layers.ZeroPadding2D):
            padding, source = before.padding[0][0], before.input
        have, want = source.shape[1], ours.output.shape[1]
        mine = Window(ours.kernel_size[0], ours.strides[0], padding, ours.dilation_rate[0])
        if ours.padding == "same":
            reach = mine.dilation * (mine.kernel - 1) + 1
            mine = dataclasses.replace(
                mine, padding=max(0, (want - 1) * mine.stride + reach - have) // 2
            )
        theirs = window_of(node.layer)
        if mine != theirs or theirs.size(have) != want:
            raise Differs(f"'{node.layer.name}' has {theirs}, our '{ours.name}' {mine}")
        kernel = self._blobs(node)[0]
        depthwise = isinstance(ours, layers.DepthwiseConv2D)
        shape = from_caffe(kernel, depthwise).shape
        weights = tuple(ours.weights[0].shape)
        if shape != weights:
            raise Differs(f"'{node.layer.name}' has {shape}, our '{ours.name}' {weights}")
        self.pairs[ours.name] = Pair(node)
        self._match(source, self._input(node))

    def _blobs(self, node: Node) -> list[np.ndarray]:
        if node.layer.name not in self.blobs:
            raise Differs(f"the .caffemodel has no weights for '{node.layer.name}'")
        return self.blobs[node.layer.name]

    def _deconvolution(self, ours, node: Node):
        self._expect(node, "Deconvolution", ours)
        window = window_of(node.layer)
        crop = 0 if ours.padding == "valid" else (ours.kernel_size[0] - 1) // 2
        if (window.kernel, window.stride, window.padding) != (
            ours.kernel_size[0],
            ours.strides[0],
            crop,
        ):
            raise Differs(f"'{node.layer.name}' has {window}, other than our '{ours.name}'")
        self._blobs(node)
        self.pairs[ours.name] = Pair(node)
        self._match(ours.input, self._input(node))

    def _batch_norm(self, ours, node: Node):
        if node.kind in CONVOLUTIONS:
            if len(self._blobs(node)) < 2:
                raise Differs(f"'{node.layer.name}' has neither a bias nor a batch norm")
            self.pairs[ours.name] = Pair(node, folded=True)
            self._match(ours.input, node)
            return
        self._expect(node, "Scale", ours)
        norm = self._input(node)
        self._expect(norm, "BatchNorm", ours)
        self._blobs(node), self._blobs(norm)
        self.pairs[ours.name] = Pair(node)
        self._match(ours.input, self._input(norm))

    def _pool(self, ours, node: Node):
        def value(field, default):
            return node.layer.parameter("pooling_param", field, default)

        kernel, stride, pad = value("kernel_size", 1), value("stride", 1), value("pad", 0)
        have, want = ours.input.shape[1], ours.output.shape[1]
        # Caffe rounds up.
        theirs = math.ceil((have + 2 * pad - kernel) / stride) + 1
        if pad and (theirs - 1) * stride >= have + pad:
            theirs -= 1
        mine = (ours.pool_size[0], ours.strides[0])
        if value("pool", "MAX") not in ("MAX", 0) or mine != (kernel, stride) or theirs != want:
            raise Differs(f"'{node.layer.name}' pools otherwise than our '{ours.name}'")

    def _eltwise(self, ours, node: Node):
        operation = node.layer.parameter("eltwise_param", "operation", "SUM")
        expected = ("PROD", 0) if isinstance(ours, layers.Multiply) else ("SUM", 1)
        if operation not in expected or len(node.inputs) != 2:
            raise Differs(f"'{node.layer.name}' joins otherwise than our '{ours.name}'")
        first, second = ours.input
        reasons = []
        for theirs in (node.inputs, node.inputs[::-1]):
            pairs, seen = dict(self.pairs), set(self.seen)
            try:
                self._match(first, theirs[0])
                self._match(second, theirs[1])
                return
            except Differs as difference:
                reasons.append(str(difference))
                self.pairs, self.seen = pairs, seen
        raise Differs(" and ".join(reasons)[:300])


def from_caffe(kernel: np.ndarray, depthwise: bool) -> np.ndarray:
    """Caffe's kernel `[out, in, h, w]` in Keras' layout."""
    if kernel.ndim != 4:
        raise Differs(f"a kernel of shape {kernel.shape}")
    return np.transpose(kernel, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
