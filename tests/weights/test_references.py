"""Networks that their authors' own code made, with random weights, and what that code gives."""

import lzma
import tarfile

import numpy as np
import pytest

from ssd_keras import boxes
from ssd_keras.resizing import resize
from ssd_keras.weights import import_detector
from ssd_keras.weights.api_checkpoint_keys import names_of_keys

pytestmark = pytest.mark.slow

API = (
    "ssd_inception_v2_w025",
    "ssdlite_mobilenet_v2",
    "ssdlite_mobiledet_cpu_320x320",
    "ssd_mobilenet_v3_large",
    "ssd_mobilenet_v3_small",
)


def frozen_graph(shared, name, folder):
    with tarfile.open(shared(f"zoo/{name}.tar.xz")) as archive:
        archive.extract(f"{name}/frozen_inference_graph.pb", folder, filter="data")
    return folder / name / "frozen_inference_graph.pb"


@pytest.fixture(scope="module", params=API)
def api(request, shared, tmp_path_factory):
    """(what was imported, what the TF Object Detection API gives)."""
    path = frozen_graph(shared, request.param, tmp_path_factory.mktemp("zoo"))
    return import_detector(path), np.load(shared(f"zoo/{request.param}.npz"))


# What they hold, and the model each becomes, whatever the archive is called.
TF2 = {
    "ssd_mobilenet_v2_320x320": "SSD_MobileNetV2_300",
    "ssd_mobilenet_v2_fpnlite_320x320": "FPNLite_MobileNetV2_320",
    "ssd_mobilenet_v1_fpn_640x640_w025": "FPN_MobileNet_640",
}


@pytest.fixture(scope="module", params=TF2)
def tf2(request, shared, tmp_path_factory):
    """(name, the unpacked archive, what the TF Object Detection API gives)."""
    folder = tmp_path_factory.mktemp("tf2")
    with tarfile.open(shared(f"zoo/{request.param}.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    wanted = np.load(shared(f"zoo/{request.param}.npz"))
    return request.param, folder / request.param, wanted


def assert_near(found, wanted, share=1e-4):
    wanted = wanted.reshape(found.shape)
    np.testing.assert_allclose(found, wanted, atol=share * np.abs(wanted).max())


def test_raw_outputs_and_default_boxes_are_the_apis(api):
    imported, wanted = api
    # The network's input is -1..1 there.
    seen = wanted["preprocessed"].reshape(1, *imported.detector.image_size, 3)
    outputs = imported.detector.predict_on_batch((seen + 1) * 127.5)
    assert_near(outputs["boxes"], wanted["box_encodings"])
    assert_near(outputs["classes"], wanted["class_logits_with_background"])
    anchors = imported.detector.box_network.anchors
    np.testing.assert_allclose(anchors, wanted["anchors_yxyx_normalized"], atol=1e-5)
    assert imported.unused == ()


def test_detections_in_a_picture_of_another_size_are_the_apis(api):
    imported, wanted = api
    assert imported.detector.resize == "corner"
    found = imported.detector.detect(wanted["image"])
    assert len(found) == 100
    np.testing.assert_allclose(found.scores, wanted["frozen_detection_scores"].ravel(), atol=1e-4)
    boxes = wanted["frozen_detection_boxes"].reshape(-1, 4)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-4)
    classes = wanted["frozen_detection_classes"].ravel()
    np.testing.assert_array_equal(found.labels + 1, classes)


@pytest.mark.parametrize("kind", ["checkpoint", "saved_model"])
def test_tf2_files_give_the_apis_raw_outputs_and_default_boxes(tf2, kind):
    name, folder, wanted = tf2
    imported = import_detector(folder / kind)
    detector = imported.detector
    assert detector.name == TF2[name]
    # A picture of the network's own size is not resized, and its input is not kept.
    pixels = wanted["image"]
    if "preprocessed" in wanted:
        pixels = (wanted["preprocessed"] + 1) * 127.5
    outputs = detector.predict_on_batch(pixels.reshape(1, *detector.image_size, 3))
    assert_near(outputs["boxes"], wanted["box_encodings"])
    assert_near(outputs["classes"], wanted["class_logits_with_background"])
    anchors = detector.box_network.anchors
    np.testing.assert_allclose(anchors, wanted["anchors_yxyx_normalized"], atol=1e-5)
    assert imported.unused == ()


def test_tf2_files_find_what_the_api_finds(tf2):
    _, folder, wanted = tf2
    detector = import_detector(folder / "checkpoint").detector
    assert detector.resize == "corner"
    found = detector.detect(wanted["image"])
    assert len(found) == 100
    scores = wanted["savedmodel_detection_scores"].ravel()
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)
    # Near ties may have changed places, as between two runs of the API itself.
    gaps = np.abs(np.diff(scores, prepend=2, append=-1)) > 1e-4
    clear = gaps[:-1] & gaps[1:]
    assert clear.mean() > 0.3
    boxes = wanted["savedmodel_detection_boxes"].reshape(-1, 4)
    np.testing.assert_allclose(found.boxes[clear], boxes[clear], atol=1e-4)
    classes = wanted["savedmodel_detection_classes"].ravel()
    np.testing.assert_array_equal(found.labels[clear] + 1, classes[clear])


