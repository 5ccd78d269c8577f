"""ATSS and task-aligned assignment: the peers' own results, the papers' rules, cases by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import assigning
from ssd_keras.boxes.atss import atss, nearest, thresholds
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.matching import own_anchors
from ssd_keras.boxes.task_aligned import aligned_targets, alignment, task_aligned
from tests import oracles
from tests.boxes import reference
from tests.boxes.reference import random_boxes

SETS = "n1 n3 n8 n30 n100 tiny huge near_equal border nested elongated empty".split()
DETECTORS = {"ssd300": reference.ssd300, "mobilenet300": reference.mobilenet300}
TAL = {"tal13_a1_b6": (13, 1, 6), "tal13_a0.5_b6": (13, 0.5, 6)}
TAL |= {"tal10_a1_b6": (10, 1, 6), "tal10_a0.5_b6": (10, 0.5, 6)}


def layout_of(name: str) -> Layout:
    return Layout.of(DETECTORS[name](), (300, 300))


@pytest.fixture(scope="module")
def vectors(shared):
    return np.load(shared("vectors/objectives.npz"))


@pytest.fixture(params=[f"{name}/{one}" for name in DETECTORS for one in SETS])
def case(request, vectors):
    """A ground truth of the reference file: its layout, and a function that reads its arrays."""
    name = request.param.split("/")[0]
    layout = layout_of(name)
    np.testing.assert_allclose(layout.anchors, vectors[f"{name}/anchors"], atol=1e-6)
    return layout, lambda key: vectors[f"{request.param}/{key}"]


def test_layouts_are_those_of_the_reference_file(vectors):
    for name in DETECTORS:
        layout = layout_of(name)
        counts = [cells * per_cell for cells, per_cell in layout.levels]
        np.testing.assert_array_equal(counts, vectors[f"{name}/level_counts"])
        per_cell = [per_cell for _, per_cell in layout.levels]
        np.testing.assert_array_equal(per_cell, vectors[f"{name}/boxes_per_cell"])


@pytest.mark.parametrize("candidates", [9, 12])
def test_atss_is_the_peers(case, candidates):
    layout, read = case
    truth = read("gt")[None]
    expected = read(f"atss{candidates}/index")
    np.testing.assert_array_equal(np.array(atss(truth, layout, candidates))[0], expected)
    if not truth.shape[1]:
        return
    near = np.array(nearest(truth, layout.centers, layout.levels, (300, 300), candidates))[0]
    theirs = read(f"atss{candidates}/candidates").T
    np.testing.assert_array_equal(np.sort(near, -1), np.sort(theirs, -1))
    overlap = box_ops.iou_aligned(truth[0][:, None], layout.anchors[near])
    expected = read(f"atss{candidates}/threshold")
    np.testing.assert_allclose(thresholds(overlap), expected, atol=1e-6)


@pytest.mark.parametrize("kind", TAL)
def test_task_aligned_is_the_peers(case, kind):
    layout, read = case
    candidates, alpha, beta = TAL[kind]
    truth, labels, decoded = read("gt")[None], read("labels")[None], read("decoded")[None]
    scores = np.array(keras.ops.sigmoid(read("logits")))[None]
    options = {"candidates": candidates, "alpha": alpha, "beta": beta}
    matches = task_aligned(truth, labels, decoded, scores, layout, **options)
    np.testing.assert_array_equal(np.array(matches)[0], read(f"{kind}/index"))
    if not truth.shape[1]:
        return
    metric, overlap = aligned(matches, truth, labels, decoded, scores, alpha, beta)
    np.testing.assert_allclose(metric[0], read(f"{kind}/metric"), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(overlap[0], read(f"{kind}/iou"), atol=1e-6)
    target = aligned_targets(matches, metric, overlap, truth.shape[1], epsilon=1e-7)
    np.testing.assert_allclose(target[0], read(f"{kind}/target"), rtol=1e-5, atol=1e-30)


def aligned(matches, truth, labels, decoded, scores, alpha=1, beta=6):
    """Alignment and IoU of each default box with its object, 0 without one."""
    positive = np.array(matches) >= 0
    overlap = np.array(box_ops.iou_aligned(decoded, assigning.of_object(truth, matches)))
    score = np.take_along_axis(scores, np.array(assigning.of_object(labels, matches))[..., None], 2)
    metric = np.array(alignment(score[..., 0], overlap, alpha, beta))
    return np.where(positive, metric, 0), np.where(positive, overlap, 0)
