"""What is chosen for a device, and what is refused."""

import json

import numpy as np
import pytest

from ssd_keras import deploy
from ssd_keras.deploy import tflite
from ssd_keras.deploy.targets import TARGETS, Choices, choose
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.errors import UserError
from tests.deploy.conftest import lively_detector, pictures, raw


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((), ("none", "builtin")),
        ((None, "int8"), ("int8", "builtin")),
        ((None, None, "op"), ("none", "op")),
        (("cpu",), ("int8", "builtin")),
        (("cpu", "none", "none"), ("none", "none")),
        (("gpu",), ("float16", "none")),
        (("gpu", "none"), ("none", "none")),
        (("npu",), ("int8", "none")),
        (("edgetpu",), ("int8", "op")),
        (("edgetpu", None, "none"), ("int8", "none")),
        (("mediapipe",), ("int8", "builtin")),
        (("mediapipe", "float16"), ("float16", "builtin")),
    ],
)
def test_what_is_not_given_is_what_suits_the_target(given, chosen):
    assert choose(*given) == Choices(*chosen)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("gpu", "int8"), "^quantization=int8 does not go with target=gpu: a GPU computes in floa"),
        (("gpu", None, "builtin"), "^postprocess=builtin does not go with target=gpu: .*take none"),
        (("npu", "float16"), "computes in int8 .*; take int8, or give no target"),
        (("edgetpu", None, "builtin"), "take op or none, or give no target"),
        (("mediapipe", None, "none"), "suppresses raw outputs by a rule of its own; take builtin"),
        (("tpu",), "There is no target 'tpu'. Did you mean 'cpu' or 'gpu' or 'npu'"),
        (("cpu", "int4"), "no quantization 'int4'"),
        (("cpu", None, "nms"), "no post-processing 'nms'"),
        ((None, "int4"), "no quantization 'int4'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(given, message):
    with pytest.raises(UserError, match=message):
        choose(*given)


def test_the_names_of_an_option_are_those_of_the_library():
    for suits in TARGETS.values():
        assert set(suits.quantizations) <= set(deploy.QUANTIZATIONS)
        assert set(suits.postprocesses) <= set(deploy.POSTPROCESSES)
        assert suits.reason or len(suits.quantizations + suits.postprocesses) == 7


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_is_made_as_the_target_wants_it(monkeypatch, tmp_path, target):
    wanted = choose(target)
    converted = raw("int8" if wanted.quantization == "int8" else "none")

    def network(detector, decoding, quantization, images):
        assert (images is not None) == (quantization == "int8")
        return TFLiteFile(converted)

    monkeypatch.setattr(tflite, "_network", network)
    calibration = {"calibration_data": pictures(2)} if wanted.quantization == "int8" else {}
    path = lively_detector().export_tflite(tmp_path / "a.tflite", target=target, **calibration)
    file = TFLiteFile(path.read_bytes())
    settings = json.loads(file.files["ssd_keras.json"])
    assert Choices(settings["quantization"], settings["postprocess"]) == wanted
    assert file.signature.signatureKey == b"serving_default"
    (entry,) = file.graph.inputs
    shapes = [tensor.shape for tensor in file.graph.tensors if tensor.shape is not None]
    assert all(np.min(shape, initial=1) > 0 for shape in shapes)
    assert list(file.graph.tensors[entry].shape) == [1, 96, 96, 3]
