"""Models by their names."""

import functools
import math
import sys

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.complexity import count_macs
from ssd_keras.errors import UserError
from ssd_keras.model_table import MEASURED, table_row
from tests import tiny


def names(count):
    return [f"class {i}" for i in range(count)]


@pytest.fixture
def zeros(monkeypatch):
    """Models of hundreds of millions of weights are built for their shapes alone."""

    def call(self, shape, dtype=None, **options):
        return keras.ops.zeros(shape, dtype or "float32")

    for kind in ("GlorotUniform", "TruncatedNormal"):
        monkeypatch.setattr(getattr(keras.initializers, kind), "__call__", call)


RESNET_BIASES = 52_672

# Parameters, of which do not learn, GMACs; specification, section 8, for 20 classes.
PINNED = {
    "SSD_VGG16_300": (26_285_486, 0, 31.3735),
    "SSD_VGG16_512": (27_188_676, 0, 90.2079),
    "SSD_MobileNet_300": (5_821_433, 25_344, 1.1485),
    "SSDLite_MobileNetV2_300": (3_406_585, 50_752, 0.6452),
    "SSD_Inception_500": (30_089_508, 38_272, 19.2662),
    "SSD_ResNet101_321": (110_129_264 + RESNET_BIASES, 156_544, 29.3718),
    "SSD_ResNet101_513": (107_143_480 + RESNET_BIASES, 166_784, 74.9746),
    "DSSD_ResNet101_321": (165_999_216 + RESNET_BIASES, 171_904, 47.3255),
    "DSSD_ResNet101_513": (168_918_328 + RESNET_BIASES, 185_216, 120.8661),
    "YOLO_Inception_500": (69_035_838, 42_624, 21.7962),
    # The values of the API's checkpoint; for 3 classes they are 2,599,664.
    "FPNLite_MobileNetV2_320": (2_612_822, 40_256, 0.8703),
}
MAPS = {
    "MobileDetCPU_320": (20, 10, 5, 3, 2, 1),
    "MobileDetEdgeTPU_320": (20, 10, 5, 3, 2, 1),
    "MobileDetDSP_320": (20, 10, 5, 3, 2, 1),
    "MobileNetV3Large_320": (20, 10, 5, 3, 2, 1),
    "MobileNetV3LargeReduced_320": (20, 10, 5, 3, 2, 1),
    "MobileNetV3Small_320": (20, 10, 5, 3, 2, 1),
    "MobileNetV4ConvSmall_320": (20, 10, 5, 3, 2, 1),
    "ResNet50_640": (80, 40, 20, 10, 5),
    "VGG16_300": (38, 19, 10, 5, 3, 1),
    "VGG16_512": (64, 32, 16, 8, 4, 2, 1),
    "MobileNet_300": (19, 10, 5, 3, 2, 1),
    "MobileNetV2_300": (19, 10, 5, 3, 2, 1),
    "MobileNetV2_320": (40, 20, 10, 5, 3),
    "MobileNetV2_640": (80, 40, 20, 10, 5),
    "MobileNet_640": (80, 40, 20, 10, 5),
    "PANLite_MobileNetV2_320": (40, 20, 10, 5),
    "Inception_500": (60, 29, 14, 7, 4, 2, 1),
    "ResNet101_321": (40, 20, 10, 5, 3, 1),
    "ResNet101_513": (64, 32, 16, 8, 4, 2, 1),
}
DEFAULT_BOXES = {
    "MobileDetCPU_320": 2034,
    "MobileDetEdgeTPU_320": 2034,
    "MobileDetDSP_320": 2034,
    "MobileNetV3Large_320": 2034,
    "MobileNetV3LargeReduced_320": 2034,
    "MobileNetV3Small_320": 2034,
    "MobileNetV4ConvSmall_320": 2034,
    "ResNet50_640": 51_150,
    "VGG16_300": 8732,
    "VGG16_512": 24564,
    "MobileNet_300": 1917,
    "MobileNetV2_300": 1917,
    "MobileNetV2_320": 12_804,
    "MobileNetV2_640": 51_150,
    "MobileNet_640": 51_150,
    "PANLite_MobileNetV2_320": 12_750,
    "Inception_500": 21032,
    "ResNet101_321": 17080,
    "ResNet101_513": 43688,
}


def slow_if(slow, *case):
    """A case of what others of its kind show quickly."""
    return pytest.param(*case, marks=pytest.mark.slow if slow else ())


# Two thirds of the time of all of them, and no layer that others have not.
LARGE = ("ResNet101", "VGG16_512", "MobileDetEdgeTPU", "MobileDetDSP", "V3Large", "_640")
# Of these core and box network are among the others, in another pair.
PAIRS = ("SSD_MobileNetV2_300", "SSD_Inception_500", "DSSD_VGG16_300")


