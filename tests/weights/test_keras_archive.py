"""A .keras file is data: it runs nothing, opens nothing else and takes no undue memory."""

import copy
import importlib
import inspect
import json
import pkgutil
import sys
import zipfile

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.training import Recipe
from ssd_keras.weights.keras_archive import _OF_APPLICATIONS
from tests import tiny
from tests.backbones.keras_networks import small_convnext
from tests.mutations import outcome


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a good archive: name -> bytes."""
    path = tmp_path_factory.mktemp("good") / "x.keras"
    ssd_keras.create("SSD_MobileNet_96", ["cat", "dog"], width=0.25).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def pack(good, tmp_path):
    """Writes an archive with a changed configuration, or further members."""

    def write(change=lambda config: None, **members):
        config = copy.deepcopy(json.loads(good["config.json"]))
        change(config)
        path = tmp_path / "x.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (good | {"config.json": json.dumps(config)} | members).items():
                archive.writestr(name, content)
        return path

    return write


def layers_of(config):
    return config["config"]["backbone"]["config"]["layers"]


def replaced(module, name, registered=None, **inner):
    """Changes the second layer of the backbone into another one."""

    def change(config):
        layer = layers_of(config)[1]
        layer |= {"module": module, "class_name": name, "registered_name": registered}
        layer["config"] = {"name": layer["name"], **inner}

    return change


def activation(value):
    def change(config):
        for layer in layers_of(config):
            if layer["class_name"] == "Conv2D":
                layer["config"]["activation"] = value

    return change


def function(name, module="builtins", registered=None):
    return {
        "class_name": "function",
        "module": module,
        "config": name,
        "registered_name": registered or name,
    }


CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=\n"}}
CLASSES = {
    "a function of the system": (replaced("os", "system"), "'os.system'"),
    "a class of Python": (replaced("subprocess", "Popen", args="true"), "'subprocess.Popen'"),
    "a module that is not there": (replaced("this_is_evil", "X"), "'this_is_evil.X'"),
    "code": (replaced("keras.layers", "Lambda", function=CODE), "'keras.layers.Lambda'"),
    "a registered function in Lambda": (
        replaced("keras.layers", "Lambda", function=function("get_file", "keras.utils")),
        "'keras.layers.Lambda'",
    ),
    "Keras' loader": (replaced("keras.saving", "load_model"), "'keras.saving.load_model'"),
    "Keras' downloads": (replaced("keras.utils", "get_file"), "'keras.utils.get_file'"),
    "unsafe mode": (
        replaced("keras.config", "enable_unsafe_deserialization"),
        "'keras.config.enable_unsafe_deserialization'",
    ),
    "inner modules": (
        replaced("keras.src.utils.file_utils", "get_file"),
        "'keras.src.utils.file_utils.get_file'",
    ),
    "a function of an application": (
        replaced("keras.src.applications.convnext", "ConvNeXtTiny", weights="imagenet"),
        "'keras.src.applications.convnext.ConvNeXtTiny'",
    ),
    "what an application imports": (
        replaced("keras.src.applications.convnext", "file_utils"),
        "'keras.src.applications.convnext.file_utils'",
    ),
    "a layer of an application elsewhere": (
        replaced("os", "LayerScale", init_values=1.0, projection_dim=8),
        "'os.LayerScale'",
    ),
    "a SavedModel": (
        replaced("keras.layers", "TFSMLayer", filepath="/tmp/x"),
        "'keras.layers.TFSMLayer'",
    ),
    "PyTorch": (
        replaced("keras.src.utils.torch_utils", "TorchModuleWrapper"),
        "TorchModuleWrapper",
    ),
    "a vocabulary": (
        replaced("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        "'keras.layers.StringLookup'",
    ),
    "a vocabulary by its other name": (
        replaced("keras.src.layers.preprocessing.string_lookup", "StringLookup", vocabulary="/x"),
        "StringLookup",
    ),
    "eval as activation": (activation(function("eval")), "'builtins.eval'"),
    "a lambda as activation": (activation(CODE), "__lambda__"),
    "a type": (
        activation({"class_name": "__typespec__", "config": [], "spec_name": "x", "module": "os"}),
        "__typespec__",
    ),
    "a name that is none": (replaced("keras.layers", ["Conv2D"]), "no text"),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_neither_keras_nor_registered_is_refused(pack, kind):
    change, named = CLASSES[kind]
    path = pack(change)
    with pytest.raises(UserError, match=r"x\.keras' cannot be read as") as caught:
        ssd_keras.load(path)
    assert named in str(caught.value)
    assert outcome(path, ssd_keras.load) == "UserError"


def test_layers_of_kerashub_need_it(pack, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    module = "keras_hub.src.models.hgnetv2.hgnetv2_encoder"
    message = r"layer 'HGNetV2Encoder' in the file needs KerasHub: pip install 'ssd-keras\[kerash"
    with pytest.raises(UserError, match=message):
        ssd_keras.load(pack(replaced(module, "HGNetV2Encoder", "keras_hub>HGNetV2Encoder")))


def test_nor_are_they_where_training_starts_from_it(pack):
    path = pack(replaced("os", "system"))
    with pytest.raises(UserError, match=r"needs 'os\.system'"):
        ssd_keras.create("SSD_MobileNet_96", ["cat", "cow"], weights=path)


def test_unsafe_mode_of_the_session_changes_nothing(pack):
    unsafe = copy.deepcopy(keras.src.saving.serialization_lib.in_safe_mode())
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(UserError, match="Lambda"):
            ssd_keras.load(pack(replaced("keras.layers", "Lambda", function=CODE)))
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", unsafe)


def resized(**values):
    def change(config):
        for layer in layers_of(config):
            if layer["class_name"] == "Conv2D":
                layer["config"] |= values

    return change


def waits(config):
    layers = layers_of(config)
    history = layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    history[1] = 5


def circle(config):
    layers = layers_of(config)
    history = layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    history[0] = layers[5]["name"]


def deep(config):
    inner = []
    for _ in range(500):
        inner = [inner]
    config["config"]["more"] = inner


def large_image(side):
    def change(config):
        for layer in layers_of(config):
            if layer["class_name"] == "InputLayer":
                layer["config"]["batch_shape"] = [None, side, side, 3]

    return change


SIZES = {
    "a layer of terabytes": (resized(filters=1 << 40), "larger than all weights of the file"),
    "many large layers": (resized(filters=1 << 13), "larger than all weights of the file"),
    "an image of no end": (large_image(1 << 31), "images have a side of 2147483648"),
    "an image of half a side": (large_image(0.5), "images have a side of 0.5"),
    "too many default boxes": (large_image(8192 * 2), "images have a side"),
    "a layer that waits for itself": (waits, "waits for layers that do not come"),
    "layers in a circle": (circle, "waits for layers that do not come"),
    "depth": (deep, "nested too deep"),
}


@pytest.mark.parametrize("kind", SIZES)
def test_what_is_out_of_proportion_is_refused(pack, kind):
    change, reason = SIZES[kind]
    path = pack(change)
    with pytest.raises(UserError, match=rf"x\.keras' cannot be read as .*{reason}"):
        ssd_keras.load(path)
    assert outcome(path, ssd_keras.load) == "UserError"


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "assets/vocabulary.txt", "model.weights.npz", "a\\..\\b"]
)
def test_further_members_are_refused_before_anything_is_unpacked(pack, tmp_path, name):
    path = pack(**{name: b"evil"})
    with pytest.raises(UserError, match=r"x\.keras' .*it holds '.*', which no detector has"):
        ssd_keras.load(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_members_that_are_missing_are_named(pack, good, name, monkeypatch):
    monkeypatch.delitem(good, name) if name != "config.json" else None
    path = pack()
    if name == "config.json":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", good["model.weights.h5"])
    with pytest.raises(UserError, match=f"x.keras' .*{name}"):
        ssd_keras.load(path)


def test_weights_that_are_no_numbers_are_refused_by_their_layer(tmp_path):
    detector = tiny.detector()
    kernel = detector.backbone.get_layer("conv1").weights[0]
    kernel.assign(np.full(kernel.shape, np.nan, "f4"))
    detector.save(tmp_path / "x.keras")
    with pytest.raises(UserError, match=r"x\.keras' .*'.*conv1/kernel' holds values that are not"):
        ssd_keras.load(tmp_path / "x.keras")


@keras.saving.register_keras_serializable("mine")
class Halved(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return x / 2


@keras.saving.register_keras_serializable("mine")
def bent(x):
    """A function of the user's own."""
    return keras.ops.abs(x)


