"""Caffe's ImageNet weights fill VGG16 and ResNet-101."""

import re

import numpy as np
import pytest

from ssd_keras.backbones import resnet101, vgg16
from ssd_keras.errors import UserError
from ssd_keras.weights import load_backbone_weights
from tests.weights import caffe_files

pytestmark = pytest.mark.slow

# Caffe's first pool rounds up and Keras' down; at this size both give the same.
SIZE = 97
WIDTH = 0.125


def resnet():
    """ResNet-101 of Caffe with the names of its authors' file."""
    net = caffe_files.Net(SIZE, pixel_gain=1 / 64)

    def unit(x, name, out, kernel, stride=1, pad=0, dilation=1, relu=True):
        y = net.conv(name, x, out, kernel, stride, pad, dilation, bias=False)
        norm = name.replace("res", "bn", 1) if name.startswith("res") else f"bn_{name}"
        net.batch_norm(y, norm=norm, gain=1.0 if relu else 0.3)
        return net.relu(y) if relu else y

    x = net.pool("pool1", unit("data", "conv1", 8, 7, 2, 3), 3, 2)
    stages = (
        (2, 8, ["a", "b", "c"], 1, 1),
        (3, 16, ["a", *(f"b{i}" for i in range(1, 4))], 2, 1),
        (4, 32, ["a", *(f"b{i}" for i in range(1, 23))], 2, 1),
        (5, 64, ["a", "b", "c"], 1, 2),
    )
    for stage, n, blocks, first_stride, dilation in stages:
        for block in blocks:
            name, shortcut = f"res{stage}{block}", x
            stride = first_stride if block == "a" else 1
            if block == "a":
                shortcut = unit(x, f"{name}_branch1", 4 * n, 1, stride, relu=False)
            x = unit(x, f"{name}_branch2a", n, 1, stride)
            x = unit(x, f"{name}_branch2b", n, 3, 1, dilation, dilation)
            x = unit(x, f"{name}_branch2c", 4 * n, 1, relu=False)
            x = net.relu(net.eltwise(name, shortcut, x))
    return net, ["res3b3", "res5c"], resnet101


def vgg():
    """fc-reduced VGG16, with a classifier that SSD has no use for."""
    net = caffe_files.vgg_ssd(300, 2, WIDTH)
    kept = re.compile(r"conv[1-5]_\d|fc[67]")
    net.blobs = {name: arrays for name, arrays in net.blobs.items() if kept.fullmatch(name)}
    net.blobs["fc8"] = [np.ones((10, 128, 1, 1), "f4"), np.ones(10, "f4")]
    return net, None, vgg16


def test_resnet_computes_what_opencv_computes(tmp_path):
    net, maps, build = resnet()
    (tmp_path / "x.prototxt").write_text("\n".join(net.text))
    (tmp_path / "x.caffemodel").write_bytes(caffe_files.caffemodel(net.blobs))
    backbone = build((SIZE, SIZE), width=WIDTH)
    load_backbone_weights(backbone, tmp_path / "x.caffemodel")
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    cv2 = caffe_files.opencv()
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "x.prototxt"), str(tmp_path / "x.caffemodel"))
    theirs.setInput(cv2.dnn.blobFromImage(image[..., ::-1], mean=(103.939, 116.779, 123.68)))
    expected = theirs.forward([f"{name}/relu" for name in maps])
    found = backbone.predict_on_batch(image[None].astype("float32"))
    for ours, other in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(ours, other.transpose(0, 2, 3, 1), atol=1e-3)


def test_vgg_takes_every_convolution(tmp_path):
    net, _, build = vgg()
    (tmp_path / "x.caffemodel").write_bytes(caffe_files.caffemodel(net.blobs))
    backbone = build((SIZE, SIZE), width=WIDTH)
    report = load_backbone_weights(
        backbone, tmp_path / "x.caffemodel", optional=("block4_conv3_norm",)
    )
    assert len(report.loaded) == 15
    kernel = backbone.get_layer("block3_conv2").get_weights()[0]
    np.testing.assert_array_equal(kernel, net.blobs["conv3_2"][0].transpose(2, 3, 1, 0))


def test_another_network_is_refused(tmp_path):
    (tmp_path / "x.caffemodel").write_bytes(caffe_files.caffemodel({"ip": [np.ones((2, 2), "f4")]}))
    with pytest.raises(UserError, match="neither VGG16 nor ResNet-101"):
        load_backbone_weights(vgg16((SIZE, SIZE), width=WIDTH), tmp_path / "x.caffemodel")
