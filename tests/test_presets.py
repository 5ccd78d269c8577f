"""The rows of the tables fit what reads them, and a network that is not in them needs one row."""

import keras
import pytest

import ssd_keras
from ssd_keras import model_table, presets
from ssd_keras.backbones import FeatureMap
from ssd_keras.box_networks import SSD, YOLO, BoxNetwork
from ssd_keras.box_networks.blocks import EXTRA_BLOCKS, PREDICTION_MODULES
from ssd_keras.box_networks.protocol import Request, options_of
from ssd_keras.errors import UserError
from ssd_keras.objectives.combinations import PARTS
from ssd_keras.training.defaults import RECIPES, suggest

MAPS = (FeatureMap("fine", (19, 19), 16, 512), FeatureMap("coarse", (10, 10), 32, 1024))


@pytest.mark.parametrize("core", presets.CORES.values(), ids=presets.CORES)
def test_a_core_asks_for_what_there_is(core):
    assert core.recipe in RECIPES
    assert core.extra_block in EXTRA_BLOCKS
    assert core.prediction_module in PREDICTION_MODULES
    assert core.extras(10)[-1].channels >= 128
    assert core.finest_strides in ((), (16, 8))


@pytest.mark.parametrize("core", presets.CORES.values(), ids=presets.CORES)
@pytest.mark.parametrize("row", presets.BOX_NETWORKS.values(), ids=presets.BOX_NETWORKS)
def test_a_box_network_chooses_settings_that_it_has(row, core):
    assert row.recipe is None or row.recipe in RECIPES
    request = Request(core, MAPS, (300, 300), width=0.5)
    settings = {**row.build.settings_for(request), **row.settings}
    network = row.build(3, **settings)
    assert isinstance(network, BoxNetwork)
    assert settings.keys() <= options_of(row.build).keys()
    options = options_of(row.build).keys() | {"num_classes"}
    # Each objective has parts that others have not.
    assert options - {"objective", *PARTS} <= network.get_config().keys() <= options
    assert {"joint", "stage2"} <= network.stages.keys()


def test_a_class_that_lacks_something_is_no_box_network():
    class Half:
        stages, num_classes = (), 3

        def encode(self, boxes, labels):
            """Learns and cannot say what it found."""

    assert not isinstance(Half(), BoxNetwork)


def test_the_width_scales_what_the_core_asks_for_down_to_16_channels():
    request = Request(presets.CORES["MobileNet"], MAPS, (300, 300), width=0.25)
    settings = SSD.settings_for(request)
    assert [extra.channels for extra in settings["extras"]] == [128, 64, 64, 32]
    assert [extra.reduced for extra in settings["extras"]] == [64, 32, 32, 16]
    assert YOLO.settings_for(request) == {"channels": 256}
    assert request.scale_channels(40) == 16


def tiny(image_size, width=1.0):
    images = keras.Input((*image_size, 3))
    x = keras.layers.Conv2D(8, 3, strides=16, padding="same", name="tiny16")(images)
    y = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="tiny32")(x)
    return keras.Model(images, {"tiny16": x, "tiny32": y}, name="tiny")


def test_a_core_is_a_function_and_a_row(monkeypatch):
    row = presets.Core(tiny, head_kernels=1, recipe="ssd_mobile", sizes=(64, 128))
    monkeypatch.setitem(presets.CORES, "Tiny", row)
    network = ssd_keras.create("SSDLite_Tiny_128", ["cat"]).box_network
    assert network.level_maps == ((8, 8), (4, 4), (2, 2), (1, 1))
    assert network.head_kernels == 3
    recipe = suggest("SSD_Tiny_128", 20_000, {"train_data": "x"}).recipe
    assert recipe.optimizer == "rmsprop"
    with pytest.raises(UserError, match="Tiny takes images of 64 to 128 px"):
        ssd_keras.create("SSD_Tiny_300", ["cat"])


@pytest.mark.parametrize(
    ("name", "optimizer", "batch"),
    [
        ("YOLO_MobileNet_300", "sgd", 64),
        ("DSSD_MobileNetV2_300", "rmsprop", 24),
        ("SSD_Inception_500", "sgd", 32),
    ],
)
def test_the_recipe_is_the_box_networks_or_else_the_cores(name, optimizer, batch):
    recipe = suggest(name, 20_000, {"train_data": "x"}).recipe
    assert (recipe.optimizer, recipe.batch_size) == (optimizer, batch)


def test_the_list_of_models_shows_itself_and_prints_nothing(capsys):
    models = ssd_keras.list_models()
    assert capsys.readouterr().out == ""
    assert tuple(models) == presets.MODELS
    assert "SSD_MobileNet_300" in models
    (line,) = [x for x in str(models).splitlines() if x.startswith("SSD_MobileNet_300 ")]
    name, gmacs, _, _, _, ap, *counted = line.split()
    assert (name, gmacs, ap) == ("SSD_MobileNet_300", "1.15", "21.0")
    assert " ".join(counted) == "5,821,433 1,917 19 10 5 3 2 1"
    assert repr(models) == str(models)


def test_models_are_shown_by_what_their_arithmetic_is_for():
    rows = [{"name": str(macs), "macs": str(macs * 10**9)} for macs in (30, 1, 3, 2)]
    groups = model_table.group_by_arithmetic(rows)
    assert [[row["name"] for row in members] for members, _ in groups] == [
        ["1"],
        ["2", "3"],
        ["30"],
    ]


def test_what_was_not_measured_is_a_dash():
    row = {"name": "x", "macs": "5", "parameters": "1", "default_boxes": "2"}
    row |= {"int8_bytes": "2500000", "int8_ms": "", "int8_noise": ""}
    shown = model_table.cells(row)
    assert (shown["int8_mb"], shown["int8_ms"], shown["int8_noise"]) == ("2.5", "-", "-")
    assert shown["ap"] == "-"
