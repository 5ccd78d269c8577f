"""The parts that box networks share: extra levels, prediction modules, heads, fusion."""

from __future__ import annotations

import functools

import keras
from keras import layers

from ssd_keras.backbones.normalization import BatchNormalization
from ssd_keras.box_networks.extras import Extra

HEAD_INITIALIZER_STDDEV = 0.03

EXTRA_BLOCKS = ("conv", "conv_bn", "separable", "residual")
PREDICTION_MODULES = ("a", "b", "c", "d")
FUSIONS = ("product", "sum", "skip")
UPSAMPLINGS = ("deconvolution", "bilinear")


def conv_bn(
    x,
    channels: int,
    kernel: int,
    name: str,
    *,
    activation: str | None,
    offset: str = "zeros",
    **options,
):
    """Convolution without bias ("same" by default), batch norm from `offset` on, activation."""
    options = {"padding": "same", "use_bias": False, **options}
    x = layers.Conv2D(channels, kernel, name=name, **options)(x)
    x = BatchNormalization(beta_initializer=offset, name=f"{name}_bn")(x)
    return activate(x, activation, f"{name}_relu")


def activate(x, activation: str | None, name: str):
    """ "relu", "relu6" or nothing."""
    if activation is None:
        return x
    return layers.ReLU(6.0 if activation == "relu6" else None, name=name)(x)


def extra_level(x, extra: Extra, block: str, activation: str, name: str):
    """An extra level of one of the kinds `EXTRA_BLOCKS`.

    "conv" (with biases, VGG) and "conv_bn" are a 1x1 and a strided convolution; in "separable"
    (SSDLite) the second is depthwise-separable; "residual" is a bottleneck with a projection
    (ResNet, caffe-dssd).
    """
    if block == "residual":
        return _residual_extra(x, extra, activation, name)
    reduce, shrink = f"{name}_reduce", f"{name}_conv"
    # One cell stays one cell with any stride. With 2, TensorFlow's bfloat16 gradient on a CPU
    # leaves the weights that meet no cell unwritten, which are not even numbers then.
    one_cell = extra.padding == "same" and tuple(x.shape[1:3]) == (1, 1)
    window = {"strides": 1 if one_cell else extra.stride, "padding": extra.padding}
    if block == "conv":
        x = layers.Conv2D(extra.reduced, 1, activation=activation, name=reduce)(x)
        x, window["padding"] = _pad(x, extra.padding, name)
        return layers.Conv2D(
            extra.channels, extra.kernel, activation=activation, name=shrink, **window
        )(x)
    x = conv_bn(x, extra.reduced, 1, reduce, activation=activation)
    x, window["padding"] = _pad(x, extra.padding, name)
    if block == "separable":
        x = depthwise_bn(x, extra.kernel, f"{name}_depthwise", activation=activation, **window)
        return conv_bn(x, extra.channels, 1, shrink, activation=activation)
    return conv_bn(x, extra.channels, extra.kernel, shrink, activation=activation, **window)


def _pad(x, padding, name: str):
    if isinstance(padding, str):
        return x, padding
    return layers.ZeroPadding2D(padding, name=f"{name}_pad")(x), "valid"


def depthwise_bn(x, kernel: int, name: str, *, activation: str, **options):
    """Depthwise convolution without bias ("same" by default), batch norm, activation."""
    options = {"padding": "same", "use_bias": False, **options}
    x = layers.DepthwiseConv2D(kernel, name=name, **options)(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return activate(x, activation, f"{name}_relu")


def _residual_extra(x, extra: Extra, activation: str, name: str):
    x, padding = _pad(x, extra.padding, name)
    window = {"strides": extra.stride, "padding": padding}
    shortcut = conv_bn(
        x, extra.channels, extra.kernel, f"{name}_shortcut", activation=None, **window
    )
    x = conv_bn(x, extra.reduced, extra.kernel, f"{name}_1", activation=activation, **window)
    x = conv_bn(x, extra.reduced, 3, f"{name}_2", activation=activation)
    x = conv_bn(x, extra.channels, 1, f"{name}_3", activation=None)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, activation, f"{name}_relu")


def prediction_module(x, kind: str, channels: tuple[int, int], activation: str, name: str):
    """What stands between a map and its heads.

    Args:
        x: the map `[B, H, W, C]`.
        kind: "a" nothing; "b" a residual block with the map itself as shortcut; "c" one with a
            1x1 convolution on the shortcut; "d" two of the kind "c".
        channels: of the bottleneck and of the block's output ("b" keeps the map's).
        activation: "relu" or "relu6".
        name: prefix of the layers.

    Source: DSSD paper, arXiv 1701.06659, figure 2; caffe-dssd, CreateMultiBoxHead.
    """
    if kind == "a":
        return x
    if kind == "d":
        x = prediction_module(x, "c", channels, activation, f"{name}_first")
        return prediction_module(x, "c", channels, activation, f"{name}_second")
    bottleneck, wide = channels
    if kind == "b":
        wide, shortcut = x.shape[-1], x
    else:
        shortcut = conv_bn(x, wide, 1, f"{name}_shortcut", activation=None)
    x = conv_bn(x, bottleneck, 1, f"{name}_1", activation=activation)
    x = conv_bn(x, bottleneck, 3, f"{name}_2", activation=activation)
    x = conv_bn(x, wide, 1, f"{name}_3", activation=None)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, activation, f"{name}_relu")


