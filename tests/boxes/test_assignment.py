"""ATSS and task-aligned assignment: the peers' own results, the papers' rules, cases by hand."""

import keras
import numpy as np
import pytest

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import assigning
from ssd_keras.boxes.atss import atss, nearest, thresholds
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.matching import own_anchors
from ssd_keras.boxes.task_aligned import aligned_targets, alignment, task_aligned
from tests import oracles
from tests.boxes import reference
from tests.boxes.reference import random_boxes

SETS = ("n1", "n3", "n8", "n30", "n100", "tiny", "huge", "near_equal", "border", "nested")
SETS += ("elongated", "empty")
DETECTORS = {"ssd300": reference.ssd300, "mobilenet300": reference.mobilenet300}
TAL = {"tal13_a1_b6": (13, 1, 6), "tal13_a0.5_b6": (13, 0.5, 6)}
TAL |= {"tal10_a1_b6": (10, 1, 6), "tal10_a0.5_b6": (10, 0.5, 6)}
MOST = 100


def layout_of(name: str) -> Layout:
    return Layout.of(DETECTORS[name](), (300, 300))


# --- the peers


class Peers:
    """All ground truths of the reference file for one detector, as one padded batch."""

    def __init__(self, vectors, name):
        self.vectors, self.name, self.layout = vectors, name, layout_of(name)
        self.boxes = np.full((len(SETS), MOST, 4), -1, np.float32)
        self.labels = np.full((len(SETS), MOST), -1, np.int32)
        for row, one in enumerate(SETS):
            truth = self.read(one, "gt")
            self.boxes[row, : len(truth)] = truth
            self.labels[row, : len(truth)] = self.read(one, "labels")
        self.decoded = self.all("decoded")
        self.scores = np.array(keras.ops.sigmoid(self.all("logits")))

    def read(self, one, key):
        return self.vectors[f"{self.name}/{one}/{key}"]

    def all(self, key):
        return np.stack([self.read(one, key) for one in SETS])


@pytest.fixture(
    scope="module", params=["mobilenet300", pytest.param("ssd300", marks=pytest.mark.slow)]
)
def peers(request, shared):
    return Peers(np.load(shared("vectors/objectives.npz")), request.param)


def test_the_layout_is_that_of_the_peers(peers):
    read = {key: peers.vectors[f"{peers.name}/{key}"] for key in ("anchors", "level_counts")}
    np.testing.assert_allclose(peers.layout.anchors, read["anchors"], atol=1e-6)
    counts = [cells * per_cell for cells, per_cell in peers.layout.levels]
    np.testing.assert_array_equal(counts, read["level_counts"])