@pytest.mark.parametrize(
    "name",
    [
        slow_if(name in PAIRS or any(kind in name for kind in LARGE), name)
        for name in ssd_keras.zoo.MODELS
    ],
)
def test_a_named_model_has_the_published_numbers(zeros, name):
    row = ssd_keras.zoo.measure(name)
    if name in PINNED:
        parameters, non_trainable, gmacs = PINNED[name]
        assert int(row["parameters"]) == parameters
        assert int(row["non_trainable"]) == non_trainable
        assert round(int(row["macs"]) / 1e9, 4) == gmacs
    core = name.split("_", 1)[1]
    if not name.startswith("YOLO"):
        key = name if name in MAPS else core
        assert tuple(map(int, row["maps"].split())) == MAPS[key]
        assert int(row["default_boxes"]) == DEFAULT_BOXES[key]
    table = {row["name"]: row for row in ssd_keras.zoo.model_table()}
    counted = {key: value for key, value in table[name].items() if key not in MEASURED}
    assert counted == row, "run `python -m tests.benchmarks.models --write_table`"


VARIANTS = [
    ("SSD_VGG16_300", 80, {}, 34_305_206, 34.3604),
    ("SSD_VGG16_512", 80, {}, 36_038_196, 98.6289),
    ("SSD_MobileNet_300", 80, {}, 6_698_933, 1.2245),
    ("SSD_MobileNet_300", 90, {}, 6_845_183, 1.2371),
    ("SSD_MobileNet_300", 90, {"head_kernels": 3}, 17_935_103, 2.1996),
    ("SSDLite_MobileNetV2_300", 80, {}, 4_387_765, 0.7346),
    ("SSD_Inception_500", 80, {}, 43_431_828, 24.9963),
    ("FPNLite_MobileNetV2_320", 3, {}, 2_599_664, 0.8424),
    # Open Model Zoo prints 123.309 GFLOPs, which count what stands between convolutions, too.
    ("FPN_MobileNet_640", 90, {}, 12_125_178, 61.5825),
    ("YOLO_Inception_500", 20, {"fully_connected": 4096}, 280_552_670, 22.0063),
    (
        "SSD_ResNet101_321",
        20,
        {"prediction_module": "a"},
        97_357_936 + RESNET_BIASES,
        24.5415,
    ),
    (
        "SSD_ResNet101_321",
        20,
        {"head_kernels": (5, 5, 3, 3, 3, 3)},
        116_682_864 + RESNET_BIASES,
        35.9254,
    ),
    (
        "DSSD_ResNet101_321",
        20,
        {"head_kernels": (5, 5, 3, 3, 3, 3)},
        172_552_816 + RESNET_BIASES,
        53.8791,
    ),
    ("DSSD_ResNet101_321", 20, {"fusion": "sum"}, 165_999_216 + RESNET_BIASES, 47.3255),
    ("SSD_ResNet101_513", 80, {}, 138_112_600 + RESNET_BIASES, 99.1324),
    ("DSSD_ResNet101_513", 80, {}, 199_887_448 + RESNET_BIASES, 145.0238),
]


@pytest.mark.parametrize(
    ("name", "classes", "options", "parameters", "gmacs"),
    # One of each box network and option is quick.
    [
        slow_if(
            case[0].startswith(("SSD_ResNet101", "DSSD", "SSD_VGG16_512", "SSD_Inception"))
            or case[0] in ("SSDLite_MobileNetV2_300", "FPN_MobileNet_640")
            or case[:2] == ("FPNLite_MobileNetV2_320", 3),
            *case,
        )
        for case in VARIANTS
    ],
)
def test_its_variants_have_the_published_numbers(zeros, name, classes, options, parameters, gmacs):
    detector = ssd_keras.create(name, names(classes), **options)
    assert detector.count_params() == parameters
    assert round(count_macs(detector) / 1e9, 4) == gmacs


# Millions of parameters and GMACs of SSDLite on COCO's 90 classes, as their papers print them.
PRINTED = {
    "SSDLite_MobileNetV3Large_320": (4.97, 0.62),
    "SSDLite_MobileNetV3LargeReduced_320": (3.22, 0.51),
    "SSDLite_MobileNetV3Small_320": (2.49, 0.21),
    "SSDLite_MobileNetV3SmallReduced_320": (1.77, 0.16),
}


