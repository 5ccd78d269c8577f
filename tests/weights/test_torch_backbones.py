"""ImageNet weights of PyTorch's projects fill the Core Networks that are built after them."""

import json

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.presets import CORES
from ssd_keras.weights import load_backbone_weights
from ssd_keras.weights.imagenet import PUBLISHED
from ssd_keras.weights.safetensors_file import read_safetensors
from tests.weights.torch_file import pth

NORM = ("weight", "bias", "running_mean", "running_var")


def resnet50(modules):
    """torchvision's modules: name -> the layer of ours."""
    modules |= {"conv1": "conv1_conv", "bn1": "conv1_bn"}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            ours = f"conv{stage + 1}_block{block + 1}"
            for number in (1, 2, 3):
                modules[f"layer{stage}.{block}.conv{number}"] = f"{ours}_{number}_conv"
                modules[f"layer{stage}.{block}.bn{number}"] = f"{ours}_{number}_bn"
        modules[f"layer{stage}.0.downsample.0"] = f"conv{stage + 1}_block1_0_conv"
        modules[f"layer{stage}.0.downsample.1"] = f"conv{stage + 1}_block1_0_bn"
    return modules


def mobilenet(modules):
    modules |= {"conv_stem": "conv1", "bn1": "conv1_bn"}
    number = 0
    for stage, blocks in enumerate((1, 2, 2, 6, 2)):
        for block in range(blocks):
            number += 1
            theirs = f"blocks.{stage}.{block}"
            modules |= {
                f"{theirs}.conv_dw": f"conv_dw_{number}",
                f"{theirs}.bn1": f"conv_dw_{number}_bn",
                f"{theirs}.conv_pw": f"conv_pw_{number}",
                f"{theirs}.bn2": f"conv_pw_{number}_bn",
            }
    return modules


def mobilenet_v4(modules):
    modules |= {"conv_stem": "conv_stem_conv", "bn1": "conv_stem_bn"}
    for stage, block in ((0, 0), (0, 1), (1, 0), (1, 1), (4, 0)):
        modules[f"blocks.{stage}.{block}.conv"] = f"blocks_{stage}_{block}_conv"
        modules[f"blocks.{stage}.{block}.bn1"] = f"blocks_{stage}_{block}_bn"
    parts = {
        (2, 0): ("dw_start", "dw_mid"), (2, 5): ("dw_start",),
        (3, 0): ("dw_start", "dw_mid"), (3, 1): ("dw_start", "dw_mid"),
    }  # fmt: skip
    for stage in (2, 3):
        for block in range(6):
            for part in ("pw_exp", "pw_proj", *parts.get((stage, block), ("dw_mid",))):
                for kind in ("conv", "bn"):
                    modules[f"blocks.{stage}.{block}.{part}.{kind}"] = (
                        f"blocks_{stage}_{block}_{part}_{kind}"
                    )
    return modules


NETWORKS = {
    "ResNet50V15": resnet50,
    "MobileNetTorch": mobilenet,
    "MobileNetV4ConvSmall": mobilenet_v4,
}


def built(core, seed):
    """A narrow Core Network, each of whose weights is a number of its own."""
    keras.utils.set_random_seed(seed)
    model = CORES[core].build((96, 96), width=0.25)
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.5, 1, w.shape).astype("float32") for w in model.weights])
    return model


def as_torch(core, model):
    """The weights of a Core Network under PyTorch's names and in its layout, with a classifier."""
    tensors = {"classifier.weight": np.ones((5, 8), "float32"), "fc.bias": np.ones(5, "float32")}
    for theirs, ours in NETWORKS[core]({}).items():
        arrays = model.get_layer(ours).get_weights()
        if len(arrays) == 4:
            tensors |= {f"{theirs}.{n}": a for n, a in zip(NORM, arrays, strict=True)}
            tensors[f"{theirs}.num_batches_tracked"] = np.int64(3)
        else:
            depthwise = isinstance(model.get_layer(ours), keras.layers.DepthwiseConv2D)
            order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
            tensors[f"{theirs}.weight"] = np.ascontiguousarray(arrays[0].transpose(order))
    return tensors


