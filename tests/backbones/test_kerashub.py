"""Backbones of KerasHub become Core Networks by a preset's name, its folder, or as objects."""

import json
import sys

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.backbones import feature_maps, from_kerashub, kerashub_backbone
from ssd_keras.errors import UserError

networks = pytest.importorskip("tests.backbones.kerashub_networks", exc_type=ImportError)
hub = networks.hub
SIZE = (64, 96)
# How a network is made, and KerasHub's names of its maps of stride 8, 16 and 32; None where it has
# none. The last one is the output, behind what follows its pyramid.
NETWORKS = {
    "ResNet": (lambda: networks.resnet("basic_block"), ("P3", "P4", "output")),
    "VGG": (networks.vgg, (None, None, "output")),
    "ResNetV2": (lambda: networks.resnet("bottleneck_block", True), ("P3", "P4", "output")),
    "ResNetVD": (
        lambda: networks.resnet("bottleneck_block_vd", stem=(8, 8, 8)),
        ("P3", "P4", "output"),
    ),
    "DenseNet": (networks.densenet, ("P3", "P4", "output")),
    "Xception": (networks.xception, (None, None, "output")),
    "MobileNet": (networks.mobilenet, (None, None, "output")),
    "EfficientNet": (lambda: networks.efficientnet(1), ("P3", "P4", "output")),
    "EfficientNetV2": (lambda: networks.efficientnet(2), ("P3", "P4", "output")),
    "CSPDarkNet": (networks.csp_darknet, ("P4", "P5", "output")),
    "HGNetV2": (networks.hgnet, ("stage2", "stage3", "stage4")),
}
QUICK = ("ResNet", "VGG")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


def pixels(count=1):
    images = np.random.default_rng(0).uniform(0, 255, (count, *SIZE, 3))
    return images.astype("float32")


def their_maps(network, images):
    """What KerasHub's own network computes, by its own names."""
    outputs = dict(getattr(network, "pyramid_outputs", {}))
    outputs |= network.output if isinstance(network.output, dict) else {"output": network.output}
    found = keras.Model(network.inputs, outputs)(images, training=False)
    return {name: np.asarray(values) for name, values in found.items()}


def assert_maps_are_theirs(core, network, wanted, images, prepared):
    ours, theirs = core(images, training=False), their_maps(network, prepared)
    assert list(ours) == ["stride8", "stride16", "stride32"]
    for name, values in zip(wanted, ours.values(), strict=True):
        if name is not None:
            largest = np.abs(theirs[name]).max()
            assert largest > 0
            np.testing.assert_allclose(values, theirs[name], atol=1e-4 * largest)


@pytest.mark.eager
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_that_kerashub_computes(name):
    make, wanted = NETWORKS[name]
    network = make()
    core = from_kerashub(
        network,
        SIZE,
        image_converter=hub.layers.ImageConverter(
            image_size=(8, 8), scale=[0.02, 0.01, 0.03], offset=[-1.0, -2.0, 0.5]
        ),
        finest_stride=8,
    )
    assert [(m.size, m.stride) for m in feature_maps(core)] == [
        ((8, 12), 8),
        ((4, 6), 16),
        ((2, 3), 32),
    ]
    images = pixels()
    prepared = images * np.float32([0.02, 0.01, 0.03]) + np.float32([-1.0, -2.0, 0.5])
    assert_maps_are_theirs(core, network, wanted, images, prepared)


