"""What we would build for a network of Caffe, told by the kinds and order of its layers."""

from __future__ import annotations

import dataclasses
import functools

from ssd_keras.backbones import mobilenet, resnet101, vgg16
from ssd_keras.box_networks import DSSD, SSD, Extra
from ssd_keras.errors import UserError
from ssd_keras.weights.caffe import Layer, Network
from ssd_keras.weights.caffe_alignment import CONVOLUTIONS, Node, build_nodes, window_of
from ssd_keras.weights.caffe_heads import Heads, read_anchors

# What caffe-ssd subtracts from red, green and blue, and what chuanqi305's MobileNet-SSD divides by.
MEANS = (123.0, 117.0, 104.0)
MOBILENET_SCALE = 0.007843


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A detector that Caffe's may be.

    Attributes:
        name: as in our model names.
        backbone: builds the Core Network.
        box_network: builds the Box Network, from a number of classes.
        prefix: of the names of our heads.
        note: what is done to images, for the user.
        first: Caffe's name of the first convolution.
        input_scale, swap_input: what that convolution is to be multiplied by, and whether its
            inputs are to be reversed, where Caffe does both to the images.
    """

    name: str
    backbone: functools.partial
    box_network: functools.partial
    prefix: str
    note: str
    first: str
    input_scale: float = 1.0
    swap_input: bool = False


def candidates_for(network: Network, heads: Heads) -> list[Candidate]:
    """The detectors that a network may be, the likeliest first.

    Raises:
        UserError: its heads or extra levels are of a kind that we cannot build.
    """
    anchors, variances = read_anchors(network, heads)
    kernels = tuple(
        node.layer.parameter("convolution_param", "kernel_size", 1) for node in heads.boxes
    )
    common = {"anchors": anchors, "variances": variances, "head_kernels": kernels}
    layers = network.layers.values()
    first = next((layer for layer in layers if layer.kind in CONVOLUTIONS), None)
    if first is None:
        raise UserError("The .prototxt has no convolutions.")
    kinds = {layer.kind for layer in layers}
    grouped = any(layer.parameter("convolution_param", "group", 1) > 1 for layer in layers)
    if grouped or kinds & set(CONVOLUTIONS[1:]):
        return [_mobilenet_candidate(network, heads, common, first)]
    if "Eltwise" not in kinds:
        return [_vgg_candidate(network, heads, common, first)]
    return _resnet_candidates(network, heads, common, first)


def _mobilenet_candidate(network, heads, common, first) -> Candidate:
    """chuanqi305's MobileNet-SSD."""
    size = network.image_size
    extras = [_plain_extra(source) for source in heads.sources[2:]]
    return Candidate(
        f"SSD_MobileNet_{size[0]}",
        functools.partial(
            mobilenet, size, width=_width(first, 32), activation="relu", explicit_padding=True
        ),
        functools.partial(SSD, extras=extras, extra_block="conv_bn", activation="relu", **common),
        "level",
        f"BGR images as (x - 127.5) * {MOBILENET_SCALE}: kept in the first convolution",
        first.name,
        input_scale=MOBILENET_SCALE * 127.5,
        swap_input=True,
    )


def _vgg_candidate(network, heads, common, first) -> Candidate:
    """caffe-ssd's SSD300 and SSD512."""
    size, means = network.image_size, _means(network)
    extras = [_plain_extra(source) for source in heads.sources[2:]]
    return Candidate(
        f"SSD_VGG16_{size[0]}",
        functools.partial(vgg16, size, width=_width(first, 64), means=means),
        functools.partial(SSD, extras=extras, extra_block="conv", activation="relu", **common),
        "level",
        _means_note(means),
        first.name,
    )


def _width(first: Layer, channels: int) -> float:
    """The width of a backbone whose first convolution has so many channels at width 1."""
    return first.parameter("convolution_param", "num_output", 0) / channels


def _means_note(means: tuple[float, ...]) -> str:
    return "BGR images with the means {:g}, {:g}, {:g} subtracted".format(*means[::-1])


