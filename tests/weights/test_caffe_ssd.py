"""Imported Caffe detectors compute what OpenCV computes from the same files."""

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.importing import import_detector
from tests.weights import caffe_files

pytestmark = pytest.mark.slow

CLASSES = 5
VGG_MEANS = (104.0, 117.0, 123.0)
CASES = {
    "SSD300 VGG16": (lambda: caffe_files.vgg_ssd(300, CLASSES, 0.25), 1.0, VGG_MEANS),
    "SSD512 VGG16": (lambda: caffe_files.vgg_ssd(512, CLASSES, 0.125), 1.0, VGG_MEANS),
    "MobileNet-SSD, published": (
        lambda: caffe_files.mobilenet_ssd(300, CLASSES, 0.25, folded=True),
        0.007843,
        (127.5,) * 3,
    ),
    "MobileNet-SSD, as trained": (
        lambda: caffe_files.mobilenet_ssd(300, CLASSES, 0.25, folded=False),
        0.007843,
        (127.5,) * 3,
    ),
    "DSSD321 ResNet-101": (
        lambda: caffe_files.resnet_ssd(321, CLASSES, 0.125, deconvolution=True),
        1.0,
        VGG_MEANS,
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """(imported detector, OpenCV's net, RGB images, OpenCV's input)."""
    build, scale, means = CASES[request.param]
    net = build()
    prototxt, model = net.write(tmp_path_factory.mktemp("caffe"), CLASSES)
    imported = import_detector(model, prototxt=prototxt)
    images = np.random.default_rng(1).integers(0, 256, (1, net.size, net.size, 3), np.uint8)
    cv2 = caffe_files.opencv()
    theirs = cv2.dnn.readNetFromCaffe(str(prototxt), str(model))
    theirs.setInput(cv2.dnn.blobFromImage(images[0, ..., ::-1], scale, mean=means))
    return imported, theirs, images


def test_raw_outputs_are_those_of_opencv(case):
    imported, theirs, images = case
    codes, logits = theirs.forward(["mbox_loc", "mbox_conf"])
    ours = imported.detector.predict_on_batch(images.astype("float32"))
    codes = codes.reshape(1, -1, 4)[..., [1, 0, 3, 2]]
    logits = logits.reshape(1, -1, CLASSES + 1)
    np.testing.assert_allclose(ours["boxes"], codes, atol=1e-3)
    np.testing.assert_allclose(ours["classes"], logits, atol=1e-3)


def test_default_boxes_are_those_of_opencv(case):
    imported, theirs, _ = case
    boxes = theirs.forward("mbox_priorbox").reshape(2, -1, 4)[0][:, [1, 0, 3, 2]]
    size = imported.detector.image_size[0]
    # Caffe cuts sizes to whole pixels, OpenCV does not.
    np.testing.assert_allclose(
        imported.detector.box_network.anchors, boxes, atol=1e-5 if size == 300 else 1 / size
    )


def test_every_tensor_is_used(case):
    assert case[0].unused == ()


def test_a_network_that_differs_is_refused(tmp_path):
    net = caffe_files.mobilenet_ssd(300, CLASSES, 0.25)
    prototxt, model = net.write(tmp_path, CLASSES)
    text = prototxt.read_text()
    assert "stride: 2 pad: 1 dilation: 1 group: 32" in text
    prototxt.write_text(
        text.replace(
            "stride: 2 pad: 1 dilation: 1 group: 32", "stride: 1 pad: 1 dilation: 1 group: 32", 1
        )
    )
    with pytest.raises(UserError, match="none that we can build"):
        import_detector(model, prototxt=prototxt)


def test_without_its_network_a_caffemodel_is_refused(tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(b"x")
    with pytest.raises(UserError, match="--prototxt"):
        import_detector(tmp_path / "net.caffemodel")