@pytest.mark.parametrize("name", NAMES)
def test_but_for_layers_with_weights_of_their_own_nothing_of_kerashub_stays(name):
    core = from_kerashub(NETWORKS[name][0](), SIZE)
    left = {type(layer).__name__ for layer in core.layers if "keras_hub" in type(layer).__module__}
    assert left == ({"HGNetV2Embeddings", "HGNetV2Encoder"} if name == "HGNetV2" else set())
    norms = [layer for layer in core.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(type(norm).__module__.startswith("ssd_keras") for norm in norms)
    assert all(norm.momentum <= 0.99 for norm in norms)


def test_layers_have_the_same_names_whatever_was_built_before():
    names = []
    for _ in range(2):
        keras.layers.Activation("relu")  # moves the counter of Keras' names on
        core = from_kerashub(networks.resnet("basic_block"), SIZE)
        names.append([layer.name for layer in core.layers if layer.name != "image"])
    assert names[0] == names[1]
    assert "stack1_block0_1_conv" in names[0]


# === Presets ===


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A preset as `save_to_preset` writes it: a VGG with its weights and image converter."""
    folder = tmp_path_factory.mktemp("preset")
    networks.vgg().save_to_preset(str(folder))
    hub.layers.ImageConverter(image_size=(8, 8), scale=1 / 64, offset=-2.0).save_to_preset(
        str(folder)
    )
    return folder


def rewritten(preset, folder, file="config.json", **values):
    """A copy of the preset's JSON files, with other values in one of them."""
    for path in preset.glob("*.json"):
        content = json.loads(path.read_text())
        if path.name == file:
            inner = values.pop("config", {})
            content |= values
            content["config"] |= inner
        (folder / path.name).write_text(json.dumps(content))
    return f"kerashub:{folder}"


def test_a_folder_is_built_at_the_detectors_size_and_prepares_images_as_it_says(preset):
    core = kerashub_backbone(SIZE, place=f"kerashub:{preset}", finest_stride=8)
    assert core.name == "vgg"
    assert [m.size for m in feature_maps(core)] == [(8, 12), (4, 6), (2, 3)]
    images = pixels()
    seen = core.get_layer("preprocessing")(images)
    np.testing.assert_allclose(seen, images / 64 - 2.0, atol=1e-4)


def test_without_a_converter_images_go_in_from_minus_one_to_one(tmp_path):
    networks.vgg().save_to_preset(str(tmp_path))
    core = kerashub_backbone(SIZE, place=f"kerashub:{tmp_path}")
    black_and_white = np.stack([np.zeros((*SIZE, 3)), np.full((*SIZE, 3), 255.0)])
    seen = np.asarray(core.get_layer("preprocessing")(black_and_white))
    np.testing.assert_allclose(seen[:, 0, 0], [[-1] * 3, [1] * 3], atol=1e-6)


@pytest.mark.parametrize("scale", [[1 / 58.395, 1 / 57.12, 1 / 57.375], 1 / 255])
def test_a_converter_of_mean_and_variance_is_read_as_kerashub_reads_it(preset, tmp_path, scale):
    mean, variance = [0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2]
    # As older presets have it.
    values = {"scale": 1 / 255, "mean": mean, "variance": variance, "height": 224, "width": 224}
    if isinstance(scale, list):
        values = {"scale": scale, "offset": [-2.1179, -2.0357, -1.8044]}
    place = rewritten(preset, tmp_path, "image_converter.json", config=values)
    seen = kerashub_backbone(SIZE, place=place).get_layer("preprocessing")(pixels())
    wanted = (pixels() / 255 - mean) / np.sqrt(variance)
    np.testing.assert_allclose(seen, wanted, atol=1e-3)


def test_a_detector_is_made_and_read_without_kerashub(preset, tmp_path, monkeypatch):
    place = f"kerashub:{preset}"
    detector = ssd_keras.create("SSDLite_Mine_64x96", ["cat"], backbone=place, finest_stride=8)
    assert detector.box_network.level_maps[:3] == ((8, 12), (4, 6), (2, 3))
    detector.save(tmp_path / "x.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    again = ssd_keras.load(tmp_path / "x.keras")
    np.testing.assert_array_equal(again(pixels())["classes"], detector(pixels())["classes"])


def test_fpn_begins_at_the_finest_map_and_width_is_the_box_networks(preset):
    place = f"kerashub:{preset}"
    detector = ssd_keras.create("FPNLite_Mine_64x96", ["cat"], backbone=place, width=0.5)
    assert detector.box_network.level_maps[0] == (8, 12)
    assert detector.backbone.get_layer("block1_conv1").filters == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_detectors_come_back_from_their_files(name, tmp_path, monkeypatch):
    def backbone(image_size):
        return from_kerashub(NETWORKS[name][0](), image_size)

    detector = ssd_keras.create("SSD_Mine_64x96", ["cat"], backbone=backbone, extras=())
    detector.save(tmp_path / "x.keras")
    again = ssd_keras.load(tmp_path / "x.keras")
    np.testing.assert_array_equal(again(pixels())["classes"], detector(pixels())["classes"])
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    if name != "HGNetV2":
        ssd_keras.load(tmp_path / "x.keras")
        return
    with pytest.raises(UserError, match=r"The layer 'HGNetV2\w+' in the file needs KerasHub: pip"):
        ssd_keras.load(tmp_path / "x.keras")


# === What cannot be had ===


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("kerashub:resnet_50_imagnet", "no folder 'resnet_50_imagnet'. Did you mean 'resnet_50_im"),
        ("kerashub:", "There is no preset of KerasHub and no folder ''"),
        ("kerashub:no/such/folder", "no folder 'no/such/folder'. Give kerashub:NAME"),
        ("kerashub:tests", "'kerashub:tests' is no preset of KerasHub: there is no config.json"),
    ],
)
def test_a_place_that_is_no_preset_is_refused(place, message):
    with pytest.raises(UserError, match=message):
        ssd_keras.create("SSD_Mine_96", ["cat"], backbone=place)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"registered_name": "os>system"}, "names 'os>system', which is no Backbone of KerasHub"),
        ({"registered_name": "keras_hub>Evil"}, "'keras_hub>Evil', which is no Backbone"),
        ({"registered_name": "keras_hub>ImageConverter"}, "which is no Backbone of KerasHub"),
        ({"registered_name": None}, "names 'None', which is no Backbone"),
        ({"registered_name": "keras_hub>BertBackbone"}, "is a BertBackbone, which takes no images"),
        ({"registered_name": "keras_hub>ResNetBackbone"}, "cannot be built for images of 96x96 px"),
        (
            {"config": {"stackwise_num_filters": {"class_name": "Lambda", "config": {}}}},
            "more than numbers and words as arguments of VGGBackbone",
        ),
        ({"config": {"stackwise_num_repeats": [1, 1, 1]}}, "has no map of stride 16"),
    ],
)
def test_a_config_that_is_not_of_a_network_for_images_is_refused(preset, tmp_path, values, message):
    place = rewritten(preset, tmp_path, **values)
    with pytest.raises(UserError, match=message):
        ssd_keras.create("SSD_Mine_96", ["cat"], backbone=place)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"registered_name": "keras_hub>VGGBackbone"},
            r"image_converter\.json names 'keras_hub>VGGBackbone', ",
        ),
        ({"config": {"scale": "large"}}, "cannot be read as a preset of KerasHub"),
        ({"config": {"colours": 3}}, "cannot be read as a preset of KerasHub .*colours"),
    ],
)
def test_a_converter_that_is_none_is_refused(preset, tmp_path, values, message):
    place = rewritten(preset, tmp_path, "image_converter.json", **values)
    with pytest.raises(UserError, match=message):
        kerashub_backbone(SIZE, place=place)


