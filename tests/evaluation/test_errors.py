"""Kinds of errors, their counts and their costs."""

import numpy as np
import pytest

from ssd_keras.evaluation import error_analysis, voc_ap
from ssd_keras.evaluation.errors import KINDS
from tests.evaluation.cases import CLASSES, found, perfect, truth

A, B, C, D = (0, 0, 20, 20), (0, 50, 20, 70), (50, 0, 70, 20), (50, 50, 70, 70)
NOWHERE = (80, 80, 95, 95)
SHIFTED = (0, 60, 20, 80)  # overlaps B by a third

# name: objects, detections, kind -> count
SINGLE = {
    "nothing wrong": ([(0, *A)], [(0, 0.9, *A)], {}),
    "duplicate": ([(0, *A)], [(0, 0.9, *A), (0, 0.8, *A)], {"duplicate": 1}),
    "wrong place": ([(0, *B)], [(0, 0.9, *SHIFTED)], {"wrong place": 1}),
    "wrong class": ([(0, *A)], [(1, 0.9, *A)], {"wrong class": 1}),
    "background": ([(0, *A)], [(0, 0.9, *A), (0, 0.8, *NOWHERE)], {"background": 1}),
    "missed": ([(0, *A), (0, *B)], [(0, 0.9, *A)], {"missed": 1}),
    "on another object comes before near its own": (
        [(0, *B), (1, *SHIFTED)], [(0, 0.9, *SHIFTED)], {"wrong class": 1, "missed": 1}),
    "wrong class and wrong place is background": (
        [(0, *B)], [(1, 0.9, *SHIFTED)], {"background": 1, "missed": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", SINGLE)
def test_counts(case):
    objects, rows, expected = SINGLE[case]
    errors = error_analysis([truth(*objects)], [found(*rows)], CLASSES)
    assert errors.counts == dict.fromkeys(KINDS, 0) | expected


def one_of_each():
    record = truth((0, *A), (0, *B), (1, *C), (0, *D))
    rows = found(
        (0, 0.9, *A),  # a hit
        (0, 0.8, *A),  # duplicate
        (0, 0.7, *SHIFTED),  # wrong place
        (0, 0.6, *C),  # wrong class
        (0, 0.5, *NOWHERE),  # background; D is missed
    )
    return [record], [rows], CLASSES


def test_one_of_each_is_counted():
    assert error_analysis(*one_of_each()).counts == dict.fromkeys(KINDS, 1)


def test_one_of_each_costs():
    errors = error_analysis(*one_of_each())
    # mAP over cat (3 objects) and dog (1), before and after each kind is put right:
    # cat: hit first, 1/3; the duplicate goes, 1/3; B is found, 2/3; nothing more until D, 1.
    # dog: 0 until the detection on C becomes a dog, 1.
    expected = {
        "duplicate": 0,
        "wrong place": 1 / 6,
        "wrong class": 1 / 2,
        "background": 0,
        "missed": 1 / 6,
    }
    assert errors.map == pytest.approx(1 / 6)
    assert errors.cost == pytest.approx(expected)


def test_costs_alone():
    errors = error_analysis(*one_of_each())
    # The detection in the wrong place is the third of cat, behind the duplicate: 2/3 of 1/3.
    assert errors.alone["wrong place"] == pytest.approx((1 / 3 * 2 / 3) / 2)
    assert errors.alone["wrong class"] == pytest.approx(1 / 2)
    # D and, since only its own error is put right, nothing of B and C is found with it.
    assert errors.alone["missed"] > errors.cost["missed"]


def test_costs_add_up_to_the_whole(reference):
    truths, founds, classes, _ = reference
    errors = error_analysis(truths, founds, classes)
    assert errors.map == voc_ap(truths, founds, classes)["map"]
    assert sum(errors.cost.values()) == pytest.approx(1 - errors.map, abs=1e-12)


def test_costs_are_never_negative(reference):
    truths, founds, classes, _ = reference
    errors = error_analysis(truths, founds, classes)
    assert min(*errors.cost.values(), *errors.alone.values()) >= -1e-12


def test_every_detection_is_sorted(reference):
    truths, founds, classes, _ = reference
    errors = error_analysis(truths, founds, classes)
    false = sum(errors.counts[kind] for kind in KINDS if kind != "missed")
    assert false == (errors.kind >= 0).sum()
    assert len(errors.kind) == sum(map(len, founds))


def test_perfect_detections_have_no_errors(reference):
    truths, _, classes, _ = reference
    plain = [truth(*np.column_stack([t.labels, t.boxes * 100])) for t in truths]
    errors = error_analysis(plain, [perfect(t, classes) for t in plain], classes)
    assert errors.counts == dict.fromkeys(KINDS, 0)


def test_empty_detections_miss_everything(reference):
    truths, _, classes, _ = reference
    errors = error_analysis(truths, [found(classes=classes) for _ in truths], classes)
    assert errors.counts["missed"] == sum((~t.difficult).sum() for t in truths)
    assert errors.cost["missed"] == pytest.approx(1)


def test_difficult_objects_are_not_missed():
    errors = error_analysis([truth((0, *A), (0, *B), difficult=(1,))], [found()], CLASSES)
    assert errors.counts["missed"] == 1


def test_false_detections_of_classes_without_ground_truth_cost_nothing():
    errors = error_analysis([truth((0, *A))], [found((0, 0.9, *A), (2, 1, *NOWHERE))], CLASSES)
    assert (errors.counts["background"], errors.cost["background"]) == (1, 0)
