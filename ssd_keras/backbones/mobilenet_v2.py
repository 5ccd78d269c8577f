"""MobileNet v2, as Keras has it."""

from __future__ import annotations

import keras
from keras import layers

from ssd_keras.backbones.mobilenet_v3 import round_channels
from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

BATCH_NORM_MOMENTUM = 0.99
STEM_CHANNELS, LAST_CHANNELS = 32, 1280
# Channels after each inverted residual block, and the stride of its depthwise convolution
# (table 2 of the paper).
BLOCKS = (
    *((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1)),
    *((64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1)),
    *((160, 2), (160, 1), (160, 1), (320, 1)),
)
# A block's depthwise convolution has so many times the channels of its input; the first block's
# has as many.
EXPANSION = 6
# Layers whose outputs are the maps, by the stride of the finest: those that SSD looks at, and the
# ends of the stages, which are narrower.
MAP_LAYERS = {
    16: ("block_13_expand_relu", "out_relu"),
    8: ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
}
STAGE_ENDS = {
    16: ("block_12_add", "out_relu"),
    8: ("block_5_add", "block_12_add", "out_relu"),
}


def mobilenet_v2(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    finest_stride: int = 16,
    stage_ends: bool = False,
) -> keras.Model:
    """MobileNet v2 as a Core Network.

    Layers are those of `keras.applications.MobileNetV2` with their names, so that its ImageNet
    weights load by name. The moving statistics of its batch norms follow faster than Keras'
    (momentum 0.99 for 0.999): otherwise a detector that was trained for a thousand steps is still
    normalised with those of its first minutes.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts, as in the paper.
        finest_stride: 16, or 8 for one map more, "block_6_expand_relu", before the others.
        stage_ends: the maps at the ends of the stages, "block_5_add" and "block_12_add", instead of
            the wide ones behind them: what FPN looks at.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "block_13_expand_relu"
        (stride 16) and "out_relu" (stride 32).

    Source: arXiv 1801.04381, section 6.2; TF Object Detection API,
    ssd_mobilenet_v2_feature_extractor.py, ssd_mobilenet_v2_fpn_keras_feature_extractor.py.
    """
    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    stem = round_channels(STEM_CHANNELS * width)
    x = layers.Conv2D(stem, 3, strides=2, padding="same", use_bias=False, name="Conv1")(
        rescale_to_one(images)
    )
    x = _relu(_batch_norm(x, "bn_Conv1"), "Conv1_relu")
    outputs = {}
    for number, (channels, stride) in enumerate(BLOCKS):
        prefix = f"block_{number}_" if number else "expanded_conv_"
        expanded = _expand(x, prefix) if number else x
        x = _project(x, expanded, round_channels(int(channels * width)), stride, prefix)
        outputs |= {f"{prefix}expand_relu": expanded, f"{prefix}add": x}
    x = _conv(x, round_channels(LAST_CHANNELS * max(width, 1.0)), "Conv_1")
    outputs["out_relu"] = _relu(_batch_norm(x, "Conv_1_bn"), "out_relu")
    # === Functional model ===
    names = (STAGE_ENDS if stage_ends else MAP_LAYERS)[finest_stride]
    return keras.Model(images, {name: outputs[name] for name in names}, name="mobilenet_v2")


def _expand(x, prefix: str):
    """What enters the depthwise convolution of a block."""
    x = _conv(x, EXPANSION * x.shape[-1], f"{prefix}expand")
    return _relu(_batch_norm(x, f"{prefix}expand_BN"), f"{prefix}expand_relu")


def _project(x, expanded, channels: int, stride: int, prefix: str):
    """A block from its depthwise convolution on; `x` is what entered it."""
    name = f"{prefix}depthwise"
    if stride == 2:
        # As "same" pads; Keras' network, and detectors that were saved, have a layer for it.
        padding = [(size % 2, 1) for size in expanded.shape[1:3]]
        expanded = layers.ZeroPadding2D(padding, name=f"{prefix}pad")(expanded)
    out = layers.DepthwiseConv2D(
        3, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False, name=name
    )(expanded)
    out = _relu(_batch_norm(out, f"{name}_BN"), f"{name}_relu")
    out = _batch_norm(_conv(out, channels, f"{prefix}project"), f"{prefix}project_BN")
    if stride == 1 and x.shape[-1] == channels:
        return layers.Add(name=f"{prefix}add")([x, out])
    return out


def _conv(x, channels: int, name: str):
    return layers.Conv2D(channels, 1, padding="same", use_bias=False, name=name)(x)


def _batch_norm(x, name: str):
    return BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=name)(x)


def _relu(x, name: str):
    return layers.ReLU(6.0, name=name)(x)
