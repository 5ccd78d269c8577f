"""MobileDet, searched for detection on processors of phones, Edge TPUs and DSPs."""

from __future__ import annotations

import dataclasses
from collections import Counter

import keras
from keras import layers

from ssd_keras import keras_compat
from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

BATCH_NORM_EPSILON = 0.01
SQUEEZE = 0.25
DIVISOR = 8


@dataclasses.dataclass(frozen=True)
class _Block:
    """A block, called as its scope in the published graphs.

    Attributes:
        kind: "IBN" expands, filters each channel and projects; "FusedConv" expands by a whole
            convolution and projects; "TuckerConv" reduces, convolves and projects;
            "IBNNoExpansion" is an IBN that expands nothing.
        channels: of its output.
        expansion: of "IBN" and "FusedConv", as a multiple of the input's channels.
        kernel: size of the convolution that is not 1x1.
        stride: of that convolution.
        residual: whether its input is added to its output.
        ranks: of "TuckerConv", its inner channels as shares of those of input and output.
    """

    kind: str
    channels: int
    expansion: int = 8
    kernel: int = 3
    stride: int = 1
    residual: bool = True
    ranks: tuple[float, float] = (0.25, 0.25)


def _ibn(channels, expansion=8, kernel=3, **options) -> _Block:
    return _Block("IBN", channels, expansion, kernel, **options)


def _fused(channels, expansion=8, kernel=3, **options) -> _Block:
    return _Block("FusedConv", channels, expansion, kernel, **options)


def _tucker(channels, ranks, **options) -> _Block:
    return _Block("TuckerConv", channels, ranks=ranks, **options)


_HALVING = {"stride": 2, "residual": False}
_WIDER = {"residual": False}
# Of each target: channels of the first convolution, and the blocks of the stages with strides 2, 4,
# 8, 16 and 32.
STAGES = {
    "cpu": (
        16,
        (_Block("IBNNoExpansion", 8, **_WIDER),),
        (_ibn(16, 4, **_HALVING),),
        (_ibn(32, 8, **_HALVING), _ibn(32, 4), _ibn(32, 4), _ibn(32, 4)),
        (
            *(_ibn(72, 8, 5, **_HALVING), _ibn(72, 8), _ibn(72, 4, 5), _ibn(72, 4)),
            *(_ibn(72, 8, **_WIDER), _ibn(72, 8), _ibn(72, 8), _ibn(72, 8)),
        ),
        (
            *(_ibn(104, 8, 5, **_HALVING), _ibn(104, 4, 5), _ibn(104, 4, 5), _ibn(104, 4)),
            _ibn(144, 8, **_WIDER),
        ),
    ),
    "edgetpu": (
        32,
        (_tucker(16, (0.25, 0.75), **_WIDER),),
        (_fused(16, 8, **_HALVING), _fused(16, 4), _fused(16, 8), _fused(16, 4)),
        (_fused(40, 8, 5, **_HALVING), _fused(40, 4), _fused(40, 4), _fused(40, 4)),
        (
            *(_ibn(72, 8, **_HALVING), _ibn(72, 8), _fused(72, 4), _fused(72, 4)),
            *(_ibn(96, 8, 5, **_WIDER), _ibn(96, 8, 5), _ibn(96, 8), _ibn(96, 8)),
        ),
        (
            *(_ibn(120, 8, 5, **_HALVING), _ibn(120, 8), _ibn(120, 4, 5), _ibn(120, 8)),
            _ibn(384, 8, 5, **_WIDER),
        ),
    ),
    "dsp": (
        32,
        (_Block("IBNNoExpansion", 24, **_WIDER),),
        (_fused(32, 4, **_HALVING), _fused(32, 4), _ibn(32, 4), _tucker(32, (0.25, 0.75))),
        (_fused(64, 8, **_HALVING), _ibn(64, 4), _fused(64, 4), _fused(64, 4)),
        (
            *(_fused(120, 8, **_HALVING), _ibn(120, 4), _ibn(120, 8), _ibn(120, 8)),
            *(_fused(144, 8, **_WIDER), _ibn(144, 8), _ibn(144, 8), _ibn(144, 8)),
        ),
        (
            *(_ibn(160, 4, **_HALVING), _ibn(160, 4), _fused(160, 4)),
            *(_tucker(160, (0.75, 0.75)), _ibn(240, 8, **_WIDER)),
        ),
    ),
}