def output_dtype() -> str | None:
    """The dtype of the layers that predict; None: that of the policy.

    Scores before softmax may be large (140,000 was seen) and do no harm there, but float16 ends at
    65,504, and what overflows once is not a number in all losses after it. bfloat16 reaches as far
    as float32.
    """
    return "float32" if keras.config.dtype_policy().compute_dtype == "float16" else None


def head(
    x,
    per_cell: int,
    values: int,
    *,
    kernel: int,
    separable: bool,
    activation: str,
    name: str,
    bias: float = 0.0,
):
    """Predicts `values` numbers for each of `per_cell` boxes of each cell, at first around `bias`.

    Returns:
        `[B, H * W * per_cell, values]`.
    """
    if separable:
        x = depthwise_bn(x, kernel, f"{name}_depthwise", activation=activation)
        kernel = 1
    x = layers.Conv2D(
        per_cell * values,
        kernel,
        padding="same",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=HEAD_INITIALIZER_STDDEV),
        bias_initializer=keras.initializers.Constant(bias) if bias else "zeros",
        dtype=output_dtype(),
        name=name,
    )(x)
    return layers.Reshape((-1, values), dtype=output_dtype(), name=f"{name}_flat")(x)


def convolve(x, channels: int, kernel: int, name: str, *, separable: bool, inner: str, **options):
    """`conv_bn`, or where it is separable a depthwise one, activated by `inner`, and a 1x1."""
    if separable:
        x = depthwise_bn(x, kernel, f"{name}_depthwise", activation=inner)
        kernel = 1
    return conv_bn(x, channels, kernel, name, **options)


def fuse(
    coarse,
    fine,
    channels: int,
    fusion: str,
    upsampling: str,
    activation: str,
    name: str,
    *,
    separable: bool = False,
):
    """DSSD's deconvolution module: a coarse map, enlarged, meets a finer one.

    Args:
        coarse: `[B, h, w, C]`, the fused map of the level above.
        fine: `[B, H, W, c]`, the map of this level.
        channels: of the result.
        fusion: "product" or "sum", element by element, or "skip": side by side, and a 1x1
            convolution over both.
        upsampling: "deconvolution", learned, or "bilinear", cheaper.
        activation: "relu" or "relu6".
        name: prefix of the layers.
        separable: depthwise-separable 3x3 convolutions.

    Returns:
        `[B, H, W, channels]`.

    Raises:
        ValueError: no deconvolution leads from the one size to the other.

    Source: DSSD paper, arXiv 1701.06659, figure 3; caffe-dssd, ssd_pascal_resnet_deconv_321.py.
    """
    size = tuple(fine.shape[1:3])
    if upsampling == "bilinear":
        up = layers.Resizing(*size, interpolation="bilinear", name=f"{name}_resize")(coarse)
    else:
        up = _deconvolution(coarse, size, channels, f"{name}_deconvolution")
    # Where both factors begin around 0, each spoils the other's gradient and little is learned for
    # hundreds of steps. So the coarse map begins as an open gate, around 1.
    offset = "ones" if fusion == "product" else "zeros"
    conv = functools.partial(convolve, separable=separable, inner=activation)
    up = conv(up, channels, 3, f"{name}_up", activation=None, offset=offset)
    skip = conv(fine, channels, 3, f"{name}_skip1", activation=activation)
    skip = conv(skip, channels, 3, f"{name}_skip2", activation=None)
    if fusion == "skip":
        both = layers.Concatenate(name=f"{name}_both")([up, skip])
        return conv_bn(both, channels, 1, f"{name}_skip", activation=activation)
    join = layers.Multiply if fusion == "product" else layers.Add
    return activate(join(name=f"{name}_{fusion}")([up, skip]), activation, f"{name}_relu")


def _deconvolution(x, size: tuple[int, int], channels: int, name: str):
    windows = [deconvolution_window(a, b) for a, b in zip(x.shape[1:3], size, strict=True)]
    kernel, strides, padding = zip(*windows, strict=True)
    same = {"padding": "same", "output_padding": 0} if set(padding) == {"same"} else {}
    x = layers.Conv2DTranspose(channels, kernel, strides=strides, name=name, **same)(x)
    if tuple(x.shape[1:3]) == size:
        return x
    # One axis is padded and the other is not: "same" cuts one cell at both ends.
    edges = [(1, 1) if kind == "same" else (0, 0) for kind in padding]
    return layers.Cropping2D(edges, name=f"{name}_crop")(x)


def deconvolution_window(before: int, after: int) -> tuple[int, int, str]:
    """(kernel, stride, padding) of the deconvolution from one side length to another.

    1 -> n and 3 -> 5 have stride 1; 2n to 2n + 2 have stride 2 and kernel 2 to 4; 2n - 1 has
    stride 2 and kernel 3 with "same" padding; n + 1 and n + 2, along the longer side of a map whose
    shorter one goes to one cell, have stride 1.

    Raises:
        ValueError: there is none.
    """
    if before == 1 or (before <= 3 and after == 2 * before - 1):
        return after - before + 1, 1, "valid"
    if 0 <= after - 2 * before <= 2:
        return 2 + after - 2 * before, 2, "valid"
    if after == 2 * before - 1:
        return 3, 2, "same"
    if after - before in (1, 2):
        return after - before + 1, 1, "valid"
    raise ValueError(
        f"no deconvolution makes {after} cells of {before}; choose an image size whose maps halve "
        "from level to level, or upsampling='bilinear'"
    )