@pytest.mark.parametrize("name", [slow_if("Small_" not in name, name) for name in PRINTED])
def test_it_costs_what_its_paper_says(zeros, name):
    detector = ssd_keras.create(name, names(90))
    parameters, gmacs = PRINTED[name]
    assert trainable(detector) / 1e6 == pytest.approx(parameters, rel=0.012)
    assert count_macs(detector) / 1e9 == pytest.approx(gmacs, abs=0.008)


def trainable(detector):
    """Parameters without the statistics of batch norms, as the papers count them."""
    return sum(math.prod(weight.shape) for weight in detector.trainable_weights)


@functools.cache
def narrow_box_network(name, **options):
    with tiny.shallow_resnet101():
        return ssd_keras.create(name, names(3), width=0.25, **options).box_network


# Model, options, first box of each level, {box: (cx, cy, w, h)}, sums of cx, cy, w, h; from
# the specification, section 8, where x comes first.
DEFAULT_BOX_CASES = [
    (
        "SSD_VGG16_300",
        {},
        (0, 5776, 7942, 8542, 8692, 8728),
        {
            0: (0.013333, 0.013333, 0.1, 0.1),
            1: (0.013333, 0.013333, 0.141421, 0.141421),
            2: (0.013333, 0.013333, 0.141421, 0.070711),
            5776: (0.026667, 0.026667, 0.2, 0.2),
            8692: (0.166667, 0.166667, 0.71, 0.71),
            8731: (0.5, 0.5, 0.622254, 1.244508),
        },
        (4443.9467, 4443.9467, 1510.4293, 1510.4293),
    ),
    (
        "SSD_VGG16_300",
        {"box_scale": "coco"},
        (0, 5776, 7942, 8542, 8692, 8728),
        {0: (0.013333, 0.013333, 0.07, 0.07)},
        (None, None, 1172.1980, 1172.1980),
    ),
    (
        "SSD_VGG16_512",
        {},
        (0, 16384, 22528, 24064, 24448, 24544, 24560),
        {},
        (12282, 12282, 3146.1417, 3146.1417),
    ),
    (
        "SSD_VGG16_512",
        {"box_scale": "coco"},
        (0, 16384, 22528, 24064, 24448, 24544, 24560),
        {},
        (None, None, 2192.4711, 2192.4711),
    ),
    (
        "DSSD_ResNet101_321",
        {},
        (0, 12800, 16000, 16800, 17000, 17072),
        {
            0: (0.007788, 0.007788, 0.1, 0.1),
            2: (0.007788, 0.007788, 0.126491, 0.079057),
            16000: (0.03271, 0.03271, 0.38, 0.38),
            17079: (0.5, 0.5, 0.531162, 1.593487),
        },
        (8380.3988, 8380.3988, 2649.9186, 2649.9186),
    ),
    (
        "DSSD_ResNet101_513",
        {},
        (0, 32768, 40960, 43008, 43520, 43648, 43680),
        {
            0: (0.004873, 0.004873, 0.04, 0.04),
            43687: (0.5, 0.5, 0.548483, 1.645448),
        },
        (21588.6238, 21588.6238, 3389.1369, 3389.1369),
    ),
    (
        "SSD_MobileNet_300",
        {},
        (0, 1083, 1683, 1833, 1887, 1911),
        {
            0: (0.026316, 0.026316, 0.1, 0.1),
            1: (0.026316, 0.026316, 0.282843, 0.141421),
            1083: (0.05, 0.05, 0.35, 0.35),
            1916: (0.5, 0.5, 0.974679, 0.974679),
        },
        (958.5, 958.5, 568.5611, 568.5678),
    ),
    (
        "SSD_Inception_500",
        {},
        (0, 14400, 19446, 20622, 20916, 21012, 21028),
        {
            0: (0.008333, 0.008333, 0.07, 0.07),
            21031: (0.5, 0.5, 0.636396, 1.272792),
        },
        (10516, 10516, 2634.8011, 2634.8011),
    ),
]


@pytest.mark.parametrize(
    ("name", "options", "starts", "boxes", "sums"),
    [
        slow_if(case[0] in ("DSSD_ResNet101_513", "SSD_VGG16_512"), *case)
        for case in DEFAULT_BOX_CASES
    ],
)
def test_default_boxes_are_the_published_ones(zeros, name, options, starts, boxes, sums):
    network = narrow_box_network(name, **options)
    flat = network.anchors.astype("float64")
    centres, sizes = (flat[:, :2] + flat[:, 2:]) / 2, flat[:, 2:] - flat[:, :2]
    counts = [len(level) for level in network.level_anchors]
    assert tuple(np.cumsum([0, *counts[:-1]])) == starts
    for index, (cx, cy, w, h) in boxes.items():
        np.testing.assert_allclose(centres[index], [cy, cx], atol=1e-6)
        np.testing.assert_allclose(sizes[index], [h, w], atol=1e-6)
    for values, (y, x) in ((centres, (sums[1], sums[0])), (sizes, (sums[3], sums[2]))):
        if y is not None:
            np.testing.assert_allclose(values.sum(axis=0), [y, x], rtol=1e-6, atol=2e-3)