def mobiledet(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    target: str = "cpu",
    finest_stride: int = 16,
) -> keras.Model:
    """MobileDet as a Core Network.

    Layers are named after the scopes of the published checkpoints, with "_" for "/"; each batch
    norm has the name of its convolution and "_bn".

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts; the nearest multiples of 8 are taken.
        target: "cpu", with hard swish and squeeze and excitation; "edgetpu" or "dsp", with ReLU6
            and whole convolutions, which these are quick at.
        finest_stride: 16, or 8 for one map more before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the last maps of stride 16 and 32, named
        by the layers that make them; neither has an activation.

    Source: arXiv 2004.14525; TF Object Detection API, ssd_mobiledet_feature_extractor.py.
    """
    make = _Layers(width, "hard_swish" if target == "cpu" else "relu6", squeezes=target == "cpu")
    stem, *stages = STAGES[target]
    counts = Counter()
    maps = {}

    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = make.conv(rescale_to_one(images), make.scale(stem), "Conv", kernel=3, stride=2)
    for number, blocks in enumerate(stages, start=1):
        for block in blocks:
            name = f"{block.kind}_{counts[block.kind]}" if counts[block.kind] else block.kind
            counts[block.kind] += 1
            x = make.block(x, block, name)
        if 2**number >= finest_stride:
            maps[keras_compat.layer_name_of(x)] = x
    # === Functional model ===
    return keras.Model(images, maps, name=f"mobiledet_{target}")


def _scale(channels: float, width: float) -> int:
    """The nearest multiple of 8 at a width, halves upwards."""
    return max(DIVISOR, int(channels * width / DIVISOR + 0.5) * DIVISOR)


class _Layers:
    """Makes the layers of a width, an activation and with or without squeezing."""

    def __init__(self, width: float, activation: str, squeezes: bool):
        self.width = width
        self.activation = activation
        self.squeezes = squeezes

    def scale(self, channels: int) -> int:
        """A number of channels at this width."""
        return _scale(channels, self.width)

    def block(self, x, block: _Block, name: str):
        """A block of any kind."""
        inner = {
            "IBN": self._expand_and_filter,
            "IBNNoExpansion": self._filter,
            "FusedConv": self._expand,
            "TuckerConv": self._reduce,
        }[block.kind]
        out, number = inner(x, block, name)
        last = f"{name}_Conv_{number}" if number else f"{name}_Conv"
        out = self.conv(out, self.scale(block.channels), last, activated=False)
        return layers.Add(name=f"{name}_add")([out, x]) if block.residual else out

    def conv(self, x, channels: int, name: str, kernel=1, stride=1, activated=True):
        """Convolution without bias, batch norm, and unless told otherwise the activation."""
        x = layers.Conv2D(
            channels, kernel, strides=stride, padding="same", use_bias=False, name=name
        )(x)
        return self._normalise(x, name, activated)

    # Each of these returns its output and the number that the projection behind it has.

    def _expand_and_filter(self, x, block: _Block, name: str):
        x = self.conv(x, x.shape[-1] * block.expansion, f"{name}_Conv")
        return self._filter(x, block, name)[0], 1

    def _filter(self, x, block: _Block, name: str):
        scope = f"{name}_SeparableConv2d"
        x = layers.DepthwiseConv2D(
            block.kernel, strides=block.stride, padding="same", use_bias=False, name=scope
        )(x)
        x = self._normalise(x, scope, True)
        return self._squeeze_and_excite(x, f"{name}_SqueezeExcite") if self.squeezes else x, 0

    def _expand(self, x, block: _Block, name: str):
        channels = x.shape[-1] * block.expansion
        return self.conv(x, channels, f"{name}_Conv", block.kernel, block.stride), 1

    def _reduce(self, x, block: _Block, name: str):
        entering, leaving = block.ranks
        x = self.conv(x, _scale(x.shape[-1], entering), f"{name}_Conv")
        channels = _scale(self.scale(block.channels), leaving)
        return self.conv(x, channels, f"{name}_Conv_1", block.kernel, block.stride), 2

    def _normalise(self, x, name: str, activated: bool):
        x = BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)
        return layers.Activation(self.activation, name=f"{name}_act")(x) if activated else x

    def _squeeze_and_excite(self, x, name: str):
        """Weighs each channel by what the whole map holds."""
        channels = x.shape[-1]
        weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
        weights = layers.Conv2D(
            _scale(channels, SQUEEZE), 1, activation=self.activation, name=f"{name}_Conv"
        )(weights)
        weights = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_Conv_1")(weights)
        return layers.Multiply(name=f"{name}_mul")([weights, x])
