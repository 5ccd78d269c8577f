"""SSD300 from torchvision's and pierluigiferrari's files computes what other engines compute."""

import h5py
import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.importing import import_detector
from tests.weights import caffe_files, torch_file

pytestmark = pytest.mark.slow

CLASSES = 5
WIDTH = 0.25
SOURCES = ("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2")

TORCH_KEYS = {
    **{
        name: f"backbone.features.{i}"
        for name, i in (
            *(("conv1_1", 0), ("conv1_2", 2), ("conv2_1", 5), ("conv2_2", 7)),
            *(("conv3_1", 10), ("conv3_2", 12), ("conv3_3", 14)),
            *(("conv4_1", 17), ("conv4_2", 19), ("conv4_3", 21)),
        )
    },
    **{f"conv5_{i}": f"backbone.extra.0.{2 * i - 1}" for i in (1, 2, 3)},
    "fc6": "backbone.extra.0.7.1",
    "fc7": "backbone.extra.0.7.3",
    **{f"conv{5 + i}_1": f"backbone.extra.{i}.0" for i in range(1, 5)},
    **{f"conv{5 + i}_2": f"backbone.extra.{i}.2" for i in range(1, 5)},
    **{
        f"{source}_mbox_{kind}": f"head.{name}_head.module_list.{i}"
        for i, source in enumerate(SOURCES)
        for kind, name in (("loc", "regression"), ("conf", "classification"))
    },
}


def state_dict(blobs):
    """Caffe's blobs under torchvision's names; both keep kernels as [out, in, h, w]."""
    arrays = {"backbone.scale_weight": blobs["conv4_3_norm"][0]}
    for name, key in TORCH_KEYS.items():
        arrays[f"{key}.weight"], arrays[f"{key}.bias"] = blobs[name]
    return arrays


def write_h5(path, blobs):
    """Caffe's blobs in an .h5 file of Keras 2."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in blobs]
        for name, arrays in blobs.items():
            group = file.create_group(name)
            names = [f"{name}/{part}:0".encode() for part in ("kernel", "bias")[: len(arrays)]]
            group.attrs["weight_names"] = names
            for part, array in zip(names, arrays, strict=True):
                group[part.decode()] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Random weights, and OpenCV's engine with them."""
    cv2 = caffe_files.opencv()
    net = caffe_files.vgg_ssd(300, CLASSES, WIDTH)
    prototxt, model = net.write(tmp_path_factory.mktemp("net"), CLASSES)
    return net, cv2.dnn.readNetFromCaffe(str(prototxt), str(model))


IMAGES = np.random.default_rng(1).integers(0, 256, (1, 300, 300, 3), np.uint8)


@pytest.fixture(scope="module", params=["torchvision", "pierluigiferrari"])
def case(request, net, tmp_path_factory):
    """(imported detector, OpenCV's engine, its input)."""
    net, engine = net
    folder = tmp_path_factory.mktemp("weights")
    image = IMAGES[0].astype("float32")
    if request.param == "torchvision":
        (folder / "x.pth").write_bytes(torch_file.pth(state_dict(net.blobs)))
        imported = import_detector(folder / "x.pth")
        image = image - 255 * np.array([0.48235, 0.45882, 0.40784], "f4")
    else:
        write_h5(folder / "x.h5", net.blobs)
        imported = import_detector(folder / "x.h5")
        image = (image - np.array([123, 117, 104], "f4"))[..., ::-1]
    return imported, engine, image.transpose(2, 0, 1)[None]


def test_raw_outputs_are_those_of_opencv(case):
    imported, engine, image = case
    engine.setInput(np.ascontiguousarray(image))
    codes, logits = engine.forward(["mbox_loc", "mbox_conf"])
    ours = imported.detector.predict_on_batch(IMAGES.astype("float32"))
    np.testing.assert_allclose(ours["boxes"], codes.reshape(1, -1, 4)[..., [1, 0, 3, 2]], atol=1e-4)
    np.testing.assert_allclose(ours["classes"], logits.reshape(1, -1, CLASSES + 1), atol=1e-4)