def own_backbone(image_size):
    images = keras.Input((*image_size, 3), name="image")
    x = Halved()(images)
    x = keras.layers.Conv2D(8, 3, strides=16, activation=bent)(x) * keras.ops.sigmoid(
        x[:, :4, :4, :1]
    )
    x = keras.layers.Conv2D(8, 3, padding="same", kernel_regularizer="l2", activation="gelu")(x)
    coarse = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation=keras.ops.tanh)(x)
    return keras.Model(images, {"fine": x, "coarse": coarse}, name="own")


def test_own_backbones_of_registered_classes_and_operations_are_loaded(tmp_path):
    detector = ssd_keras.create("SSD_Mine_64", ["cat"], backbone=own_backbone)
    detector.save(tmp_path / "x.keras")
    loaded = ssd_keras.load(tmp_path / "x.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("f4")
    for name, expected in detector.predict(image, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(image, verbose=0)[name], expected)


def convnext(image_size):
    images = keras.Input((*image_size, 3), name="image")
    network = small_convnext(input_tensor=images, drop_path_rate=0.1)
    ends = {"fine": "stage_2_block_0", "coarse": "stage_3_block_0"}
    maps = {
        name: network.get_layer(f"convnext_{end}_stochastic_depth").output
        for name, end in ends.items()
    }
    return keras.Model(images, maps, name="convnext")


def inception_resnet_blocks(image_size):
    block = keras.src.applications.inception_resnet_v2.inception_resnet_block
    images = keras.Input((*image_size, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=16, padding="same")(images)
    fine = block(x, scale=0.17, block_type="block35", block_idx=1)
    coarse = keras.layers.Conv2D(8, 3, strides=2, padding="same")(fine)
    return keras.Model(images, {"fine": fine, "coarse": coarse}, name="inception_resnet")


@pytest.mark.parametrize("backbone", [convnext, inception_resnet_blocks])
def test_layers_that_only_networks_of_keras_applications_have_are_loaded(backbone, tmp_path):
    detector = ssd_keras.create("SSD_Mine_64", ["cat"], backbone=backbone)
    detector.save(tmp_path / "x.keras")
    loaded = ssd_keras.load(tmp_path / "x.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("f4")
    for name, expected in detector(image).items():
        np.testing.assert_array_equal(loaded(image)[name], expected)


def test_every_layer_of_keras_applications_is_known_by_its_module():
    applications = keras.src.applications
    found = {}
    for place in pkgutil.iter_modules(applications.__path__, f"{applications.__name__}."):
        if place.name.endswith("_test"):
            continue
        module = importlib.import_module(place.name)
        layers = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, keras.Layer)
            if value.__module__ == place.name
        ]
        found |= {place.name: set(layers)} if layers else {}
    assert {place: set(names) for place, names in _OF_APPLICATIONS.items()} == found


def test_compiled_detectors_keep_their_optimizer(tmp_path):
    detector = tiny.detector()
    detector.compile(Recipe(optimizer="adamw", ema=0.9).build_optimizer(10))
    detector.optimizer.build(detector.trainable_variables)
    detector.save(tmp_path / "x.keras")
    loaded = ssd_keras.load(tmp_path / "x.keras")
    assert loaded.optimizer.name == detector.optimizer.name
    assert len(loaded.optimizer.variables) == len(detector.optimizer.variables)


def test_nothing_is_imported_that_a_file_names(pack):
    before = set(sys.modules)
    with pytest.raises(UserError):
        ssd_keras.load(pack(replaced("antigravity", "fly")))
    assert "antigravity" not in set(sys.modules) - before
