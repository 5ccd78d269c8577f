"""Writes Caffe networks with random weights: a .prototxt and a .caffemodel."""

import struct

import numpy as np
import pytest


def opencv():
    """OpenCV with its reader of Caffe networks, or a skip: version 5 has none."""
    needed = "needs OpenCV 4, which runs Caffe networks: pip install 'opencv-contrib-python<5'"
    cv2 = pytest.importorskip("cv2", reason=needed, exc_type=ImportError)
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip(needed)
    return cv2


def varint(value):
    """A number in base 128."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    """A field that holds bytes, text or a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, legacy=False):
    """A BlobProto, with the four sides of old files or with a shape."""
    data = field(5, np.asarray(array, "<f4").tobytes())
    if legacy:
        sides = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(i, n) for i, n in enumerate(sides, start=1)) + data
    return field(7, field(1, b"".join(varint(n) for n in array.shape))) + data


def caffemodel(blobs, v1=False):
    """The bytes of a .caffemodel; `v1` writes layers as Caffe did until 2014."""
    layer, name, inner = (2, 4, 6) if v1 else (100, 1, 7)
    return field(1, "random") + b"".join(
        field(
            layer,
            field(name, key) + b"".join(field(inner, blob(array, legacy=v1)) for array in arrays),
        )
        for key, arrays in blobs.items()
    )


def double_blob(array):
    """A BlobProto of doubles."""
    data = struct.pack(f"<{array.size}d", *array.ravel())
    return field(7, field(1, b"".join(varint(n) for n in array.shape))) + field(8, data)