# Ground truth of section 8, and the default boxes that each of the three gets.
GOLDEN = np.array([[0.1, 0.1, 0.6, 0.5], [0.55, 0.42, 0.62, 0.47], [0.02, 0.05, 0.97, 0.98]])


@pytest.mark.parametrize(
    ("name", "matched"),
    [
        ("SSD_VGG16_300", (14, 1, 8)),
        slow_if(True, "SSD_VGG16_512", (16, 6, 6)),
        ("DSSD_ResNet101_321", (26, 1, 25)),
        slow_if(True, "DSSD_ResNet101_513", (21, 3, 10)),
        ("SSD_MobileNet_300", (14, 1, 5)),
        ("SSD_Inception_500", (13, 6, 6)),
    ],
)
def test_the_golden_objects_are_matched_as_published(zeros, name, matched):
    network = narrow_box_network(name)
    targets = network.encode(GOLDEN[None].astype("float32"), np.array([[0, 1, 2]]))
    classes = np.asarray(targets["classes"])
    assert tuple(np.bincount(classes[0], minlength=4)[1:]) == matched


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SSD_MobilNet_300", "Did you mean 'SSD_MobileNet_300'"),
        ("ssd_mobilenet_300", "Did you mean 'SSD_MobileNet_300'"),
        ("SSD_MobileNet", "Did you mean 'SSD_MobileNet_300'"),
        ("SSD_MobilNet_512", "Did you mean 'SSD_MobileNet_512'"),
        ("DSD_ResNet101_321", "'DSD' is no box network. Did you mean 'DSSD_ResNet101_321'"),
        ("SSD_AlexNet_300", "'AlexNet' is no core network.* VGG16, MobileNet"),
        ("resnet", "Known models: SSD_VGG16_300"),
        ("SSD_MobileNet_20", "images of 96 to 1024 px"),
    ],
)
def test_a_name_that_cannot_be_built_says_why(name, message):
    with pytest.raises(UserError, match=message):
        ssd_keras.create(name, names(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": []}, "list of names"),
        ({"classes": "cat"}, "list of names"),
        ({"classes": 5}, "list of names"),
        ({"classes": ["cat"], "smallest_box": "a"}, "smallest_box must be between"),
        ({"classes": ["cat", "dog", "cat"]}, "'cat' is given more than once"),
        ({"classes": ["cat"], "width": 0.0}, "width must be between"),
        ({"classes": ["cat"], "smallest_box": 0.9}, "smallest_box must be between"),
        ({"classes": ["cat"], "backbone_weights": "gone.h5"}, "There is no weights file 'gone.h5'"),
        ({"classes": ["cat"], "finest_stride": 4}, "finest_stride is one of 16, 8"),
    ],
)
def test_options_that_cannot_be_used_say_why(options, message):
    with pytest.raises(UserError, match=message):
        ssd_keras.create("SSD_MobileNet_300", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SSD_VGG16_300", {"finest_stride": 8}, "its stride is fixed.* MobileNet, .*MobileNetV2"),
        ("YOLO_MobileNet_300", {"finest_stride": 8}, "leave out finest_stride"),
        ("YOLO_MobileNet_300", {"smallest_box": 0.1}, "leave out smallest_box"),
        ("YOLO_MobileNet_300", {"objective": "focal"}, "an objective of its own"),
        ("SSDLite_MobileNet_300", {"resiz": "letterbox"}, "Did you mean 'resize'"),
        ("FPNLite_MobileNetV2_320", {"channels": "abc"}, "channels must be a whole number"),
        ("DSSD_MobileNet_300", {"decoder_channels": "abc"}, "decoder_channels must be a whole"),
        ("SSD_MobileNet_300", {"head_kernels": "abc"}, "with head_kernels=abc cannot be built"),
        ("SSD_MobileNet_300", {"anchors": 3}, "with anchors=3 cannot be built"),
        ("SSD_MobileNet_300", {"negative_ratio": "a"}, "negative_ratio must be a whole number"),
        ("SSD_MobileNet_300", {"box_loss": "ciou"}, "multibox_giou, focal, atss, task_aligned"),
    ],
)
def test_options_of_other_models_say_why(name, options, message):
    with pytest.raises(UserError, match=message):
        ssd_keras.create(name, names(2), width=0.25, **options)


