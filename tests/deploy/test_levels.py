"""In int8 no level pays for the values of another."""

import keras
import numpy as np

from ssd_keras import deploy
from ssd_keras.deploy import levels
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.resizing import resize
from tests import tiny
from tests.deploy.conftest import CLASSES, enliven, pictures, raw, run


def test_the_parts_of_a_detector_are_its_levels(detector):
    outputs = levels.joined_outputs(detector)
    assert [output.name for output in outputs] == ["boxes", "classes"]
    sizes = [len(anchors) for anchors in detector.box_network.level_anchors]
    for output in outputs:
        assert [part.shape[1] for part in output.parts] == sizes


def test_an_output_that_is_no_concatenation_stays_whole():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, {"map": keras.layers.Conv2D(2, 1)(image)})
    (output,) = levels.joined_outputs(model)
    assert [spec.name for spec in output.specs] == ["map_0"]
    assert len(output.parts) == 1


def test_the_joined_parts_are_the_outputs(detector):
    image = resize(pictures(1)[0], detector.image_size)[None]
    outputs = levels.joined_outputs(detector)
    parts = levels.split_levels(detector, outputs)(image)
    found = run(
        levels.join_model(outputs), **{name: np.asarray(part) for name, part in parts.items()}
    )
    for name, wanted in detector(image).items():
        np.testing.assert_array_equal(found[name], np.asarray(wanted))


def test_float_files_keep_their_concatenation():
    assert "DEQUANTIZE" not in TFLiteFile(raw("none")).operators()


def make_sure_of_its_background(detector):
    """Lets the coarsest level be sure to a logit of 100,000 that nothing is there."""
    head = detector.get_layer(detector.box_network.class_layers[-1])
    bias = np.asarray(head.bias).reshape(-1, len(CLASSES) + 1)
    bias[:, 0] = 1e5
    head.bias.assign(bias.ravel())


def int8(detector) -> bytes:
    return deploy.raw_network(detector, quantization="int8", calibration_images=pictures(16))


def test_a_level_of_huge_values_does_not_coarsen_the_others():
    keras.utils.set_random_seed(0)
    detector = enliven(tiny.detector(CLASSES))
    files = [int8(detector)]
    make_sure_of_its_background(detector)
    files.append(int8(detector))
    image = np.round(resize(pictures(1)[0], (32, 32)))[None].astype(np.uint8)
    usual, found = (run(file, image=image)["classes"][0] for file in files)
    coarsest = len(detector.box_network.level_anchors[-1])
    assert usual.std() > 0.5
    np.testing.assert_array_equal(found[:-coarsest], usual[:-coarsest])
    assert found[-coarsest:, 0].min() > 9e4