def test_a_tf2_archive_is_imported_as_it_is(shared):
    name = "ssd_mobilenet_v1_fpn_640x640_w025"
    imported = import_detector(shared(f"zoo/{name}.tar.xz"))
    assert imported.detector.name == TF2[name]
    assert imported.suppression["iou_threshold"] == 0.6


@pytest.mark.parametrize("name", TF2)
def test_every_key_of_a_tf2_checkpoint_has_a_name(shared, name):
    """What older files call their variables beside is not known."""
    rows = shared(f"zoo/{name}.variables.txt").read_text().splitlines()
    keys = {row.split("\t")[0] for row in rows}
    assert keys - names_of_keys(keys).keys() == {"save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH"}


def test_torchvisions_ssd300(shared, tmp_path):
    wanted = np.load(shared("zoo/ssd300_vgg16.npz"))
    path = tmp_path / "x.pth"
    path.write_bytes(lzma.decompress(shared("zoo/ssd300_vgg16.pth.xz").read_bytes()))
    detector = import_detector(path).detector
    assert detector.resize == "half_pixel"
    outputs = detector.predict_on_batch(resize(wanted["image"], (300, 300))[None])
    assert_near(outputs["boxes"], wanted["box_encodings"][..., [1, 0, 3, 2]])
    assert_near(outputs["classes"], wanted["class_logits"])
    # It cuts boxes to the picture before it compares them, which tells after the surest.
    found = detector.detect(wanted["image"])
    np.testing.assert_allclose(found.scores[:50], wanted["detection_scores"][:50], atol=1e-4)


@pytest.fixture(scope="module")
def ssdlite(shared, tmp_path_factory):
    """(what was imported, what torchvision gives)."""
    path = tmp_path_factory.mktemp("zoo") / "x.pth"
    name = "ssdlite320_mobilenet_v3_large"
    path.write_bytes(lzma.decompress(shared(f"zoo/{name}.pth.xz").read_bytes()))
    return import_detector(path), np.load(shared(f"zoo/{name}.npz"))


def test_torchvisions_ssdlite(ssdlite):
    imported, wanted = ssdlite
    detector = imported.detector
    assert detector.name == "SSDLite_MobileNetV3LargeReduced_320"
    assert detector.resize == "half_pixel"
    outputs = detector.predict_on_batch(resize(wanted["image"], (320, 320))[None])
    assert_near(outputs["boxes"], wanted["box_encodings"][..., [1, 0, 3, 2]])
    assert_near(outputs["classes"], wanted["class_logits"])
    anchors = wanted["anchors_xyxy_pixels"][:, [1, 0, 3, 2]] / 320
    np.testing.assert_allclose(detector.box_network.anchors, anchors, atol=1e-5)
    assert all(name.endswith("num_batches_tracked") for name in imported.unused)


def test_torchvisions_ssdlite_detects_the_same(ssdlite):
    imported, wanted = ssdlite
    detector = imported.detector
    decoded, scores = detector.box_network.decode(
        detector.predict_on_batch(resize(wanted["image"], (320, 320))[None])
    )
    # torchvision cuts boxes to the picture before it compares them, we afterwards.
    inside = np.clip(decoded, 0.0, 1.0)
    found = {key: np.asarray(value[0]) for key, value in suppress(inside, scores, detector).items()}
    np.testing.assert_allclose(found["scores"], wanted["detection_scores"], atol=1e-4)
    np.testing.assert_array_equal(found["labels"] + 1, wanted["detection_labels"])
    height, width = wanted["image"].shape[:2]
    boxes = wanted["detection_boxes"][:, [1, 0, 3, 2]] / [height, width, height, width]
    np.testing.assert_allclose(found["boxes"], boxes, atol=1e-4)


def suppress(decoded, scores, detector):
    """Detections by the detector's own rule."""
    return boxes.suppress(decoded, scores, **detector.suppression.as_dict())