class Net:
    """A network that grows layer by layer, with random weights beside it."""

    def __init__(self, size, seed=0, pixel_gain=1.0):
        self.size = size
        self.pixel_gain = pixel_gain
        self.rng = np.random.default_rng(seed)
        self.text = ['name: "random"\ninput: "data"\ninput_dim: 1\ninput_dim: 3']
        self.text.append(f"input_dim: {size}\ninput_dim: {size}")
        self.blobs = {}
        self.channels = {"data": 3}
        self.ends = {"loc": [], "conf": [], "priorbox": []}

    def layer(self, name, kind, bottoms, tops, body=""):
        """Adds a layer as text."""
        lines = [f'layer {{ name: "{name}" type: "{kind}"']
        lines += [f'bottom: "{blob}"' for blob in bottoms]
        lines += [f'top: "{blob}"' for blob in tops]
        self.text.append("\n  ".join([*lines, body]) + "\n}")

    def conv(self, name, bottom, out, kernel, stride=1, pad=0, dilation=1, group=1, bias=True):
        """Adds a convolution; returns its blob."""
        fan_in = self.channels[bottom] // group
        scale = np.sqrt(2 / (fan_in * kernel * kernel))
        # Pixels are large; outputs should not be.
        scale *= self.pixel_gain if bottom == "data" else 1
        arrays = [self.rng.normal(0, scale, (out, fan_in, kernel, kernel)).astype("f4")]
        if bias:
            arrays.append(self.rng.normal(0, 0.1, out).astype("f4"))
        self.blobs[name] = arrays
        self.channels[name] = out
        self.layer(
            name,
            "Convolution",
            [bottom],
            [name],
            f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} "
            f"pad: {pad} dilation: {dilation} group: {group} bias_term: {str(bias).lower()} }}",
        )
        return name

    def batch_norm(self, blob, eps=1e-5, gain=1.0, norm=None):
        """Adds a batch norm and its scale in place."""
        n = self.channels[blob]
        norm, scale = norm or f"{blob}/bn", norm and norm.replace("bn", "scale", 1)
        scale = scale or f"{blob}/scale"
        factor = np.array([0.5], "f4")
        mean = self.rng.normal(0, 0.2, n).astype("f4")
        variance = self.rng.uniform(0.5, 2, n).astype("f4")
        self.blobs[norm] = [mean * factor, variance * factor, factor]
        self.blobs[scale] = [
            gain * self.rng.uniform(0.5, 1.5, n).astype("f4"),
            self.rng.normal(0, 0.2, n).astype("f4"),
        ]
        self.layer(norm, "BatchNorm", [blob], [blob], f"batch_norm_param {{ eps: {eps} }}")
        self.layer(scale, "Scale", [blob], [blob], "scale_param { bias_term: true }")
        return blob

    def relu(self, blob):
        """Adds a ReLU in place."""
        self.layer(f"{blob}/relu", "ReLU", [blob], [blob])
        return blob

    def pool(self, name, bottom, kernel, stride, pad=0):
        """Adds a max pool."""
        self.channels[name] = self.channels[bottom]
        self.layer(
            name,
            "Pooling",
            [bottom],
            [name],
            f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: {stride} pad: {pad} }}",
        )
        return name

    def normalize(self, name, bottom, scale=20.0):
        """Adds an L2 normalisation over the channels."""
        n = self.channels[name] = self.channels[bottom]
        self.blobs[name] = [self.rng.uniform(0.9, 1.1, n).astype("f4") * scale]
        self.layer(
            name,
            "Normalize",
            [bottom],
            [name],
            "norm_param { across_spatial: false scale_filler { type: 'constant' value: 20 } "
            "channel_shared: false }",
        )
        return name

    def eltwise(self, name, first, second, operation="SUM"):
        """Adds a sum or a product of two blobs."""
        self.channels[name] = self.channels[first]
        self.layer(
            name,
            "Eltwise",
            [first, second],
            [name],
            f"eltwise_param {{ operation: {operation} }}",
        )
        return name

    def deconv(self, name, bottom, out, kernel, stride):
        """Adds a deconvolution."""
        fan_in = self.channels[bottom]
        scale = np.sqrt(2 / fan_in)
        self.blobs[name] = [
            self.rng.normal(0, scale, (fan_in, out, kernel, kernel)).astype("f4"),
            self.rng.normal(0, 0.1, out).astype("f4"),
        ]
        self.channels[name] = out
        self.layer(
            name,
            "Deconvolution",
            [bottom],
            [name],
            f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} }}",
        )
        return name

    def heads(self, source, classes, per_cell, kernel, prior, name=None):
        """Adds the heads and the default boxes of a level."""
        name = name or source
        for kind, values in (("loc", 4), ("conf", classes + 1)):
            head = f"{name}_mbox_{kind}"
            self.conv(head, source, per_cell * values, kernel, pad=kernel // 2)
            self.layer(
                f"{head}_perm",
                "Permute",
                [head],
                [f"{head}_perm"],
                "permute_param { order: 0 order: 2 order: 3 order: 1 }",
            )
            self.layer(
                f"{head}_flat",
                "Flatten",
                [f"{head}_perm"],
                [f"{head}_flat"],
                "flatten_param { axis: 1 }",
            )
            self.ends[kind].append(f"{head}_flat")
        box = f"{name}_mbox_priorbox"
        body = "flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
        self.layer(
            box, "PriorBox", [source, "data"], [box], f"prior_box_param {{ {prior} {body} }}"
        )
        self.ends["priorbox"].append(box)

    def finish(self, classes):
        """Adds what follows the heads, and returns the text."""
        for kind, blobs in self.ends.items():
            axis = 2 if kind == "priorbox" else 1
            self.layer(
                f"mbox_{kind}",
                "Concat",
                blobs,
                [f"mbox_{kind}"],
                f"concat_param {{ axis: {axis} }}",
            )
        self.layer(
            "mbox_conf_reshape",
            "Reshape",
            ["mbox_conf"],
            ["mbox_conf_reshape"],
            f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes + 1} }} }}",
        )
        self.layer(
            "mbox_conf_softmax",
            "Softmax",
            ["mbox_conf_reshape"],
            ["mbox_conf_softmax"],
            "softmax_param { axis: 2 }",
        )
        self.layer(
            "mbox_conf_flatten",
            "Flatten",
            ["mbox_conf_softmax"],
            ["mbox_conf_flatten"],
            "flatten_param { axis: 1 }",
        )
        self.layer(
            "detection_out",
            "DetectionOutput",
            ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"],
            ["detection_out"],
            f"detection_output_param {{ num_classes: {classes + 1} share_location: true "
            "background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 400 } "
            "code_type: CENTER_SIZE keep_top_k: 200 confidence_threshold: 0.01 }",
        )
        return "\n".join(self.text) + "\n"

    def write(self, folder, classes):
        """Writes both files; returns their paths."""
        prototxt, model = folder / "net.prototxt", folder / "net.caffemodel"
        prototxt.write_text(self.finish(classes))
        model.write_bytes(caffemodel(self.blobs))
        return prototxt, model


