"""SSD: default boxes on feature maps of several scales, predicted in one pass."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.default_box_network import DefaultBoxNetwork
from ssd_keras.box_networks.extras import Extra
from ssd_keras.box_networks.protocol import Request
from ssd_keras.box_networks.published_anchors import Pyramid
from ssd_keras.errors import require_one_of


@keras.saving.register_keras_serializable("ssd_keras")
class SSD(DefaultBoxNetwork):
    """The Box Network of SSD.

    Adds extra levels to the Core Network's maps, and to each map a head of its own.

    Args:
        num_classes: number of object classes, background not counted.
        extras: the levels after the backbone's, `Extra` each or a tuple of its values.
        extra_block: what extra levels are made of, one of `blocks.EXTRA_BLOCKS`.
        activation: "relu" or "relu6", of all layers of the box network.
        prediction_module: "a" to "d", see `blocks.prediction_module`.
        module_channels: channels of the modules' bottlenecks and of their outputs.
        head_kernels: kernel size of the convolutions that predict boxes and classes, one for all
            levels or one for each.
        separable_heads: depthwise-separable heads, as in SSDLite.
        **default_boxes: the arguments of `DefaultBoxNetwork`.

    Source: SSD paper, arXiv 1512.02325, section 2; heads and extras of the MobileNet models as in
    the TF Object Detection API, ssd_mobilenet_v1_feature_extractor.py.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        extras: Sequence = ((256, 512), (128, 256), (128, 256), (64, 128)),
        extra_block: str = "conv_bn",
        activation: str = "relu6",
        prediction_module: str = "a",
        module_channels: tuple[int, int] = (256, 1024),
        head_kernels: int | Sequence[int] = 1,
        separable_heads: bool = False,
        **default_boxes,
    ):
        super().__init__(num_classes, **default_boxes)
        require_one_of("extra_block", extra_block, blocks.EXTRA_BLOCKS)
        require_one_of("prediction_module", prediction_module, blocks.PREDICTION_MODULES)
        self.extras = tuple(e if isinstance(e, Extra) else Extra(*e) for e in extras)
        self.extra_block = extra_block
        self.activation = activation
        self.prediction_module = prediction_module
        self.module_channels = tuple(module_channels)
        self.head_kernels = head_kernels if np.isscalar(head_kernels) else tuple(head_kernels)
        self.separable_heads = separable_heads

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments on a Core Network: what its row asks for, at the width of the request."""
        core = request.core
        extras = [
            dataclasses.replace(
                extra,
                reduced=request.scale_channels(extra.reduced),
                channels=request.scale_channels(extra.channels),
            )
            for extra in core.extras(min(request.maps[-1].size))
        ]
        return {
            "anchors": _anchors_for(request, extras),
            "extras": extras,
            "extra_block": core.extra_block,
            "activation": core.activation,
            "prediction_module": core.prediction_module,
            "module_channels": (request.scale_channels(256), request.scale_channels(1024)),
            "head_kernels": core.head_kernels,
        }

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Adds the extra levels and the heads.

        Args:
            features: symbolic feature maps `[B, H, W, C]`, finest first.
            image_size: (height, width) of the image in pixels.

        Returns:
            dict of "boxes", codes `[B, A, 4]` (dy, dx, dh, dw), and "classes", logits
            `[B, A, num_classes + 1]` with background first, or `[B, A, num_classes]` where the
            objective has no background; both float32.
        """
        return self._predictions(self.pyramid(features), image_size, prefix="level")

    def pyramid(self, features: dict) -> list:
        """The backbone's maps and the extra levels, finest first."""
        maps = list(features.values())
        for index, extra in enumerate(self.extras, start=1):
            maps.append(
                blocks.extra_level(
                    maps[-1], extra, self.extra_block, self.activation, f"extra{index}"
                )
            )
        return maps

    def _predictions(self, maps: list, image_size: tuple[int, int], prefix: str) -> dict:
        per_cell = self.lay_default_boxes(maps, image_size)
        kernels = self.head_kernels
        kernels = (kernels,) * len(maps) if np.isscalar(kernels) else kernels
        if len(kernels) != len(maps):
            raise ValueError(f"head_kernels has {len(kernels)} entries for {len(maps)} levels.")
        self.class_layers = tuple(f"{prefix}{index}_classes" for index in range(len(maps)))
        codes, logits = [], []
        for index, (x, count, kernel) in enumerate(zip(maps, per_cell, kernels, strict=True)):
            name = f"{prefix}{index}"
            x = blocks.prediction_module(
                x, self.prediction_module, self.module_channels, self.activation, f"{name}_module"
            )
            head = functools.partial(
                blocks.head,
                x,
                count,
                kernel=kernel,
                separable=self.separable_heads,
                activation=self.activation,
            )
            codes.append(head(4, name=f"{name}_boxes"))
            bias = self.objective.class_bias
            logits.append(head(self.columns, name=f"{name}_classes", bias=bias))
        return {
            "boxes": layers.Concatenate(axis=1, dtype="float32", name="boxes")(codes),
            "classes": layers.Concatenate(axis=1, dtype="float32", name="classes")(logits),
        }

    def get_config(self) -> dict:
        """Everything needed to build this box network again; plain numbers, lists and dicts."""
        kernels = self.head_kernels
        return {
            **super().get_config(),
            "extras": [list(dataclasses.astuple(extra)) for extra in self.extras],
            "extra_block": self.extra_block,
            "activation": self.activation,
            "prediction_module": self.prediction_module,
            "module_channels": list(self.module_channels),
            "head_kernels": kernels if np.isscalar(kernels) else list(kernels),
            "separable_heads": self.separable_heads,
        }


def _anchors_for(request: Request, extras: Sequence[Extra]):
    """The rule of a core's default boxes, with what the user wants of it."""
    core, levels = request.core, len(request.maps) + len(extras)
    last = request.maps[-1].size
    for extra in extras:
        last = tuple(map(extra.size, last))
    rule = core.anchors(Pyramid(request.image_size, levels, extras, request.box_scale, last))
    if request.finest_stride not in (None, *core.finest_strides[:1]):
        halvings = math.log2(core.finest_strides[0] / request.finest_stride)
        rule = rule.with_finer_levels(int(halvings))
    if request.smallest_box is not None:
        rule = rule.with_smallest(request.smallest_box)
    return rule
