"""Oracles in plain NumPy: as the reference vectors say, where these are at hand, and as we compute.

The first half of each pair needs the vectors; the second runs in every clone.
"""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras import losses
from ssd_keras.data import augmentation as augment
from ssd_keras.data import draws
from ssd_keras.data.source import GroundTruth
from ssd_keras.detections import Detections
from ssd_keras.evaluation import voc_ap
from tests import oracles
from tests.boxes import reference
from tests.boxes.reference import corners, random_boxes, y_first
from tests.evaluation.conftest import load_reference

# --- default boxes

SSD300 = {
    "maps": reference.MAPS_300,
    "image": 300,
    "min_sizes": (30, 60, 111, 162, 213, 264),
    "max_sizes": (60, 111, 162, 213, 264, 315),
    "ratios": reference.RATIOS_300,
    "steps": reference.STEPS_300,
}


def test_oracle_of_default_boxes(shared):
    expected = y_first(np.load(shared("vectors/priors.npz"))["caffe_ssd300_voc_xyxy_noclip"])
    np.testing.assert_allclose(oracles.caffe_default_boxes(**SSD300), expected, atol=1e-6)


def test_default_boxes():
    ours = box_ops.default_boxes(reference.ssd300())
    np.testing.assert_allclose(ours, oracles.caffe_default_boxes(**SSD300), atol=1e-6)


# --- codes


def test_oracle_of_codes(shared):
    vectors = np.load(shared("vectors/codec.npz"))
    anchors, boxes = corners(y_first(vectors["prior_cxcywh"])), y_first(vectors["gt_xyxy"])
    encoded = [oracles.encode(b, a) for b, a in zip(boxes, anchors, strict=True)]
    np.testing.assert_allclose(encoded, y_first(vectors["enc_caffe"]), atol=1e-4)
    codes = y_first(vectors["loc"])
    decoded = [oracles.decode(c, a) for c, a in zip(codes, anchors, strict=True)]
    expected = y_first(vectors["dec_caffe_xyxy"])
    np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-5)


def test_codes():
    rng = np.random.default_rng(0)
    anchors, boxes = random_boxes(rng, 300), random_boxes(rng, 300)
    codes = rng.normal(0, 2, (300, 4)).astype(np.float32)
    encoded = [oracles.encode(b, a) for b, a in zip(boxes, anchors, strict=True)]
    decoded = [oracles.decode(c, a) for c, a in zip(codes, anchors, strict=True)]
    np.testing.assert_allclose(box_ops.encode(boxes, anchors), encoded, atol=1e-4)
    np.testing.assert_allclose(box_ops.decode(codes, anchors), decoded, rtol=1e-5, atol=1e-5)


# --- loss


@pytest.mark.parametrize("name", ["", "_empty1"])
def test_oracle_of_the_loss(shared, name):
    vectors = np.load(shared("vectors/loss.npz"))
    boxes = [y_first(vectors[f"gt_xyxy_{i}"]) for i in range(4)]
    labels = [vectors[f"gt_label_{i}"] for i in range(4)]
    if name:
        boxes[1], labels[1] = boxes[1][:0], labels[1][:0]
    anchors = corners(y_first(vectors["priors_cxcywh"]))
    theirs = oracles.multibox_loss(
        boxes, labels, anchors, y_first(vectors["loc_pred"]), vectors["logits"]
    )
    np.testing.assert_allclose(theirs, vectors[f"caffe_loc_cls{name}"], rtol=1e-5)


@pytest.mark.parametrize("counts", [(3, 1, 12, 7), (2, 0, 5, 1), (0, 0, 0, 1)])
def test_loss(counts):
    rng = np.random.default_rng(sum(counts))
    anchors = box_ops.default_boxes(reference.mobilenet300())
    boxes = [random_boxes(rng, n) for n in counts]
    labels = [rng.integers(1, 5, n) for n in counts]
    codes = rng.normal(0, 1, (4, len(anchors), 4)).astype(np.float32)
    logits = rng.normal(0, 2, (4, len(anchors), 5)).astype(np.float32)
    padded = np.full((4, 12, 4), -1, np.float32)
    padded_labels = np.full((4, 12), -1, np.int32)
    for i, n in enumerate(counts):
        padded[i, :n], padded_labels[i, :n] = boxes[i], labels[i] - 1
    targets = losses.multibox_targets(padded, padded_labels, anchors)
    ours = losses.multibox_loss(targets, codes, logits)
    theirs = oracles.multibox_loss(boxes, labels, anchors, codes, logits)
    np.testing.assert_allclose([ours["box_loss"], ours["class_loss"]], theirs, rtol=1e-5)