@pytest.mark.parametrize("candidates", [9, pytest.param(12, marks=pytest.mark.slow)])
def test_atss_is_the_peers(peers, candidates):
    layout = peers.layout
    found = np.array(atss(peers.boxes, layout, candidates))
    np.testing.assert_array_equal(found, peers.all(f"atss{candidates}/index"))
    near = np.array(nearest(peers.boxes, layout.centers, layout.levels, (300, 300), candidates))
    overlap = box_ops.iou_aligned(peers.boxes[:, :, None], layout.anchors[near])
    limits = np.array(thresholds(overlap))
    for row, one in enumerate(SETS[:-1]):
        theirs = peers.read(one, f"atss{candidates}/candidates").T
        ours = near[row, : len(theirs)]
        np.testing.assert_array_equal(np.sort(ours, -1), np.sort(theirs, -1))
        expected = peers.read(one, f"atss{candidates}/threshold")
        np.testing.assert_allclose(limits[row, : len(theirs)], expected, atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["tal13_a1_b6", *(pytest.param(one, marks=pytest.mark.slow) for one in list(TAL)[1:])]
)
def test_task_aligned_is_the_peers(peers, kind):
    candidates, alpha, beta = TAL[kind]
    given = (peers.boxes, peers.labels, peers.decoded, peers.scores)
    options = {"candidates": candidates, "alpha": alpha, "beta": beta}
    matches = np.array(task_aligned(*given, peers.layout, **options))
    np.testing.assert_array_equal(matches, peers.all(f"{kind}/index"))
    metric, overlap, target = aligned(matches, *given, alpha, beta, epsilon=1e-7)
    np.testing.assert_allclose(metric, peers.all(f"{kind}/metric"), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(overlap, peers.all(f"{kind}/iou"), atol=1e-6)
    np.testing.assert_allclose(target, peers.all(f"{kind}/target"), rtol=1e-5, atol=1e-30)


def aligned(matches, boxes, labels, decoded, scores, alpha=1, beta=6, epsilon=0.0):
    """Metric, IoU and target of each default box; 0 without an object."""
    positive = matches >= 0
    overlap = np.array(box_ops.iou_aligned(decoded, assigning.of_object(boxes, matches)))
    label = np.array(assigning.of_object(labels, matches))
    score = np.take_along_axis(scores, label[..., None], 2)[..., 0]
    metric = np.where(positive, alignment(score, overlap, alpha, beta), 0)
    target = aligned_targets(matches, metric, overlap, boxes.shape[1], epsilon)
    return metric, np.where(positive, overlap, 0), np.array(target)


# --- the papers' rules, wherever the tests are


def _wide_layout() -> Layout:
    """Maps of a picture that is no square; boxes of several ratios in a cell."""
    return Layout.of(box_ops.tf_od_levels([(4, 8), (2, 4), (1, 2)]), (64, 128))


def _batch(layout, images=6, objects=7):
    rng = np.random.default_rng(3)
    boxes = random_boxes(rng, images, objects)
    labels = rng.integers(0, 3, (images, objects)).astype(np.int32)
    boxes[1, 3:], labels[1, 3:] = -1, -1
    boxes[2], labels[2] = -1, -1
    codes = rng.normal(0, 0.4, (images, len(layout.anchors), 4))
    decoded = np.array(box_ops.decode(codes, layout.anchors))
    scores = rng.uniform(0, 1, (images, len(layout.anchors), 3)).astype(np.float32)
    return boxes, labels, decoded, scores


@pytest.mark.parametrize("whole_cells", [False, True])
def test_atss_is_the_papers(whole_cells):
    layout = _wide_layout()
    boxes, labels, _, _ = _batch(layout)
    found = np.array(atss(boxes, layout, 5, whole_cells=whole_cells))
    for row in range(len(boxes)):
        truth = boxes[row][labels[row] >= 0]
        given = (layout.anchors, layout.centers, layout.levels, layout.image_size)
        expected = oracles.atss(truth, *given, candidates=5, whole_cells=whole_cells)
        np.testing.assert_array_equal(found[row], expected)
    assert (found >= 0).any()


def test_task_aligned_is_the_papers():
    layout = _wide_layout()
    given = _batch(layout)
    found = np.array(task_aligned(*given, layout, candidates=6, alpha=0.5, beta=3))
    parts = aligned(found, *given, alpha=0.5, beta=3)
    for row, (boxes, labels, decoded, scores) in enumerate(zip(*given, strict=True)):
        real = labels >= 0
        match, *expected = oracles.task_aligned(
            boxes[real], labels[real], decoded, scores, layout.centers, (64, 128), 6, 0.5, 3
        )
        np.testing.assert_array_equal(found[row], match)
        for ours, theirs in zip(parts, expected, strict=True):
            np.testing.assert_allclose(ours[row], theirs, rtol=1e-4, atol=1e-7)
    assert (found >= 0).any()


# --- by hand


def _row_layout() -> Layout:
    """Four cells in a row of 40 x 10 pixels, a square of 10 pixels in each, and one of 20."""
    level = box_ops.Level((1, 4), ((1.0, 0.25), (2.0, 0.5)), (1.0, 0.25), (0.5, 0.125))
    return Layout.of([level], (10, 40))


def test_the_statistics_of_atss_by_hand():
    """Two cells' boxes: IoU 1 and 0.25 in the own cell, 0 and 1/8 in the next one of 20 x 20."""
    layout = _row_layout()
    box = np.float32([[[0.0, 0.25, 1.0, 0.5]]])
    near = np.array(nearest(box, layout.centers, layout.levels, layout.image_size, 4))
    # Cells 0 and 2 are equally near: the lower one comes first.
    np.testing.assert_array_equal(near[0, 0], [2, 3, 0, 1])
    cells = np.array(nearest(box, layout.centers, layout.levels, layout.image_size, 2, True))
    np.testing.assert_array_equal(cells, near)
    overlap = box_ops.iou_aligned(box[:, :, None], layout.anchors[near])
    # The square of 20 pixels around x = 5 covers x from -5 to 15, half of the object's 100 pixels.
    expected = [1.0, 0.25, 0.0, 50 / 450]
    np.testing.assert_allclose(overlap[0, 0], expected, rtol=1e-6)
    wanted = np.mean(expected) + np.std(expected, ddof=1)
    np.testing.assert_allclose(thresholds(overlap)[0, 0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(atss(box, layout, 4)[0], [-1, -1, 0, -1, -1, -1, -1, -1])


def test_one_candidate_in_all_is_the_objects():
    layout = Layout.of([box_ops.Level((1, 1), ((1.0, 1.0),), (1.0, 1.0), (0.5, 0.5))], (8, 8))
    assert np.array(atss(np.float32([[[0.2, 0.2, 0.9, 0.8]]]), layout, 9)).tolist() == [[0]]


def test_an_object_that_holds_no_centre_gets_its_best_default_box():
    layout = _row_layout()
    # Between the centres at 5 and 15 pixels, nearer to the first.
    boxes = np.float32([[[0.3, 0.15, 0.7, 0.22], [-1, -1, -1, -1]]])
    matches = atss(boxes, layout, 9)
    assert not (np.array(matches) >= 0).any()
    own = own_anchors(boxes, layout.anchors)
    assert np.array(own).tolist() == [[0, -1]]
    forced = np.array(assigning.with_lost_objects(matches, own))
    assert forced.tolist() == [[0, -1, -1, -1, -1, -1, -1, -1]]


def test_an_object_that_loses_its_only_default_box_to_a_lost_one_gets_its_own_back():
    matches = np.int32([[-1, 0, 0, 2, -1]])
    # Object 1 has none and takes box 3, the only one of object 2, which then takes box 4.
    own = np.int32([[1, 3, 4]])
    found = np.array(assigning.with_lost_objects(matches, own))
    assert found.tolist() == [[-1, 0, 0, 1, 2]]


def test_of_two_objects_on_one_default_box_the_better_has_it():
    layout = _row_layout()
    boxes = np.float32([[[0, 0.25, 1, 0.5], [0, 0.25, 1, 0.52], [0, 0.25, 1, 0.5]]])
    matches = atss(boxes, layout, 1)
    # The first and the last are equally good: the lowest has it.
    assert np.array(matches).tolist() == [[-1, -1, 0, -1, -1, -1, -1, -1]]
    own = own_anchors(boxes, layout.anchors)
    found = np.array(assigning.with_lost_objects(matches, own))
    assert set(found[0]) == {-1, 0, 1, 2}
    assert found[0, 2] == 0


def test_equal_predictions_go_to_the_lowest_default_box_and_the_lowest_object():
    layout = _row_layout()
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    decoded = np.broadcast_to(boxes[:, :1], (1, 8, 4))
    scores = np.full((1, 8, 1), 0.5, np.float32)
    found = task_aligned(boxes, np.int32([[0, 0]]), decoded, scores, layout, candidates=3)
    assert np.array(found).tolist() == [[0, 0, 0, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_take_no_places(bad):
    layout = _row_layout()
    box = np.float32([[[0, 0, 1, 1]]])
    decoded = np.array(np.broadcast_to(box, (1, 8, 4)))
    scores = np.full((1, 8, 1), 0.5, np.float32)
    scores[0, :2], decoded[0, 2:4] = np.nan, bad
    found = task_aligned(box, np.int32([[0]]), decoded, scores, layout, candidates=3)
    assert np.array(found).tolist() == [[-1, -1, -1, -1, 0, 0, 0, -1]]


def test_ground_truth_that_is_none_gets_nothing():
    """Padding, boxes without area, boxes that are no numbers, and images without objects."""
    layout = _row_layout()
    bad = [
        [-1] * 4,
        [0.5, 0.1, 0.5, 0.9],
        [0.9, 0.9, 0.1, 0.1],
        [0, 0, np.nan, 1],
        [0, 0, 1, np.inf],
    ]
    boxes, labels = np.float32([bad]), np.zeros((1, 5), np.int32)
    given = np.zeros((1, 8, 4), np.float32), np.ones((1, 8, 1), np.float32)
    assert (np.array(atss(boxes, layout)) == -1).all()
    assert (np.array(own_anchors(boxes, layout.anchors)) == -1).all()
    assert (np.array(task_aligned(boxes, labels, *given, layout)) == -1).all()
    for one in (
        atss(boxes[:, :0], layout),
        task_aligned(boxes[:, :0], labels[:, :0], *given, layout),
    ):
        assert np.array(one).tolist() == [[-1] * 8]


def test_targets_of_an_object_go_up_to_its_best_overlap():
    matches = np.int32([[0, 0, -1, 1]])
    metric, overlap = np.float32([[0.2, 0.4, 9, 1e-20]]), np.float32([[0.9, 0.6, 1, 0.3]])
    found = aligned_targets(matches, metric, overlap, 2)
    np.testing.assert_allclose(found, [[0.45, 0.9, 0, 0.3]], rtol=1e-6)
    # The peer's epsilon crushes what is not yet predicted at all.
    crushed = aligned_targets(matches, metric, overlap, 2, epsilon=1e-7)
    assert float(crushed[0, 3]) < 1e-12
