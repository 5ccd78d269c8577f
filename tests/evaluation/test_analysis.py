"""Thresholds, confusions, recall by size and level, worst images."""

import numpy as np
import pytest

from ssd_keras.evaluation import analysis
from ssd_keras.evaluation.tables import tabulate
from tests.evaluation.cases import CLASSES, found, truth

A, B, C, D = (0, 0, 20, 20), (0, 50, 20, 70), (50, 0, 70, 20), (50, 50, 70, 70)
NOWHERE = (80, 80, 95, 95)


def table(objects, rows, **flags):
    return tabulate([truth(*objects, **flags)], [found(*rows)], CLASSES)


# name: objects, detections, (threshold, f1, precision, recall) of cat
POINTS = {
    "all right": ([(0, *A)], [(0, 0.9, *A)], (0.9, 1, 1, 1)),
    "the false one is cut off": (
        [(0, *A), (0, *B)], [(0, 0.9, *A), (0, 0.6, *B), (0, 0.4, *NOWHERE)], (0.6, 1, 1, 1)),
    "equal scores are kept or cut together": (
        [(0, *A), (0, *B)], [(0, 0.9, *A), (0, 0.6, *B), (0, 0.6, *NOWHERE)],
        (0.6, 4 / 5, 2 / 3, 1)),
    "of equal F1 the higher threshold": (
        [(0, *A), (0, *B)],
        [(0, 0.9, *A), (0, 0.8, *NOWHERE), (0, 0.7, *NOWHERE), (0, 0.6, *B)],
        (0.9, 2 / 3, 1, 1 / 2)),
    "no hit": ([(0, *A)], [(0, 0.9, *NOWHERE)], (np.nan,) * 4),
    "no detection": ([(0, *A)], [], (np.nan,) * 4),
    "no ground truth": ([(1, *A)], [(0, 0.9, *A)], (np.nan,) * 4),
}  # fmt: skip


@pytest.mark.parametrize("case", POINTS)
def test_working_point(case):
    objects, rows, expected = POINTS[case]
    point = analysis.working_points(table(objects, rows))["cat"]
    ours = (point.threshold, point.f1, point.precision, point.recall)
    np.testing.assert_allclose(ours, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([(0, 0.75, *A)], [0.75, 0.75, 0.75]), ([], [0.5, 0.5, 0.5])],
)
def test_classes_without_a_threshold_get_the_pooled_one(rows, expected):
    data = table([(0, *A)], rows)
    assert analysis.thresholds(data, analysis.working_points(data)).tolist() == expected