def safetensors(tensors):
    """The bytes of a .safetensors file."""
    kinds = {"float32": "F32", "float16": "F16", "int64": "I64"}
    header, values = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        array = np.asarray(array)
        header[name] = {
            "dtype": kinds.get(str(array.dtype), str(array.dtype)),
            "shape": list(array.shape),
            "data_offsets": [len(values), len(values) + array.nbytes],
        }
        values += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


@pytest.mark.parametrize(
    ("core", "suffix"),
    [
        ("ResNet50V15", ".pth"),
        ("MobileNetTorch", ".safetensors"),
        ("MobileNetV4ConvSmall", ".safetensors"),
    ],
)
def test_every_layer_gets_its_weights(core, suffix, tmp_path):
    origin, ours = built(core, 1), built(core, 2)
    tensors = as_torch(core, origin)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pth(tensors) if suffix == ".pth" else safetensors(tensors))
    report = load_backbone_weights(ours, path)
    assert not report.missing
    assert not report.unused
    for a, b in zip(ours.get_weights(), origin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "name", "first"),
    [
        ("MobileNetTorch", "mobilenetv1_100.ra4_e3600_r224_in1k", "conv1"),
        ("MobileNetV4ConvSmall", "mobilenetv4_conv_small.e2400_r224_in1k", "conv_stem_conv"),
    ],
)
def test_a_published_name_fetches_the_file_of_others(tmp_path, monkeypatch, core, name, first):
    keras.utils.set_random_seed(0)
    origin = CORES[core].build((96, 96))
    (tmp_path / "mirror").mkdir()
    file = tmp_path / "mirror" / f"{name}.safetensors"
    file.write_bytes(safetensors(as_torch(core, origin)))
    monkeypatch.setenv("SSD_KERAS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    detector = ssd_keras.create(f"SSD_{core}_96", ["cat"], backbone_weights="imagenet")
    np.testing.assert_array_equal(
        detector.backbone.get_layer(first).get_weights()[0],
        origin.get_layer(first).get_weights()[0],
    )


def test_without_the_file_it_is_said_which_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SSD_KERAS_MIRROR", str(tmp_path))
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"put https://.*resnet50-11ad3fa6\.pth into '.*imagenet/"):
        PUBLISHED["ResNet50V15"].arrays()


def test_another_network_is_named(tmp_path):
    (tmp_path / "vgg.safetensors").write_bytes(
        safetensors({"features.0.weight": np.ones((4, 3, 3, 3), "float32")})
    )
    with pytest.raises(UserError, match="none of the networks that are known of PyTorch"):
        load_backbone_weights(built("MobileNetTorch", 0), tmp_path / "vgg.safetensors")


FINE = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(2, "float16")}


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(FINE))
    found = read_safetensors(path)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], FINE["a"])
    assert found["b"].dtype == np.float16


def changed(**entry):
    data = safetensors({"a": FINE["a"]})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header["a"] |= entry
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + FINE["a"].tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff" * 8 + b"{}", "header cannot have"),
        (safetensors(FINE)[:30], "header cannot have"),
        (safetensors(FINE)[:-1], "'b' lies outside"),
        (safetensors({}), "no tensors"),
        ((2).to_bytes(8, "little") + b"[]", "no table"),
        ((2).to_bytes(8, "little") + b"{x", "safetensors"),
        (changed(dtype="BF16"), "holds BF16"),
        (changed(shape=[2, 4]), "another size"),
        (changed(shape=[1 << 40, 1 << 40]), "not possible"),
        (changed(data_offsets=[-4, 20]), "lies outside"),
        (changed(data_offsets=None), "safetensors"),
        (safetensors({"a": np.array([np.nan], "float32")}), "'a'"),
    ],
)
def test_a_damaged_file_is_refused(content, reason, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_safetensors(path)
