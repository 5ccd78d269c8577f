"""MobileNet v4 of convolutions alone, small."""

from __future__ import annotations

import dataclasses

import keras
from keras import layers

from ssd_keras.backbones.mobilenet_v3 import round_channels
from ssd_keras.backbones.normalization import BatchNormalization, standardize

EPSILON = 1e-5
STEM_CHANNELS = 32
LAST_CHANNELS = 960


@dataclasses.dataclass(frozen=True)
class _Block:
    """A universal inverted bottleneck, whose depthwise convolutions may each be left out.

    Attributes:
        channels: of its output.
        expansion: channels between the 1x1 convolutions, as a multiple of its input's.
        first: size of the depthwise convolution before the expansion, or 0 for none.
        second: size of the one behind it, or 0 for none.
        stride: of the last of them.
    """

    channels: int
    expansion: int
    first: int = 0
    second: int = 0
    stride: int = 1


# Of the stages of stride 4 and 8: channels of a halving 3x3 and of a 1x1 convolution.
PLAIN_STAGES = ((32, 32), (96, 64))
# The stages of stride 16 and 32.
STAGES = (
    (
        _Block(96, 3, 5, 5, stride=2),
        *[_Block(96, 2, second=3)] * 4,
        _Block(96, 4, first=3),
    ),
    (
        _Block(128, 6, 3, 3, stride=2),
        _Block(128, 4, 5, 5),
        _Block(128, 4, second=5),
        _Block(128, 3, second=5),
        *[_Block(128, 4, second=3)] * 2,
    ),
)


def mobilenet_v4(
    image_size: tuple[int, int], width: float = 1.0, *, finest_stride: int = 16
) -> keras.Model:
    """MobileNetV4-Conv-S as a Core Network.

    Convolutions, batch norms and ReLUs alone, which 8 bits and all accelerators take. Layers are
    named after timm's modules, with "_" for ".", strided convolutions pad alike on every side as
    there. Images are RGB, less the mean and divided by the deviation of ImageNet.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts; the nearest multiples of 8 are taken.
        finest_stride: 16, or 8 for one map more, "blocks_1_1_act", before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "blocks_2_5_add" (stride 16,
        without an activation) and "blocks_4_0_act" (stride 32).

    Source: arXiv 2404.10518, appendix D; timm, models/mobilenetv3.py, mobilenetv4_conv_small.
    """
    make = _Layers(width)
    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = make.conv(standardize(images), STEM_CHANNELS, "conv_stem", kernel=3, stride=2)
    for stage, (halved, channels) in enumerate(PLAIN_STAGES):
        x = make.conv(x, halved, f"blocks_{stage}_0", kernel=3, stride=2)
        x = make.conv(x, channels, f"blocks_{stage}_1")
    maps = {"blocks_1_1_act": x} if finest_stride == 8 else {}
    for stage, blocks in enumerate(STAGES, start=len(PLAIN_STAGES)):
        for number, block in enumerate(blocks):
            x = make.block(x, block, f"blocks_{stage}_{number}")
        if stage == len(PLAIN_STAGES):
            maps[f"blocks_{stage}_{number}_add"] = x
    x = make.conv(x, LAST_CHANNELS, "blocks_4_0")
    # === Functional model ===
    return keras.Model(images, {**maps, "blocks_4_0_act": x}, name="mobilenet_v4_conv_small")


class _Layers:
    """Makes the layers of a width."""

    def __init__(self, width: float):
        self.width = width

    def block(self, x, block: _Block, name: str):
        """A universal inverted bottleneck, with a shortcut where nothing changes."""
        out, inputs = x, x.shape[-1]
        if block.first:
            stride = 1 if block.second else block.stride
            out = self._depthwise(out, block.first, stride, f"{name}_dw_start", activated=False)
        expanded = round_channels(inputs * block.expansion)
        out = self._conv(out, expanded, f"{name}_pw_exp")
        if block.second:
            out = self._depthwise(out, block.second, block.stride, f"{name}_dw_mid")
        channels = self._scale(block.channels)
        out = self._conv(out, channels, f"{name}_pw_proj", activated=False)
        if block.stride == 1 and inputs == channels:
            return layers.Add(name=f"{name}_add")([x, out])
        return out

    def conv(self, x, channels: int, name: str, kernel: int = 1, stride: int = 1):
        """Convolution without bias, batch norm, ReLU."""
        return self._conv(x, self._scale(channels), name, kernel=kernel, stride=stride)

    def _scale(self, channels: int) -> int:
        return round_channels(channels * self.width)

    def _conv(self, x, channels, name, kernel=1, stride=1, activated=True):
        x, padding = _pad(x, kernel, stride, name)
        x = layers.Conv2D(
            channels, kernel, strides=stride, padding=padding, use_bias=False, name=f"{name}_conv"
        )(x)
        return _normalise(x, name, activated)

    def _depthwise(self, x, kernel, stride, name, activated=True):
        x, padding = _pad(x, kernel, stride, name)
        x = layers.DepthwiseConv2D(
            kernel, strides=stride, padding=padding, use_bias=False, name=f"{name}_conv"
        )(x)
        return _normalise(x, name, activated)


def _pad(x, kernel: int, stride: int, name: str):
    if stride == 1:
        return x, "same"
    return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"


def _normalise(x, name: str, activated: bool):
    x = BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_act")(x) if activated else x