def test_threshold_curves():
    curves = analysis.threshold_curves(
        table([(0, *A), (1, *B)], [(0, 0.75, *A), (1, 0.25, *NOWHERE)])
    )
    at = {t: i for i, t in enumerate(np.round(curves["threshold"], 2))}
    for threshold, precision, recall, f1 in [
        (0.0, 1 / 2, 1 / 2, 1 / 2),
        (0.25, 1 / 2, 1 / 2, 1 / 2),
        (0.26, 1, 1 / 2, 2 / 3),
        (0.75, 1, 1 / 2, 2 / 3),
        (0.76, np.nan, 0, 0),
    ]:
        ours = [curves[name][at[threshold]] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(ours, (precision, recall, f1))


# name: objects, detections, flags, matrix (cat, dog, cow, background or missed)
MATRICES = {
    "right": ([(0, *A)], [(0, 0.9, *A)], {}, {(0, 0): 1}),
    "taken for another": ([(0, *A)], [(1, 0.9, *A)], {}, {(0, 1): 1}),
    "background": ([], [(1, 0.9, *A)], {}, {(3, 1): 1}),
    "missed": ([(2, *A)], [], {}, {(2, 3): 1}),
    "below the threshold": ([(0, *A)], [(0, 0.4, *A)], {}, {(0, 3): 1}),
    "second box on an object": ([(0, *A)], [(0, 0.9, *A), (0, 0.8, *A)], {},
                                {(0, 0): 1, (3, 0): 1}),
    "own class first": ([(0, *A), (1, *A)], [(1, 0.9, *A), (0, 0.8, *A)], {},
                        {(0, 0): 1, (1, 1): 1}),
    "difficult objects are left out": ([(0, *A)], [(0, 0.9, *A)], {"difficult": (0,)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", MATRICES)
def test_confusion_matrix(case):
    objects, rows, flags, expected = MATRICES[case]
    matrix = analysis.confusion_matrix(table(objects, rows, **flags), 0.5)
    assert {tuple(map(int, at)): int(matrix[tuple(at)]) for at in np.argwhere(matrix)} == expected


def test_of_many_classes_the_most_confused_are_shown():
    #        a  b  c  d  missed
    matrix = [
        [5, 0, 0, 0, 1],
        [0, 7, 3, 0, 0],
        [0, 1, 2, 0, 0],
        [0, 0, 1, 4, 0],
        [0, 2, 0, 1, 0],
    ]
    small, names = analysis.most_confused(np.array(matrix), "abcd", 2)
    assert names == ["b", "c", "(others)"]
    assert small.tolist() == [[7, 3, 0, 0], [1, 2, 0, 0], [0, 1, 9, 1], [2, 0, 1, 0]]
    whole, names = analysis.most_confused(np.array(matrix), "abcd", 4)
    assert (whole.tolist(), names) == (matrix, list("abcd"))


def test_recall_by_size():
    objects = [(0, 0, 0, 10, 10), (0, 0, 20, 32, 52), (0, 40, 0, 99, 30), (0, 0, 60, 10, 70)]
    data = table(objects, [(0, 0.9, *objects[0][1:]), (0, 0.2, *objects[1][1:])])
    rows = analysis.recall_by_size(data, analysis.objects_found(data))
    ours = {r["name"]: (r["objects"], r["found"]) for r in rows if r["objects"]}
    assert ours == {"0-16 px": (2, 1), "32-64 px": (2, 1)}
    rows = analysis.recall_by_size(data, analysis.objects_found(data, 0.5))
    assert [r["recall"] for r in rows][:3:2] == [0.5, 0]


def test_recall_by_level():
    levels = [np.array([[0, 0, 0.2, 0.2]]), np.array([[0, 0, 1, 1], [0.5, 0.5, 1, 1]])]
    data = table([(0, *A), (0, 50, 50, 99, 99), (0, 0, 0, 99, 99)], [(0, 0.9, *A)])
    rows = analysis.recall_by_level(data, analysis.objects_found(data), levels)
    assert [(r["objects"], r["found"]) for r in rows] == [(1, 1), (2, 0)]


def test_the_level_of_a_letterboxed_object_is_that_on_the_canvas():
    # In an image twice as wide as high: a square that is 0.4 x 0.2 of it and 0.2 x 0.2 of a canvas.
    square = (0, 0, 0, 39, 39)
    data = table([square], [], height=100, width=200)
    levels = [np.array([[0, 0, 0.4, 0.2]]), np.array([[0.25, 0, 0.45, 0.2]])]
    found = analysis.objects_found(data)
    for resize, wanted in (("half_pixel", [1, 0]), ("letterbox", [0, 1])):
        rows = analysis.recall_by_level(data, found, levels, (300, 300), resize)
        assert [row["objects"] for row in rows] == wanted


def test_best_default_boxes():
    levels = [np.array([[0, 0, 0.5, 0.5]]), np.array([[0, 0, 0.5, 0.25], [0.5, 0.5, 1, 1]])]
    overlap, level = analysis.best_default_boxes([[0, 0, 0.5, 0.3], [0.5, 0.5, 1, 1]], levels)
    np.testing.assert_allclose(overlap, [25 / 30, 1])
    assert level.tolist() == [1, 1]


def test_worst_images_come_in_order_of_their_errors():
    truths = [truth((0, *A), image_id=name) for name in "abcd"]
    founds = [
        found((0, 0.9, *A)),  # right
        found(),  # one missed
        found((0, 0.9, *A), (0, 0.8, *NOWHERE)),  # one false, one hit
        found((0, 0.9, *NOWHERE), (0, 0.4, *B)),  # one missed, one false, one too faint
    ]
    rows = analysis.worst_images(tabulate(truths, founds, CLASSES), 0.5)
    ours = [(r["image_id"], r["missed"], r["false"], r["hits"]) for r in rows]
    assert ours == [("d", 1, 1, 0), ("b", 1, 0, 0), ("c", 0, 1, 1)]