def _plain_extra(source: Node) -> Extra:
    """An extra level of a 1x1 and another convolution, each with whatever follows it."""
    shrink = _convolution_of(source)
    reduce = _convolution_of(shrink.inputs[0])
    window = window_of(shrink.layer)
    return Extra(
        reduce.layer.parameter("convolution_param", "num_output"),
        shrink.layer.parameter("convolution_param", "num_output"),
        window.kernel,
        window.stride,
        window.padding or "valid",
    )


def _convolution_of(node: Node) -> Node:
    while node.kind in ("ReLU", "Scale", "BatchNorm") and node.inputs:
        node = node.inputs[0]
    if node.kind not in CONVOLUTIONS or not node.inputs:
        raise UserError(f"'{node.layer.name}' ({node.kind}) is not where an extra level should be.")
    return node


def _resnet_candidates(network, heads, common, first) -> list[Candidate]:
    """SSD and DSSD on ResNet-101, each with the prediction modules it may have."""
    size, means = network.image_size, _means(network)
    extras = [_residual_extra(node) for node in _residual_levels(network, len(heads.priors) - 2)]
    settings = {**common, "extras": extras, "extra_block": "residual", "activation": "relu"}
    box_network, prefix, kind = SSD, "level", "SSD"
    deconvolutions = network.of_kind("Deconvolution")
    if deconvolutions:
        box_network, prefix, kind = DSSD, "fused", "DSSD"
        operations = {
            str(layer.parameter("eltwise_param", "operation", "SUM"))
            for layer in network.of_kind("Eltwise")
        }
        settings["fusion"] = "product" if operations & {"PROD", "0"} else "sum"
        settings["decoder_channels"] = deconvolutions[0].parameter(
            "convolution_param", "num_output"
        )
    modules = {"a": {}}
    if _is_residual_block(heads.sources[0]):
        module = _residual_extra(heads.sources[0])
        modules = {"c": {"module_channels": (module.reduced, module.channels)}, "a": {}}
    return [
        Candidate(
            f"{kind}_ResNet101_{size[0]}",
            functools.partial(resnet101, size, width=_width(first, 64), means=means),
            functools.partial(box_network, prediction_module=module, **settings, **options),
            prefix,
            f"{_means_note(means)}; prediction modules of kind '{module}'",
            first.name,
        )
        for module, options in modules.items()
    ]


def _residual_levels(network: Network, count: int) -> list[Node]:
    """The ends of the residual blocks that make the extra levels: those that shrink their map.

    The blocks of ResNet and of prediction modules begin with a 1x1 convolution instead.
    """
    nodes = build_nodes(network)
    blocks = [node for node in dict.fromkeys(nodes.values()) if _is_residual_block(node)]
    return [node for node in blocks if _residual_extra(node).kernel > 1][:count]


def _is_residual_block(end: Node) -> bool:
    try:
        _residual_extra(end)
    except UserError:
        return False
    return True


def _residual_extra(end: Node) -> Extra:
    """A bottleneck block as an extra level, from the ReLU that ends it."""
    if end.kind != "ReLU" or not end.inputs or end.inputs[0].kind != "Eltwise":
        raise UserError(f"'{end.layer.name}' ({end.kind}) does not end a residual block.")
    eltwise = end.inputs[0]
    for side in eltwise.inputs:
        chain = []
        node = side
        while len(chain) < 3 and node.kind in ("ReLU", "Scale", "BatchNorm", *CONVOLUTIONS):
            if node.kind in CONVOLUTIONS:
                chain.append(node.layer)
            if not node.inputs:
                break
            node = node.inputs[0]
        if len(chain) == 3 and window_of(chain[1]).kernel == 3 and window_of(chain[0]).kernel == 1:
            window = window_of(chain[2])
            return Extra(
                chain[2].parameter("convolution_param", "num_output"),
                chain[0].parameter("convolution_param", "num_output"),
                window.kernel,
                window.stride,
                window.padding or "valid",
            )
    raise UserError(f"'{eltwise.layer.name}' does not end a residual block.")


def _means(network: Network) -> tuple[float, ...]:
    """The means of red, green and blue: those of the data layer, or caffe-ssd's."""
    for layer in network.layers.values():
        values = layer.values("transform_param", "mean_value")
        if len(values) == 3:
            return tuple(float(value) for value in values[::-1])
    return MEANS