# --- colours

COLOURS = {
    "brightness_plus20": {"brightness": 20.0},
    "contrast_1p3": {"contrast": 1.3},
    "sat_0p6_rgb": {"saturation": 0.6},
    "hue_plus15deg_rgb": {"hue": 15.0},
    "hue_minus15deg_rgb": {"hue": -15.0},
    "photometric_contrast_first": {
        "brightness": 20.0, "contrast": 1.3, "saturation": 0.6, "hue": 15.0,
    },
    "photometric_contrast_last": {
        "brightness": 20.0, "contrast": 1.3, "saturation": 0.6, "hue": 15.0,
        "contrast_first": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("key", COLOURS)
def test_oracle_of_colours(shared, key):
    vectors = np.load(shared("vectors/aug.npz"))
    rows = slice(0, 160, 16)
    result = oracles.distort(vectors["image_u8"][rows], **COLOURS[key])
    np.testing.assert_allclose(result, vectors[key][rows], atol=5e-4)


@pytest.mark.parametrize("key", COLOURS)
def test_colours(key):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.float32)
    draw = draws.draw_none(None, None, None, None)
    draw |= {name: tf.constant(value) for name, value in COLOURS[key].items()}
    theirs = oracles.distort(image, **COLOURS[key])
    np.testing.assert_allclose(augment.distort(image, draw), theirs, atol=5e-4)


# --- average precision


def _average_precisions(truth, found, classes, method):
    truths = [(_pixels(t.boxes, t), t.labels, t.difficult) for t in truth]
    founds = [(_pixels(f.boxes, t), f.labels, f.scores) for t, f in zip(truth, found, strict=True)]
    return [
        oracles.voc_average_precision(truths, founds, label, eleven_points=method == "11_point")
        for label in range(len(classes))
    ]


def _pixels(boxes, one):
    return np.float64(boxes) * ([one.height, one.width] * 2)


METHODS = {"all_point": "voc_area_ap", "11_point": "voc07_11point_ap"}


@pytest.mark.parametrize("method", METHODS)
def test_oracle_of_average_precision(shared, method):
    truth, found, classes, file = load_reference(shared("vectors/eval.npz"))
    theirs = _average_precisions(truth, found, classes, method)
    np.testing.assert_allclose(theirs, file[METHODS[method]], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_average_precision(method, seed):
    rng = np.random.default_rng(seed)
    classes, truth, found = ("a", "b", "c"), [], []
    for image in range(12):
        n, m = rng.integers(0, 5), rng.integers(1, 6)
        boxes = random_boxes(rng, n)
        labels = rng.integers(0, 2, n)
        truth.append(GroundTruth(str(image), 256, 256, boxes, labels, rng.random(n) < 0.2))
        near = boxes + rng.normal(0, 0.02, boxes.shape)
        other = random_boxes(rng, m)
        scores = rng.permutation(np.arange(1, n + m + 1)) / 16 + image / 1000
        found.append(
            Detections(
                np.clip(np.concatenate([near, other]), 0, 1).astype(np.float32),
                scores / scores.max() if scores.max() > 1 else scores,
                np.concatenate([labels, rng.integers(0, 3, m)]),
                classes,
            )
        )
    ours = voc_ap(truth, found, classes, method=method)
    theirs = _average_precisions(truth, found, classes, method)
    assert np.isnan(theirs[2])
    assert np.isnan(ours["per_class"]["c"])
    np.testing.assert_allclose(list(ours["per_class"].values())[:2], theirs[:2], atol=1e-6)
    assert 0.05 < theirs[0] < 0.95