VGG_LEVELS = {
    300: (
        (8, 16, 32, 64, 100, 300),
        (30, 60, 111, 162, 213, 264, 315),
        ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    ),
    512: (
        (8, 16, 32, 64, 128, 256, 512),
        (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
        ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    ),
}


def vgg_ssd(size=300, classes=20, width=1.0):
    """caffe-ssd's SSD300 or SSD512 with VGG16."""
    net = Net(size, pixel_gain=1 / 64)

    def wide(n):
        return round(n * width)

    x = "data"
    for block, (n, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for i in range(1, count + 1):
            x = net.relu(net.conv(f"conv{block}_{i}", x, wide(n), 3, pad=1))
        x = net.pool(f"pool{block}", x, *((3, 1, 1) if block == 5 else (2, 2)))
    x = net.relu(net.conv("fc6", x, wide(1024), 3, pad=6, dilation=6))
    x = net.relu(net.conv("fc7", x, wide(1024), 1))
    sources = [net.normalize("conv4_3_norm", "conv4_3"), x]
    plain = [(3, 2, 1)] * (2 if size == 300 else 4)
    extras = plain + ([(3, 1, 0)] * 2 if size == 300 else [(4, 1, 1)])
    for i, (kernel, stride, pad) in enumerate(extras):
        reduced, out = (256, 512) if i == 0 else (128, 256)
        x = net.relu(net.conv(f"conv{6 + i}_1", x, wide(reduced), 1))
        x = net.relu(net.conv(f"conv{6 + i}_2", x, wide(out), kernel, stride, pad))
        sources.append(x)
    steps, sizes, ratios = VGG_LEVELS[size]
    for source, step, low, high, ratio in zip(
        sources, steps, sizes[:-1], sizes[1:], ratios, strict=True
    ):
        listed = " ".join(f"aspect_ratio: {r}" for r in ratio)
        prior = f"min_size: {low} max_size: {high} {listed} step: {step} offset: 0.5"
        net.heads(source, classes, 2 + 2 * len(ratio), 3, prior)
    return net


def mobilenet_ssd(size=300, classes=20, width=1.0, folded=True):
    """chuanqi305's MobileNet-SSD, as published (`folded`) or as trained, with batch norms."""
    net = Net(size)

    def wide(n):
        return round(n * width)

    def unit(name, bottom, out, kernel, stride=1, group=1):
        x = net.conv(name, bottom, out, kernel, stride, kernel // 2, group=group, bias=folded)
        return net.relu(x if folded else net.batch_norm(x))

    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    channels = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    x = unit("conv0", "data", wide(32), 3, 2)
    sources = []
    for i, (stride, n) in enumerate(zip(strides, channels, strict=True), start=1):
        x = unit(f"conv{i}/dw", x, net.channels[x], 3, stride, group=net.channels[x])
        x = unit(f"conv{i}", x, wide(n), 1)
        if i in (11, 13):
            sources.append(x)
    for i, (reduced, out) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), start=14):
        x = unit(f"conv{i}_1", x, wide(reduced), 1)
        x = unit(f"conv{i}_2", x, wide(out), 3, 2)
        sources.append(x)
    mins = (60, 105, 150, 195, 240, 285, 300)
    for i, source in enumerate(sources):
        if i == 0:
            prior, per_cell = "min_size: 60 aspect_ratio: 2", 3
        else:
            prior = f"min_size: {mins[i]} max_size: {mins[i + 1]} aspect_ratio: 2 aspect_ratio: 3"
            per_cell = 6
        net.heads(source, classes, per_cell, 1, prior)
    return net


def resnet_ssd(size=321, classes=20, width=1.0, deconvolution=False, module=True):
    """caffe-dssd's SSD321 or DSSD321 with ResNet-101."""
    net = Net(size, pixel_gain=1 / 64)

    def wide(n):
        return round(n * width)

    def unit(name, bottom, out, kernel, stride=1, pad=0, dilation=1, relu=True):
        x = net.conv(name, bottom, out, kernel, stride, pad, dilation, bias=False)
        x = net.batch_norm(x, eps=1e-3, gain=1.0 if relu else 0.3)
        return net.relu(x) if relu else x

    def block(name, x, inner, out, kernel=1, stride=1, dilation=1, project=True):
        shortcut = x
        if project:
            shortcut = unit(f"{name}_branch1", x, out, kernel, stride, relu=False)
        x = unit(f"{name}_branch2a", x, inner, kernel, stride)
        x = unit(f"{name}_branch2b", x, inner, 3, 1, dilation, dilation)
        x = unit(f"{name}_branch2c", x, out, 1, relu=False)
        return net.relu(net.eltwise(name, shortcut, x))

    x = net.pool("pool1", unit("conv1", "data", wide(64), 7, 2, 3), 3, 2)
    pyramid = []
    for stage, (n, count, stride, dilation) in enumerate(
        ((64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 2, 1), (512, 3, 1, 2)), start=2
    ):
        for i in range(count):
            first = i == 0
            x = block(
                f"res{stage}_{i}",
                x,
                wide(n),
                wide(4 * n),
                stride=stride if first else 1,
                dilation=dilation,
                project=first,
            )
        if stage in (3, 5):
            pyramid.append(x)
    for i, (kernel, stride) in enumerate(((2, 2), (2, 2), (3, 1), (3, 1)), start=6):
        x = block(f"res{i}", x, wide(256), wide(1024), kernel, stride)
        pyramid.append(x)
    if deconvolution:
        fused = [pyramid[-1]]
        for i, (kernel, stride) in enumerate(((3, 1), (3, 1), (2, 2), (2, 2), (2, 2)), start=1):
            up = net.deconv(f"deconv{i}", fused[0], wide(512), kernel, stride)
            up = unit(f"up{i}", up, wide(512), 3, pad=1, relu=False)
            skip = unit(f"skip{i}_1", pyramid[-1 - i], wide(512), 3, pad=1)
            skip = unit(f"skip{i}_2", skip, wide(512), 3, pad=1, relu=False)
            fused.insert(0, net.relu(net.eltwise(f"fused{i}", up, skip, "PROD")))
        pyramid = fused
    mins = (32.1, 64.2, 121.98, 179.76, 237.54, 295.32, 353.1)
    for i, source in enumerate(pyramid):
        x = block(f"pm{i}", source, wide(256), wide(1024)) if module else source
        prior = f"min_size: {mins[i]} max_size: {mins[i + 1]}"
        prior += " aspect_ratio: 1.6 aspect_ratio: 2 aspect_ratio: 3"
        step = (8, 16, 32, 64, 64, 321)[i]
        net.heads(x, classes, 8, 5 if i < 2 else 3, f"{prior} step: {step} offset: 0.5")
    return net
