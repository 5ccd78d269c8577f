"""MobileNet v3, large and small, whole or with what it is cut down to for detection."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import layers

from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

STEM_CHANNELS = 16
SQUEEZE = 0.25
# The last convolution has so many times the channels of the last block.
LAST_EXPANSION = 6


@dataclasses.dataclass(frozen=True)
class _Block:
    """An inverted residual block.

    Attributes:
        expansion: channels of its depthwise convolution, as a multiple of its input's.
        channels: of its output.
        kernel: size of the depthwise convolution.
        stride: of the depthwise convolution.
        squeezes: whether channels are weighed by what the whole map holds.
        activation: "relu" or "hard_swish".
        tail: whether it is one of those that detectors have with half the channels.
    """

    expansion: float
    channels: int
    kernel: int
    stride: int
    squeezes: bool
    activation: str
    tail: bool = False


# The tables 1 and 2 of the paper; "hs" is hard swish.
BLOCKS = {
    "large": (
        _Block(1, 16, 3, 1, False, "relu"),
        _Block(4, 24, 3, 2, False, "relu"),
        _Block(3, 24, 3, 1, False, "relu"),
        _Block(3, 40, 5, 2, True, "relu"),
        _Block(3, 40, 5, 1, True, "relu"),
        _Block(3, 40, 5, 1, True, "relu"),
        _Block(6, 80, 3, 2, False, "hard_swish"),
        _Block(2.5, 80, 3, 1, False, "hard_swish"),
        _Block(2.3, 80, 3, 1, False, "hard_swish"),
        _Block(2.3, 80, 3, 1, False, "hard_swish"),
        _Block(6, 112, 3, 1, True, "hard_swish"),
        _Block(6, 112, 3, 1, True, "hard_swish"),
        _Block(6, 160, 5, 2, True, "hard_swish", tail=True),
        _Block(6, 160, 5, 1, True, "hard_swish", tail=True),
        _Block(6, 160, 5, 1, True, "hard_swish", tail=True),
    ),
    "small": (
        _Block(1, 16, 3, 2, True, "relu"),
        _Block(72 / 16, 24, 3, 2, False, "relu"),
        _Block(88 / 24, 24, 3, 1, False, "relu"),
        _Block(4, 40, 5, 2, True, "hard_swish"),
        _Block(6, 40, 5, 1, True, "hard_swish"),
        _Block(6, 40, 5, 1, True, "hard_swish"),
        _Block(3, 48, 5, 1, True, "hard_swish"),
        _Block(3, 48, 5, 1, True, "hard_swish"),
        _Block(6, 96, 5, 2, True, "hard_swish", tail=True),
        _Block(6, 96, 5, 1, True, "hard_swish", tail=True),
        _Block(6, 96, 5, 1, True, "hard_swish", tail=True),
    ),
}
# The blocks that halve maps of stride 8 and of stride 16: what they expand these to is a map.
HALVING_BLOCKS = {"large": {8: 6, 16: 12}, "small": {8: 3, 16: 8}}


def mobilenet_v3(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    size: str = "large",
    minimalistic: bool = False,
    reduced_tail: bool = False,
    explicit_padding: bool = False,
    finest_stride: int = 16,
) -> keras.Model:
    """MobileNet v3 as a Core Network.

    Layers that have weights are named as in `keras.applications.MobileNetV3Large` and `...Small`,
    whose ImageNet weights load by name; the network is the same up to "conv_1_act". As in
    `backbones.mobilenet_v2` the statistics of batch norms follow faster than Keras'.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts but the first layer's, as in Keras.
        size: "large" or "small".
        minimalistic: without squeeze and excitation, hard swish and 5x5 kernels, which 8 bits and
            some accelerators do not take well.
        reduced_tail: the blocks from stride 32 on have half the channels, as in the published
            detectors (section 6.3); ImageNet weights do not fit then.
        explicit_padding: strided convolutions pad alike on every side, as in PyTorch; "same" pads
            even sizes at the end more, which shifts what a cell sees by a pixel.
        finest_stride: 16, or 8 for one map more before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps of SSDLite: what the block that
        halves stride 16 expands it to (stride 16; large: "expanded_conv_12_expand_act") and
        "conv_1_act" (stride 32).

    Source: arXiv 1905.02244; TF Object Detection API, ssd_mobilenet_v3_feature_extractor.py.
    """
    make = _Layers(width, minimalistic, explicit_padding)
    halving = {block: stride for stride, block in HALVING_BLOCKS[size].items()}
    maps = {}

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = make.conv(rescale_to_one(images), STEM_CHANNELS, 3, "conv", "hard_swish", stride=2)
    for number, block in enumerate(BLOCKS[size]):
        prefix = f"expanded_conv_{number}_" if number else "expanded_conv_"
        if reduced_tail and block.tail:
            block = dataclasses.replace(block, channels=block.channels // 2)
        expanded = make.expand(x, block, prefix)
        if halving.get(number, 0) >= finest_stride:
            maps[f"{prefix}expand_act"] = expanded
        x = make.project(x, expanded, block, prefix)
    x = make.conv(x, round_channels(LAST_EXPANSION * x.shape[-1]), 1, "conv_1", "hard_swish")
    # === Functional model ===
    return keras.Model(images, {**maps, "conv_1_act": x}, name=f"mobilenet_v3_{size}")


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, less by a tenth at most; the published rule for every layer."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


class _Layers:
    """Makes the layers of a width and a variant."""

    def __init__(self, width: float, minimalistic: bool, explicit_padding: bool):
        self.width = width
        self.minimalistic = minimalistic
        self.explicit_padding = explicit_padding

    def conv(self, x, channels: int, kernel: int, name: str, activation: str | None, stride=1):
        """Convolution without bias, batch norm, activation."""
        x, padding = self._pad(x, kernel, stride, name)
        x = layers.Conv2D(
            channels, kernel, strides=stride, padding=padding, use_bias=False, name=name
        )(x)
        return self._normalise(x, name, activation)

    def expand(self, x, block: _Block, prefix: str):
        """What enters the depthwise convolution of a block."""
        if prefix == "expanded_conv_":
            return x
        channels = round_channels(x.shape[-1] * block.expansion)
        return self.conv(x, channels, 1, f"{prefix}expand", block.activation)

    def project(self, x, expanded, block: _Block, prefix: str):
        """A block from its depthwise convolution on; `x` is what entered it."""
        out = self._depthwise(expanded, block, f"{prefix}depthwise")
        if block.squeezes and not self.minimalistic:
            out = _squeeze_and_excite(out, f"{prefix}squeeze_excite")
        channels = round_channels(self.width * block.channels)
        out = self.conv(out, channels, 1, f"{prefix}project", None)
        if block.stride == 1 and x.shape[-1] == channels:
            return layers.Add(name=f"{prefix}add")([x, out])
        return out

    def _depthwise(self, x, block: _Block, name: str):
        kernel = 3 if self.minimalistic else block.kernel
        x, padding = self._pad(x, kernel, block.stride, name)
        x = layers.DepthwiseConv2D(
            kernel, strides=block.stride, padding=padding, use_bias=False, name=name
        )(x)
        return self._normalise(x, name, block.activation)

    def _normalise(self, x, name: str, activation: str | None):
        x = BatchNormalization(name=f"{name}_bn")(x)
        if activation is None:
            return x
        if self.minimalistic:
            activation = "relu"
        return layers.Activation(activation, name=f"{name}_act")(x)

    def _pad(self, x, kernel: int, stride: int, name: str):
        if stride == 1 or not self.explicit_padding:
            return x, "same"
        return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"


def _squeeze_and_excite(x, name: str):
    """Weighs each channel by what the whole map holds."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    weights = layers.Conv2D(
        round_channels(SQUEEZE * channels), 1, activation="relu", name=f"{name}_conv"
    )(weights)
    weights = layers.Conv2D(channels, 1, activation="hard_sigmoid", name=f"{name}_conv_1")(weights)
    return layers.Multiply(name=f"{name}_mul")([x, weights])


def renamed_mobilenet_v3_weights(
    arrays: dict[str, list[np.ndarray]],
) -> dict[str, list[np.ndarray]]:
    """Weights under the names of Keras 3; Keras 2 and its files have "/" and "BatchNorm" in them.

    What belongs to the classifier is left out.
    """
    renamed = {
        name.replace("/BatchNorm", "_bn").replace("/", "_").lower(): value
        for name, value in arrays.items()
    }
    return {name: value for name, value in renamed.items() if name not in ("conv_2", "logits")}
