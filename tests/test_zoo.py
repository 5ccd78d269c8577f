"""Models by their names."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.errors import UserError


def names(count):
    return [f"class {i}" for i in range(count)]


@pytest.mark.parametrize(
    ("classes", "parameters"), [(20, 5_821_433), (80, 6_698_933), (90, 6_845_183)]
)
def test_mobilenet_300_has_the_published_parameters(classes, parameters):
    detector = ssd_keras.create("SSD_MobileNet_300", names(classes))
    assert detector.count_params() == parameters
    assert sum(np.prod(w.shape) for w in detector.non_trainable_weights) == 25_344


def test_mobilenet_300_has_the_published_default_boxes():
    anchors = ssd_keras.create("SSD_MobileNet_300", names(2), width=0.25).box_network.level_anchors
    assert [len(level) for level in anchors] == [1083, 600, 150, 54, 24, 6]
    flat = np.concatenate(anchors).astype("float64")
    centres, sizes = (flat[:, :2] + flat[:, 2:]) / 2, flat[:, 2:] - flat[:, :2]
    # [y, x] and [height, width] of the boxes that the specification pins.
    np.testing.assert_allclose(centres[0], [0.026316, 0.026316], atol=1e-6)
    np.testing.assert_allclose(sizes[0], [0.1, 0.1], atol=1e-6)
    np.testing.assert_allclose(sizes[1], [0.141421, 0.282843], atol=1e-6)
    np.testing.assert_allclose(centres[1083], [0.05, 0.05], atol=1e-6)
    np.testing.assert_allclose(sizes[1083], [0.35, 0.35], atol=1e-6)
    np.testing.assert_allclose(sizes[1916], [0.974679, 0.974679], atol=1e-6)
    np.testing.assert_allclose(centres.sum(axis=0), [958.5, 958.5], atol=1e-2)
    np.testing.assert_allclose(sizes.sum(axis=0), [568.5678, 568.5611], atol=1e-3)


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
        ({"classes": ["cat", "dog", "cat"]}, "'cat' is given more than once"),
        ({"classes": ["cat"], "width": 0.0}, "width must be between"),
        ({"classes": ["cat"], "smallest_box": 0.9}, "smallest_box must be between"),
        ({"classes": ["cat"], "backbone_weights": "gone.h5"}, "'gone.h5' does not exist"),
    ],
)
def test_options_that_cannot_be_used_say_why(options, message):
    with pytest.raises(UserError, match=message):
        ssd_keras.create("SSD_MobileNet_300", **options)


@pytest.mark.parametrize(("size", "maps"), [(128, (8, 4, 2, 1, 1, 1)), (512, (32, 16, 8, 4, 2, 1))])
def test_other_sizes_follow_from_the_backbone(size, maps):
    detector = ssd_keras.create(f"SSD_MobileNet_{size}", names(2), width=0.25)
    per_cell = (3, 6, 6, 6, 6, 6)
    expected = [cells * cells * boxes for cells, boxes in zip(maps, per_cell, strict=True)]
    assert [len(level) for level in detector.box_network.level_anchors] == expected


def test_a_run_folder_without_weights_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no trained detector"):
        ssd_keras.load(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        ssd_keras.load(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(UserError, match="cannot be loaded"):
        ssd_keras.load(tmp_path / "text.keras")
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="not a detector"):
        ssd_keras.load(tmp_path / "other.keras")