def test_a_backbone_that_gives_no_maps_says_so():
    def backbone(image_size):
        images = keras.Input((None, None, 3))
        return keras.Model(images, {"only": keras.layers.Conv2D(8, 3, strides=16)(images)})

    with pytest.raises(UserError, match="'SSD_Mine_320' cannot be built"):
        ssd_keras.create("SSD_Mine_320", names(2), backbone=backbone)


@pytest.mark.parametrize("box_network", ["SSD", "DSSD", "YOLO"])
def test_a_backbone_that_is_no_model_says_so(box_network):
    with pytest.raises(UserError, match=r"must be a keras\.Model, got list"):
        ssd_keras.create(f"{box_network}_Mine_320", names(2), backbone=lambda size: [])


def test_a_backbone_of_kerashub_names_the_extra_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"needs KerasHub: pip install 'ssd-keras\[kerashub\]'"):
        ssd_keras.create("SSD_Mine_96", names(2), backbone="kerashub:resnet_50_imagenet")


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("SSD_MobileNet_320x192", "20x12 10x6 5x3 3x2 2x1 1"),
        ("SSD_MobileNet_192x320", "12x20 6x10 3x5 2x3 1x2 1"),
        ("DSSD_MobileNet_320x192", "20x12 10x6 5x3 3x2 2x1 1"),
        ("YOLO_MobileNet_320x192", "5x3"),
        slow_if(True, "SSD_VGG16_300x168", "38x21 19x11 10x6 5x3 3x1"),
        slow_if(True, "DSSD_VGG16_512x288", "64x36 32x18 16x9 8x5 6x3 4x1"),
        slow_if(True, "DSSD_ResNet101_193x321", "24x40 12x20 6x10 3x5 1x3"),
    ],
)
def test_a_name_with_two_sides_is_height_and_width(name, maps):
    detector = ssd_keras.create(name, names(2), width=0.25)
    height, width = name.rpartition("_")[2].split("x")
    assert detector.image_size == (int(height), int(width))
    assert table_row(detector)["maps"] == maps


@pytest.mark.parametrize(("size", "maps"), [(128, (8, 4, 2, 1, 1, 1)), (512, (32, 16, 8, 4, 2, 1))])
def test_other_sizes_follow_from_the_backbone(size, maps):
    detector = ssd_keras.create(f"SSD_MobileNet_{size}", names(2), width=0.25)
    per_cell = (3, 6, 6, 6, 6, 6)
    expected = [cells * cells * boxes for cells, boxes in zip(maps, per_cell, strict=True)]
    assert [len(level) for level in detector.box_network.level_anchors] == expected


@pytest.mark.parametrize("name", ["SSD_MobileNet_300", slow_if(True, "SSDLite_MobileNetV2_300")])
def test_a_finer_map_has_default_boxes_half_as_large(name):
    usual = ssd_keras.create(name, names(2), width=0.25).box_network.level_anchors
    finer = ssd_keras.create(name, names(2), width=0.25, finest_stride=8).box_network.level_anchors
    assert len(finer[0]) == 38 * 38 * 3
    np.testing.assert_allclose(sides(finer[0])[:3], sides(usual[0])[:3] / 2, atol=1e-6)
    for ours, theirs in zip(finer[1:], usual, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("options", [{}, {"finest_stride": 8}])
def test_the_smallest_box_is_as_small_as_asked_for(options):
    detector = ssd_keras.create(
        "DSSD_MobileNet_300", names(2), width=0.25, smallest_box=0.04, **options
    )
    assert sides(detector.box_network.anchors).min() == pytest.approx(0.04, abs=1e-6)


def sides(anchors):
    """Heights and widths."""
    return anchors[:, 2:] - anchors[:, :2]


def test_a_detector_with_a_finer_map_comes_back_from_its_file(tmp_path):
    detector = ssd_keras.create("SSD_MobileNet_96", names(2), width=0.25, finest_stride=8)
    detector.save(tmp_path / "finer.keras")
    again = ssd_keras.load(tmp_path / "finer.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_array_equal(again(image)["classes"], detector(image)["classes"])
    np.testing.assert_array_equal(again.box_network.anchors, detector.box_network.anchors)


def test_a_run_folder_without_weights_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no trained detector"):
        ssd_keras.load(tmp_path)
    with pytest.raises(UserError, match=r"There is no run folder or \.keras file"):
        ssd_keras.load(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(UserError, match="cannot be read"):
        ssd_keras.load(tmp_path / "text.keras")
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="not a detector"):
        ssd_keras.load(tmp_path / "other.keras")