def test_json_that_is_none_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json' cannot be read as JSON"):
        kerashub_backbone(SIZE, place=f"kerashub:{tmp_path}")


def test_too_small_images_are_refused(preset):
    with pytest.raises(UserError, match="takes images of 64 px and more, got 32x96"):
        kerashub_backbone((32, 96), place=f"kerashub:{preset}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (networks.vit, r"ViTBackbone has no maps \[B, H, W, C\] .* gives \(None, 17, 8\)"),
        pytest.param(
            networks.mit,
            "MiTBackbone cannot be taken: it has layers of KerasHub that cannot be made again",
            marks=pytest.mark.slow,
        ),
        (lambda: keras.Sequential([keras.Input((8, 8, 3))]), "Sequential is no backbone of KerasH"),
    ],
    ids=["one stride", "layers that cannot be saved", "no backbone"],
)
def test_a_network_without_maps_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        from_kerashub(make(), (64, 64))


@pytest.mark.parametrize("make", [networks.vgg, lambda: networks.resnet("basic_block")])
def test_trained_weights_are_not_taken_without_how_images_are_prepared(make):
    network = make()
    vector = [weight for weight in network.weights if len(weight.shape) == 1][-1]
    vector.assign(np.arange(vector.shape[0]))
    with pytest.raises(UserError, match=r"has trained weights, .* give image_converter="):
        from_kerashub(network, SIZE)
    core = from_kerashub(network, SIZE, image_converter=lambda images: images / 255)
    white = np.full((1, *SIZE, 3), 255, "float32")
    np.testing.assert_array_equal(core.get_layer("preprocessing")(white), white / 255)


def test_a_preset_that_cannot_be_fetched_says_what_to_do(monkeypatch):
    kagglehub = pytest.importorskip("kagglehub")

    def fail(handle, path):
        raise ConnectionError(f"no network for {handle}/{path}")

    monkeypatch.setattr(kagglehub, "model_download", fail)
    message = (
        r"'config.json' of KerasHub's preset 'resnet_18_imagenet' could not be fetched \(no network"
        r" for keras/resnetv1/.*On a machine with a network, save keras_hub.*give kerashub:FOLDER"
    )
    with pytest.raises(UserError, match=message):
        kerashub_backbone(SIZE, place="kerashub:resnet_18_imagenet")


def test_a_preset_that_is_fetched_is_built(preset, monkeypatch):
    kagglehub = pytest.importorskip("kagglehub")
    asked = []

    def fetch(handle, path):
        asked.append((handle.rpartition("/")[0], path))
        return str(preset / path)

    monkeypatch.setattr(kagglehub, "model_download", fetch)
    assert kerashub_backbone(SIZE, place="kerashub:vgg_16_imagenet").name == "vgg"
    # Its weights are not, of which nobody spoke.
    assert [file for _, file in asked] == ["config.json", "image_converter.json"]
    assert {handle for handle, _ in asked} == {"keras/vgg/keras/vgg_16_imagenet"}
