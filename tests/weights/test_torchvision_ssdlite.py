"""SSDLite of torchvision: names of its modules, and files that are not quite it."""

import numpy as np
import pytest

from ssd_keras.backbones import mobilenet_v3
from ssd_keras.box_networks import SSD
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.weights import torchvision_ssdlite
from ssd_keras.weights.importing import import_detector
from tests.weights import torch_file


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("backbone.features.0.0", "conv"),
        ("backbone.features.0.1.block.0", "expanded_conv_depthwise"),
        ("backbone.features.0.1.block.1", "expanded_conv_project"),
        ("backbone.features.0.2.block.2", "expanded_conv_1_project"),
        ("backbone.features.0.4.block.3", "expanded_conv_3_project"),
        ("backbone.features.0.13", "expanded_conv_12_expand"),
        ("backbone.features.1.0.1", "expanded_conv_12_depthwise"),
        ("backbone.features.1.0.3", "expanded_conv_12_project"),
        ("backbone.features.1.2.block.0", "expanded_conv_14_expand"),
        ("backbone.features.1.3", "conv_1"),
        ("backbone.features.1.4", None),
        ("backbone.features.0.4.block.9", None),
        ("backbone.extra.3.1", "extra4_depthwise"),
        ("head.regression_head.module_list.5.0", "level5_boxes_depthwise"),
        ("backbone.layer1", None),
    ],
)
def test_each_module_has_one_layer(module, layer):
    found = torchvision_ssdlite._place(f"{module}.0", "weight")
    assert found == (None if layer is None else (layer, "weight"))
    found = torchvision_ssdlite._place(f"{module}.1", "running_var")
    assert found == (None if layer is None else (f"{layer}_bn", "variance"))


def test_squeeze_and_excitation_and_heads_have_their_names():
    place = torchvision_ssdlite._place
    name = "expanded_conv_3_squeeze_excite_conv"
    assert place("backbone.features.0.4.block.2.fc1", "bias") == (name, "bias")
    assert place("backbone.features.0.4.block.2.fc2", "bias") == (f"{name}_1", "bias")
    head = "head.classification_head.module_list.2.1"
    assert place(head, "weight") == ("level2_classes", "weight")


@pytest.mark.slow
def test_it_has_the_parameters_that_torchvision_prints():
    network = SSD(
        90,
        anchors=torchvision_ssdlite._anchors(),
        extra_block="separable",
        separable_heads=True,
        head_kernels=3,
    )
    backbone = mobilenet_v3((320, 320), reduced_tail=True)
    detector = Detector(backbone, network, [f"class {i}" for i in range(90)])
    assert sum(np.prod(w.shape) for w in detector.trainable_weights) == 3_440_060


STEM = {"backbone.features.0.0.0.weight": np.ones((16, 3, 3, 3), "f4")}
HEADS = {
    f"head.classification_head.module_list.{level}.1.bias": np.ones(24, "f4") for level in range(6)
}
LAST = "backbone.features.1.3.1"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (STEM, "heads do not agree in the number of classes"),
        ({**STEM, "backbone.layer1.0.weight": np.ones((1, 1), "f4")}, "is not of torchvision's"),
        ({**STEM, **HEADS}, "last convolution has 0 channels"),
        ({**STEM, **HEADS, f"{LAST}.weight": np.ones(480, "f4")}, "channels of .* cannot be right"),
    ],
)
def test_what_is_not_it_is_refused(arrays, message, tmp_path):
    (tmp_path / "x.pth").write_bytes(torch_file.pth(arrays))
    with pytest.raises(UserError, match=message):
        import_detector(tmp_path / "x.pth")
