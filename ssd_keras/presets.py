"""The tables of Core Networks and of Box Networks: a row each, with all that is known of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import keras

from ssd_keras import backbones
from ssd_keras.backbones import applications, kerashub
from ssd_keras.backbones.inception_v3 import renumbered_inception_weights
from ssd_keras.backbones.mobilenet_v3 import renamed_mobilenet_v3_weights
from ssd_keras.backbones.vgg import convolutional_vgg_weights
from ssd_keras.box_networks import DSSD, FPN, SSD, YOLO, BoxNetwork, FPNLite, PANLite
from ssd_keras.box_networks import extras as extra_levels
from ssd_keras.box_networks import published_anchors as anchors

# Names with published or pinned numbers (models.csv). Any other <BoxNetwork>_<Backbone>_<size> of
# the tables below can be built as well.
MODELS = (
    "SSD_VGG16_300",
    "SSD_VGG16_512",
    "SSD_MobileNet_300",
    "SSDLite_MobileNet_300",
    "SSD_MobileNetV2_300",
    "SSDLite_MobileNetV2_300",
    "DSSDLite_MobileNetV2_300",
    "SSDLite_MobileNetV3Large_320",
    "SSDLite_MobileNetV3LargeReduced_320",
    "SSDLite_MobileNetV3Small_320",
    "SSDLite_MobileNetV4ConvSmall_320",
    "SSDLite_MobileDetCPU_320",
    "SSDLite_MobileDetEdgeTPU_320",
    "SSDLite_MobileDetDSP_320",
    "SSD_Inception_500",
    "SSD_ResNet101_321",
    "SSD_ResNet101_513",
    "DSSD_ResNet101_321",
    "DSSD_ResNet101_513",
    "DSSD_MobileNet_300",
    "DSSD_VGG16_300",
    "FPNLite_MobileNetV2_320",
    "FPNLite_MobileNetV2_640",
    "FPN_MobileNet_640",
    "FPN_ResNet50_640",
    "PANLite_MobileNetV2_320",
    "YOLO_Inception_500",
)


def _identity(arrays: dict) -> dict:
    return arrays


# Without batch norms, steps of the usual size break what was learned before.
USUAL_RATE, RATE_WITHOUT_NORMS = 1e-3, 1e-4


@dataclasses.dataclass(frozen=True)
class Core:
    """A row of the table of Core Networks: what it is, and what it asks of box networks.

    Attributes:
        build: `(image_size, width=...) -> keras.Model`, an image to feature maps.
        application: `(width) -> keras.Model`, Keras' own model with its ImageNet weights.
        imagenet_widths: widths that ImageNet weights are published for, if they are.
        adapt: Keras' weights, layer -> arrays, to those of `build`.
        without_weights: layers that ImageNet weights may leave as they are.
        sizes: smallest and largest image side it is offered for.
        stage_ends: arguments of `build` that give the maps at the ends of its stages, which a
            pyramid joins, where SSD looks at others.
        finest_strides: strides that the finest map can have, the usual one first; `build` takes
            them as `finest_stride`. Empty where there is no choice.
        extras: the extra levels, from the shorter side of its last map.
        extra_block: what extra levels are made of, one of `blocks.EXTRA_BLOCKS`.
        activation: of the layers of the box network.
        anchors: from a `Pyramid` to a rule for default boxes.
        head_kernels: kernel size of the heads.
        prediction_module: "a" to "d".
        decoder_channels: channels of DSSD's fused maps.
        recipe: the published recipe it is trained by, of `training.defaults.RECIPES`.
        fine_tuning_rate: the highest learning rate of AdamW on a small set, for 8 images.
        has_widths: whether `build` takes a `width` other than 1.
        dense: made of dense convolutions, which gain from a processor's bfloat16 instructions; the
            depthwise ones of the others lose. tests/benchmarks/training.py measures both.
    """

    build: Callable[..., keras.Model]
    application: Callable[[float], keras.Model] | None = None
    imagenet_widths: tuple[float, ...] = (1.0,)
    adapt: Callable[[dict], dict] = _identity
    without_weights: tuple[str, ...] = ()
    sizes: tuple[int, int] = (96, 1024)
    stage_ends: Mapping = dataclasses.field(default_factory=dict)
    finest_strides: tuple[int, ...] = ()
    extras: Callable[[int], list] = extra_levels.extras_to_one_cell
    extra_block: str = "conv_bn"
    activation: str = "relu"
    anchors: Callable = anchors.scale_anchors
    head_kernels: int = 3
    prediction_module: str = "a"
    decoder_channels: int = 512
    recipe: str = "ssd_vgg"
    fine_tuning_rate: float = USUAL_RATE
    dense: bool = False
    has_widths: bool = True


# What all cores of depthwise convolutions ask of box networks, as in the TF Object Detection API.
_MOBILE = {
    "finest_strides": (16, 8),
    "extras": extra_levels.four_extras,
    "activation": "relu6",
    "head_kernels": 1,
    "decoder_channels": 128,
    "recipe": "ssd_mobile",
}


def _mobilenet_v3(size: str, **variant) -> Core:
    """A row of MobileNet v3, "large" or "small"."""
    keras_model = {"large": "MobileNetV3Large", "small": "MobileNetV3Small"}[size]

    def application(width: float) -> keras.Model:
        return getattr(keras.applications, keras_model)(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet", **variant
        )

    return Core(
        build=functools.partial(backbones.mobilenet_v3, size=size, **variant),
        application=None if variant.get("reduced_tail") else application,
        imagenet_widths=(1.0,) if variant else (0.75, 1.0),
        adapt=renamed_mobilenet_v3_weights,
        **_MOBILE,
    )


def _mobiledet(target: str) -> Core:
    """A row of MobileDet, whose detectors have the extra levels of the MobileNets."""
    return Core(
        build=functools.partial(backbones.mobiledet, target=target),
        **_MOBILE,
    )


_RESNET50 = {
    "finest_strides": (16, 8),
    "extras": extra_levels.four_extras,
    "recipe": "ssd_resnet",
    "dense": True,
}
CORES = {
    "VGG16": Core(
        build=backbones.vgg16,
        # With its fully connected layers, from which fc6 and fc7 are cut.
        application=lambda width: keras.applications.VGG16(weights="imagenet"),
        adapt=convolutional_vgg_weights,
        without_weights=("block4_conv3_norm", "fc6", "fc7"),
        extras=extra_levels.vgg_extras,
        extra_block="conv",
        anchors=anchors.vgg_anchors,
        fine_tuning_rate=RATE_WITHOUT_NORMS,
        dense=True,
    ),
    "MobileNet": Core(
        build=backbones.mobilenet,
        application=lambda width: keras.applications.MobileNet(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet"
        ),
        imagenet_widths=(0.25, 0.5, 0.75, 1.0),
        **_MOBILE,
    ),
    # For timm's weights, which are better than Keras'.
    "MobileNetTorch": Core(
        build=functools.partial(backbones.mobilenet, explicit_padding=True, epsilon=1e-5),
        **_MOBILE,
    ),
    "MobileNetV2": Core(
        build=backbones.mobilenet_v2,
        application=lambda width: keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet"
        ),
        imagenet_widths=(0.35, 0.5, 0.75, 1.0),
        stage_ends={"stage_ends": True},
        **_MOBILE,
    ),
    "MobileNetV3Large": _mobilenet_v3("large"),
    "MobileNetV3LargeMinimalistic": _mobilenet_v3("large", minimalistic=True),
    "MobileNetV3LargeReduced": _mobilenet_v3("large", reduced_tail=True),
    "MobileNetV3Small": _mobilenet_v3("small"),
    "MobileNetV3SmallMinimalistic": _mobilenet_v3("small", minimalistic=True),
    "MobileNetV3SmallReduced": _mobilenet_v3("small", reduced_tail=True),
    "MobileNetV4ConvSmall": Core(
        build=backbones.mobilenet_v4,
        **_MOBILE,
    ),
    "MobileDetCPU": _mobiledet("cpu"),
    "MobileDetEdgeTPU": _mobiledet("edgetpu"),
    "MobileDetDSP": _mobiledet("dsp"),
    "Inception": Core(
        build=backbones.inception_v3,
        application=lambda width: keras.applications.InceptionV3(
            include_top=False, weights="imagenet"
        ),
        adapt=renumbered_inception_weights,
        anchors=anchors.inception_anchors,
        dense=True,
    ),
    "InceptionV2": Core(
        build=backbones.inception_v2,
        finest_strides=(16, 8),
        extras=extra_levels.four_extras,
        activation="relu6",
    ),
    "ResNet50": Core(
        build=backbones.resnet50,
        application=lambda width: keras.applications.ResNet50(
            include_top=False, weights="imagenet"
        ),
        **_RESNET50,
    ),
    "ResNet50V15": Core(
        build=functools.partial(backbones.resnet50, version="v1.5"),
        **_RESNET50,
    ),
    "ResNet101": Core(
        build=backbones.resnet101,
        application=lambda width: keras.applications.ResNet101(
            include_top=False, weights="imagenet"
        ),
        extras=extra_levels.resnet_extras,
        extra_block="residual",
        anchors=anchors.resnet_anchors,
        prediction_module="c",
        recipe="ssd_resnet",
        dense=True,
    ),
}


def find_core(name: str, backbone: Callable | str | None = None) -> Core | None:
    """The row of a Core Network.

    Args:
        name: its name, the middle part of a model's; one of `CORES`, or of `keras.applications`.
        backbone: the user's own function, where it is (`FILE.py:FUNCTION`), or a backbone of
            KerasHub (`kerashub:PRESET`), instead of the name; the row has the usual values.

    Returns:
        The row, or None if there is no such network.

    Raises:
        UserError: there is no such file or function.
    """
    if kerashub.is_kerashub(backbone):
        build = functools.partial(backbones.kerashub_backbone, place=backbone)
        rate = RATE_WITHOUT_NORMS if kerashub.is_vgg(backbone) else USUAL_RATE
        return Core(build, finest_strides=kerashub.FINEST_STRIDES, fine_tuning_rate=rate)
    if isinstance(backbone, str):
        backbone = backbones.backbone_from_file(backbone)
    if backbone is not None:
        return Core(backbone)
    return CORES.get(name) or _application(name)


def _application(name: str) -> Core | None:
    """The row of a network of `keras.applications` that has none of its own."""
    if applications.find_application(name) is None:
        return None
    return Core(
        build=functools.partial(applications.application_backbone, name=name),
        has_widths=applications.has_widths(name),
        application=functools.partial(applications.application_with_weights, name),
        adapt=applications.renumbered_weights,
        finest_strides=(16, 8),
        fine_tuning_rate=RATE_WITHOUT_NORMS if name in applications.WITHOUT_NORMS else USUAL_RATE,
    )


@dataclasses.dataclass(frozen=True)
class BoxNetworkPreset:
    """A row of the table of Box Networks.

    Attributes:
        build: the class.
        settings: what it has instead of the core's.
        recipe: a published recipe of its own, instead of the core's.
        joins_maps: it looks at the ends of the core's stages, from the finest stride on that the
            core offers.
        has_box_scale: whether `box_scale` chooses between sizes of its default boxes.
    """

    build: type[BoxNetwork]
    settings: Mapping = dataclasses.field(default_factory=dict)
    recipe: str | None = None
    joins_maps: bool = False
    has_box_scale: bool = True

    def core_options(self, core: Core, finest_stride: int | None = None) -> dict:
        """The arguments of `Core.build` for this box network, and the user's stride if he has one.

        A core without a row (the user's own) takes none.
        """
        options = {} if finest_stride is None else {"finest_stride": finest_stride}
        if not self.joins_maps:
            return options
        finest = {"finest_stride": min(core.finest_strides)} if core.finest_strides else {}
        return {**finest, **core.stage_ends, **options}


# Depthwise-separable extra levels and heads.
_LITE = {"extra_block": "separable", "separable_heads": True, "head_kernels": 3}
BOX_NETWORKS = {
    "SSD": BoxNetworkPreset(SSD),
    "SSDLite": BoxNetworkPreset(SSD, _LITE),
    "DSSD": BoxNetworkPreset(DSSD),
    "DSSDLite": BoxNetworkPreset(DSSD, {**_LITE, "separable_decoder": True}),
    "FPN": BoxNetworkPreset(FPN, joins_maps=True, has_box_scale=False),
    "FPNLite": BoxNetworkPreset(FPNLite, joins_maps=True, has_box_scale=False),
    "PANLite": BoxNetworkPreset(PANLite, joins_maps=True, has_box_scale=False),
    "YOLO": BoxNetworkPreset(YOLO, recipe="yolo", has_box_scale=False),
}
