"""FPN and PAN: maps that are joined from coarse to fine, or back again, and one predictor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import keras
from keras import layers

from ssd_keras.backbones.initializers import NearIdentity
from ssd_keras.backbones.normalization import BatchNormalization
from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.anchor_rules import MultiscaleAnchors
from ssd_keras.box_networks.default_box_network import DefaultBoxNetwork
from ssd_keras.box_networks.protocol import COMMON_STAGES, Request
from ssd_keras.box_networks.upsampling import NearestUpsampling
from ssd_keras.errors import UserError

# What the names of its layers begin with.
PYRAMID, PREDICTOR = "fpn", "predictor"
# Files bring these numbers, too.
MAX_COARSE_LEVELS, MAX_TOWER_DEPTH = 8, 32
# RetinaNet's objective as the API has it: it divides the box loss by the 4 codes.
FOCAL = {"scores": "sigmoid", "class_loss": "focal", "matching": "argmax", "box_weight": 0.25}


def is_pyramid(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of the box network's own and not of the Core Network."""
    return layer.name.startswith((PYRAMID, PREDICTOR))


@keras.saving.register_keras_serializable("ssd_keras")
class FPN(DefaultBoxNetwork):
    """The Box Network of the TF Object Detection API's FPN models.

    Each map of the Core Network is brought to one number of channels. From the coarsest on, a map
    is enlarged and added to the next finer one, and a 3x3 convolution smooths the sum; the coarsest
    stays as it is. Coarser levels follow by 3x3 convolutions of stride 2. One predictor, a tower of
    convolutions and a last one, is shared by all levels; each level has batch norms of its own.

    Args:
        num_classes: number of object classes, background not counted.
        channels: of all maps and of the towers.
        coarse_levels: levels after the Core Network's.
        kernel: kernel size of all convolutions but the 1x1.
        tower_depth: convolutions before the last one.
        shared_tower: one tower for boxes and classes together, instead of one for each.
        separable: depthwise-separable convolutions, with nothing between their two parts.
        activation: "relu" or "relu6".
        **default_boxes: the arguments of `DefaultBoxNetwork`; without an `objective`, the usual
            ones are those of `learned`.

    Source: FPN paper, arXiv 1612.03144; RetinaNet paper, arXiv 1708.02002; TF Object Detection API,
    ssd_mobilenet_v1_fpn_keras_feature_extractor.py, feature_map_generators.py
    (KerasFpnTopDownFeatureMaps), convolutional_keras_box_predictor.py
    (WeightSharedConvolutionalBoxPredictor).
    """

    stages: ClassVar = {**COMMON_STAGES, "stage1": is_pyramid}
    # Stride of the coarsest level, and what it is made of at full width.
    coarsest_stride: ClassVar[int] = 128
    usual: ClassVar[Mapping] = {"channels": 256}
    # What is learned unless told otherwise, as arguments of `DefaultBoxNetwork`.
    learned: ClassVar[Mapping] = FOCAL

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int = 256,
        coarse_levels: int = 2,
        kernel: int = 3,
        tower_depth: int = 4,
        shared_tower: bool = False,
        separable: bool = False,
        activation: str = "relu6",
        **default_boxes,
    ):
        own = {} if "objective" in default_boxes else self.learned
        super().__init__(num_classes, **{**own, **default_boxes})
        for name, value, most in (
            ("coarse_levels", coarse_levels, MAX_COARSE_LEVELS),
            ("tower_depth", tower_depth, MAX_TOWER_DEPTH),
        ):
            if not 0 <= value <= most:
                raise ValueError(f"{name} must be 0 to {most}, got {value}.")
        self.channels = channels
        self.coarse_levels = coarse_levels
        self.kernel = kernel
        self.tower_depth = tower_depth
        self.shared_tower = shared_tower
        self.separable = separable
        self.activation = activation

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments on a Core Network: `usual`, at the width of the request.

        Raises:
            UserError: a wish for a scale of the default boxes, which follow from the strides.
        """
        if request.box_scale is not None:
            raise UserError(
                f"The default boxes of {cls.__name__} follow from the strides of its maps: leave "
                "out box_scale; smallest_box sets their size."
            )
        coarsest = request.maps[-1]
        return {
            **cls.usual,
            "channels": request.scale_channels(cls.usual["channels"]),
            "coarse_levels": _halvings(coarsest.stride, cls.coarsest_stride, coarsest.size),
            "anchors": MultiscaleAnchors(smallest=request.smallest_box),
        }

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Adds the pyramid and the predictor; see `SSD.__call__`."""
        return self._predictions(self.pyramid(list(features.values())), image_size)

    def pyramid(self, maps: list) -> list:
        """The levels that are predicted from, finest first, of the Core Network's maps."""
        levels = self.top_down([self._lateral(x, index) for index, x in enumerate(maps)])
        for index in range(len(levels), len(levels) + self.coarse_levels):
            levels.append(self.convolution(f"{PYRAMID}{index}_coarse", strides=2)(levels[-1]))
        return levels

    def top_down(self, laterals: list) -> list:
        """Every map with what the coarser ones know; the coarsest as it is."""
        levels = [laterals[-1]]
        for index in reversed(range(len(laterals) - 1)):
            fine, name = laterals[index], f"{PYRAMID}{index}"
            up = NearestUpsampling(fine.shape[1:3], name=f"{name}_up")(levels[0])
            joined = layers.Add(name=f"{name}_sum")([up, fine])
            levels.insert(0, self.convolution(f"{name}_smooth")(joined))
        return levels

    def _lateral(self, x, index: int):
        return layers.Conv2D(self.channels, 1, name=f"{PYRAMID}{index}_lateral")(x)

    def convolution(self, name: str, strides: int = 1) -> Callable:
        """A convolution with batch norm and activation, a function of a map."""
        linear = self._linear(self.channels, name, strides=strides, use_bias=False)
        return lambda x: self._normalise(linear(x), name)

    def _normalise(self, x, name: str):
        x = BatchNormalization(name=f"{name}_bn")(x)
        return blocks.activate(x, self.activation, f"{name}_{self.activation}")

    def _linear(self, channels: int, name: str, strides: int = 1, **options) -> Callable:
        """A convolution alone, a function of a map that can be called for several levels."""
        window = {"kernel_size": self.kernel, "strides": strides, "padding": "same"}
        if not self.separable:
            return layers.Conv2D(channels, name=name, **window, **options)
        # At first it hands on what it gets. Purely random, as no batch norm follows, it would hand
        # on a seventh of it: a PANLite then learned no class of people in 198 steps.
        depthwise = layers.DepthwiseConv2D(
            use_bias=False,
            depthwise_initializer=NearIdentity(depthwise=True),
            dtype=options.get("dtype"),
            name=f"{name}_depthwise",
            **window,
        )
        pointwise = layers.Conv2D(channels, 1, name=name, **options)
        return lambda x: pointwise(depthwise(x))

    def _predictions(self, maps: list, image_size: tuple[int, int]) -> dict:
        (per_cell, *others) = self.lay_default_boxes(maps, image_size)
        if set(others) - {per_cell}:
            raise ValueError("all levels of a shared predictor need as many default boxes a cell")
        self.class_layers = (f"{PREDICTOR}_classes",)
        box_tower = self._tower("" if self.shared_tower else "box_")
        class_tower = box_tower if self.shared_tower else self._tower("class_")
        box_maps = [box_tower(x, index) for index, x in enumerate(maps)]
        class_maps = (
            box_maps
            if self.shared_tower
            else [class_tower(x, index) for index, x in enumerate(maps)]
        )
        return {
            "boxes": self._head(box_maps, per_cell, 4, "boxes"),
            "classes": self._head(
                class_maps, per_cell, self.columns, "classes", self.objective.class_bias
            ),
        }

    def _tower(self, kind: str) -> Callable:
        """The convolutions before the last one: a function of a map and its level."""
        names = [f"{PREDICTOR}_{kind}tower{depth}" for depth in range(self.tower_depth)]
        shared = [self._linear(self.channels, name, use_bias=False) for name in names]

        def tower(x, level: int):
            for name, linear in zip(names, shared, strict=True):
                x = self._normalise(linear(x), f"{name}_level{level}")
            return x

        return tower

    def _head(self, maps: list, per_cell: int, values: int, name: str, bias: float = 0.0):
        """`values` numbers for each default box of all levels, `[B, A, values]`."""
        dtype = blocks.output_dtype()
        linear = self._linear(
            per_cell * values,
            f"{PREDICTOR}_{name}",
            kernel_initializer=keras.initializers.TruncatedNormal(
                stddev=blocks.HEAD_INITIALIZER_STDDEV
            ),
            bias_initializer=keras.initializers.Constant(bias) if bias else "zeros",
            dtype=dtype,
        )
        flat = [
            layers.Reshape((-1, values), dtype=dtype, name=f"{PREDICTOR}_{name}_level{level}")(
                linear(x)
            )
            for level, x in enumerate(maps)
        ]
        return layers.Concatenate(axis=1, dtype="float32", name=name)(flat)

    def get_config(self) -> dict:
        """Everything needed to build this box network again; plain numbers, lists and dicts."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "coarse_levels": self.coarse_levels,
            "kernel": self.kernel,
            "tower_depth": self.tower_depth,
            "shared_tower": self.shared_tower,
            "separable": self.separable,
            "activation": self.activation,
        }


@keras.saving.register_keras_serializable("ssd_keras")
class FPNLite(FPN):
    """FPN of depthwise-separable convolutions, with one tower of 128 channels.

    Source: TF Object Detection API, ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8.config.
    """

    usual: ClassVar[Mapping] = {"channels": 128, "separable": True, "shared_tower": True}


@keras.saving.register_keras_serializable("ssd_keras")
class PANLite(FPN):
    """A light path aggregation network: a pyramid that goes back from fine to coarse once more.

    Maps come from the Core Network by 1x1 convolutions with batch norm. Behind FPN's way from
    coarse to fine, each map is halved by a strided convolution and added to the next coarser one,
    so that coarse maps know where edges are. Depthwise-separable 5x5 convolutions of 96 channels,
    strides 8 to 64, a tower of two. No weights of others have this form, and it learns SSD's
    objective: with FPN's focal loss it found less (experiments/results, what pyramids learn).

    Source: PANet, arXiv 1803.01534; its light form in PicoDet, arXiv 2111.00902, whose CSP blocks
    and concatenations are plain sums here, as int8 likes them.
    """

    coarsest_stride: ClassVar[int] = 64
    usual: ClassVar[Mapping] = {
        "channels": 96,
        "kernel": 5,
        "tower_depth": 2,
        "separable": True,
        "shared_tower": True,
    }
    learned: ClassVar[Mapping] = {}

    def top_down(self, laterals: list) -> list:
        """FPN's maps, and back from the finest to the coarsest."""
        (finest, *others) = super().top_down(laterals)
        levels = [finest]
        for index, coarse in enumerate(others, start=1):
            levels.append(self._bottom_up(levels[-1], coarse, f"{PYRAMID}{index}_back"))
        return levels

    def _lateral(self, x, index: int):
        name = f"{PYRAMID}{index}_lateral"
        x = layers.Conv2D(self.channels, 1, use_bias=False, name=name)(x)
        return self._normalise(x, name)

    def _bottom_up(self, fine, coarse, name: str):
        """A coarse map with what the finer one knows."""
        size = tuple(coarse.shape[1:3])
        strides = max(1, round(max(fine.shape[1:3]) / max(size)))
        down = self.convolution(f"{name}_down", strides=strides)(fine)
        if tuple(down.shape[1:3]) != size:
            down = NearestUpsampling(size, name=f"{name}_fit")(down)
        joined = layers.Add(name=f"{name}_sum")([down, coarse])
        return self.convolution(f"{name}_smooth")(joined)


def _halvings(stride: int, coarsest: int, size: tuple[int, int]) -> int:
    """How often a map is halved until it has the coarsest stride or is a single cell."""
    to_stride = max(0, int(math.log2(coarsest / stride)))
    return min(to_stride, math.ceil(math.log2(max(size))))