def test_every_tensor_is_used(case):
    assert case[0].unused == ()


def test_torchvisions_default_boxes_have_sides_of_the_image_at_most(case):
    anchors = case[0].detector.box_network.anchors
    sides = anchors[:, 2:] - anchors[:, :2]
    if case[0].origin.startswith("torchvision"):
        assert sides.max() == pytest.approx(1.0)
        # DefaultBoxGenerator's first boxes: (.5 * 8 / 300, .07) and sqrt(.07 * .15).
        np.testing.assert_allclose(
            anchors[0], np.array([4 / 300 - 0.035] * 2 + [4 / 300 + 0.035] * 2), atol=1e-6
        )
        np.testing.assert_allclose(sides[1], [(0.07 * 0.15) ** 0.5] * 2, atol=1e-6)
    else:
        np.testing.assert_allclose(sides[0], [0.1, 0.1], atol=1e-6)


def test_pytorch_computes_the_same(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    blobs = caffe_files.vgg_ssd(300, CLASSES, WIDTH).blobs
    weights = {name: torch.tensor(array) for name, array in state_dict(blobs).items()}
    torch.save(weights, tmp_path / "x.pth")
    imported = import_detector(tmp_path / "x.pth")
    image = torch.tensor(IMAGES.transpose(0, 3, 1, 2)).float() / 255
    mean = torch.tensor([0.48235, 0.45882, 0.40784]).reshape(1, 3, 1, 1)
    codes, logits = ssd300_vgg16(torch, weights, (image - mean) * 255)
    ours = imported.detector.predict_on_batch(IMAGES.astype("float32"))
    np.testing.assert_allclose(ours["boxes"], codes[..., [1, 0, 3, 2]], atol=1e-4)
    np.testing.assert_allclose(ours["classes"], logits, atol=1e-4)


def ssd300_vgg16(torch, weights, x):
    """torchvision's ssd300_vgg16 as a function of its state dict."""
    functional = torch.nn.functional

    def conv(x, key, **options):
        return functional.conv2d(x, weights[f"{key}.weight"], weights[f"{key}.bias"], **options)

    def relu_conv(x, key, **options):
        return torch.relu(conv(x, key, **options))

    for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21):
        if i in (5, 10, 17):
            x = functional.max_pool2d(x, 2, 2, ceil_mode=i == 17)
        x = relu_conv(x, f"backbone.features.{i}", padding=1)
    maps = [functional.normalize(x) * weights["backbone.scale_weight"].reshape(1, -1, 1, 1)]
    x = functional.max_pool2d(x, 2, 2)
    for i in (1, 3, 5):
        x = relu_conv(x, f"backbone.extra.0.{i}", padding=1)
    x = functional.max_pool2d(x, 3, 1, padding=1)
    x = relu_conv(x, "backbone.extra.0.7.1", padding=6, dilation=6)
    maps.append(relu_conv(x, "backbone.extra.0.7.3"))
    for i, options in enumerate(({"stride": 2, "padding": 1},) * 2 + ({},) * 2, start=1):
        x = relu_conv(maps[-1], f"backbone.extra.{i}.0")
        maps.append(relu_conv(x, f"backbone.extra.{i}.2", **options))
    found = []
    for head, columns in (("regression", 4), ("classification", CLASSES + 1)):
        flat = [
            conv(x, f"head.{head}_head.module_list.{i}", padding=1)
            .permute(0, 2, 3, 1)
            .reshape(1, -1, columns)
            for i, x in enumerate(maps)
        ]
        found.append(torch.cat(flat, dim=1).numpy())
    return found


def test_other_weights_are_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(torch_file.pth({"layer1.weight": np.ones((3, 3), "f4")}))
    with pytest.raises(
        UserError, match=r"x\.pth.*not of torchvision's ssd300_vgg16.*layer1\.weight"
    ):
        import_detector(tmp_path / "x.pth")
