"""VOC average precision against published and hand-worked values."""

import json

import numpy as np
import pytest

from ssd_keras.data.source import GroundTruth
from ssd_keras.detections import Detections
from ssd_keras.evaluation import voc_ap
from ssd_keras.evaluation.tables import tabulate
from ssd_keras.evaluation.voc import average_precision, table_hits
from tests.evaluation.cases import CLASSES, found, perfect, truth

NAN = float("nan")
BOX = (10, 10, 50, 50)


def text_case(folder):
    """The case of seven images: lines of `object [score] x y width height`."""
    side = 1024
    truths, founds = [], []
    for path in sorted((folder / "gts").iterdir()):
        rows = np.array([line.split()[1:] for line in path.read_text().splitlines()], float)
        truths.append(GroundTruth(path.stem, side, side, corners(rows) / side, np.zeros(len(rows))))
        text = (folder / "dets" / path.name).read_text()
        rows = np.array([line.split()[1:] for line in text.splitlines()], float)
        founds.append(
            Detections(corners(rows[:, 1:]) / side, rows[:, 0], [0] * len(rows), ("object",))
        )
    return truths, founds


def corners(rows):
    x, y, w, h = rows.T
    return np.stack([y, x, y + h, x + w], 1)


# The file has its two rows under each other's name: 1/33 is a precision of 1/3 at one of eleven
# points, and the case's own publication gives 0.2684 for eleven points and 0.2457 for all.
@pytest.mark.parametrize(
    ("method", "key"), [("all_point", "ap_11_points"), ("11_point", "ap_all_points")]
)
def test_published_case_at_four_thresholds(shared, method, key):
    folder = shared("data/evaluator/voc_case_1")
    expected = json.loads((folder / "expected.json").read_text())
    truths, founds = text_case(folder)
    ours = [voc_ap(truths, founds, ["object"], iou, method)["map"] for iou in expected["iou"]]
    np.testing.assert_allclose(ours, expected[key], atol=1e-6)


@pytest.mark.parametrize(
    ("method", "key"), [("all_point", "voc_area"), ("11_point", "voc07_11point")]
)
def test_reference_vectors(reference, method, key):
    truths, founds, classes, file = reference
    ours = voc_ap(truths, founds, classes, method=method)
    np.testing.assert_allclose(list(ours["per_class"].values()), file[f"{key}_ap"], atol=1e-6)
    assert ours["map"] == pytest.approx(float(file[f"{key}_map"]), abs=1e-6)


# Worked by hand: where precision rises again, the best that follows counts.
@pytest.mark.parametrize(
    ("recall", "precision", "all_point", "eleven"),
    [
        ([0, 1 / 2, 1], [0, 1 / 2, 2 / 3], 2 / 3, 2 / 3),
        ([1 / 2, 1 / 2, 1], [1, 1 / 2, 2 / 3], 1 / 2 + 1 / 3, (6 + 5 * 2 / 3) / 11),
        ([1 / 4], [1], 1 / 4, 3 / 11),
    ],
)
def test_curves_whose_average_is_known(recall, precision, all_point, eleven):
    curve = np.array(recall, float), np.array(precision, float)
    assert average_precision(*curve, "all_point") == pytest.approx(all_point)
    assert average_precision(*curve, "11_point") == pytest.approx(eleven)


# name: objects of one image, its difficult ones, detections, AP of (cat, dog, cow) by all points
CASES = {
    "a hit": ([(0, *BOX)], (), [(0, 0.9, *BOX)], (1, NAN, NAN)),
    "nothing found": ([(0, *BOX)], (), [], (0, NAN, NAN)),
    "label offset by one": ([(0, *BOX), (1, *BOX)], (), [(1, 0.9, *BOX), (2, 0.9, *BOX)],
                            (0, 1, NAN)),
    "a false one above the hit": ([(0, *BOX)], (), [(0, 0.9, 60, 60, 90, 90), (0, 0.5, *BOX)],
                                  (0.5, NAN, NAN)),
    "a false one below the hit": ([(0, *BOX)], (), [(0, 0.9, *BOX), (0, 0.5, 60, 60, 90, 90)],
                                  (1, NAN, NAN)),
    "second box on an object is false": (
        [(0, *BOX), (0, 60, 60, 90, 90)], (),
        [(0, 0.9, *BOX), (0, 0.8, *BOX), (0, 0.7, 60, 60, 90, 90)], (0.5 + 0.5 * 2 / 3, NAN, NAN)),
    "difficult objects neither help nor hurt": (
        [(0, *BOX), (0, 60, 60, 90, 90)], (1,),
        [(0, 0.9, 60, 60, 90, 90), (0, 0.8, 60, 60, 90, 90), (0, 0.7, *BOX)], (1, NAN, NAN)),
    "only difficult objects are no ground truth": (
        [(0, *BOX)], (0,), [(0, 0.9, *BOX)], (NAN, NAN, NAN)),
    "false ones of a class without ground truth": (
        [(0, *BOX)], (), [(0, 0.9, *BOX), (2, 0.9, *BOX)], (1, NAN, NAN)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hand_worked(case):
    objects, difficult, rows, expected = CASES[case]
    ours = voc_ap([truth(*objects, difficult=difficult)], [found(*rows)], CLASSES)
    np.testing.assert_allclose(list(ours["per_class"].values()), expected, atol=1e-12)
    known = [e for e in expected if not np.isnan(e)]
    np.testing.assert_allclose(ours["map"], np.mean(known) if known else NAN, atol=1e-12)


@pytest.mark.parametrize(
    ("row", "false"),
    [
        # 10 x 10 pixels in a region of 60 x 60: an IoU of 0.03, but all of it lies inside.
        ((0, 0.9, 40, 40, 49, 49), 0),
        # Half of it, and a column less.
        ((0, 0.9, 40, 25, 49, 34), 0),
        ((0, 0.9, 40, 24, 49, 33), 1),
        # One of another class.
        ((1, 0.9, 40, 40, 49, 49), 1),
    ],
)
def test_what_lies_in_a_crowd_counts_for_nothing(row, false):
    record = truth((0, 5, 5, 14, 14), (0, 30, 30, 89, 89), (1, 5, 70, 14, 79), crowd=(1,))
    rows = found(row, (0, 0.8, 5, 5, 14, 14), (1, 0.8, 5, 70, 14, 79))
    per_class = voc_ap([record], [rows], CLASSES)["per_class"]
    assert per_class[CLASSES[row[0]]] == (0.5 if false else 1.0)


def test_what_is_found_twice_in_a_crowd_is_no_duplicate():
    record = truth((0, 40, 40, 49, 49), (0, 30, 30, 89, 89), crowd=(1,))
    rows = found((0, 0.9, 40, 40, 49, 49), (0, 0.8, 40, 41, 49, 50), (0, 0.7, 60, 60, 69, 69))
    table = tabulate([record], [rows], CLASSES)
    hits, counted = table_hits(table)
    assert (hits.tolist(), counted.tolist()) == ([True, False, False], [True, False, False])


def test_crowd_counts_as_difficult():
    record = truth((0, *BOX), (0, 60, 60, 90, 90), crowd=(1,))
    rows = found((0, 0.9, 60, 60, 90, 90), (0, 0.8, *BOX))
    assert voc_ap([record], [rows], CLASSES)["map"] == 1


@pytest.mark.parametrize(("edge", "hit"), [(29, 1), (28, 0)])
def test_boxes_include_their_last_pixel(edge, hit):
    # The object is 40 pixels wide (10..49), the detection 20 (10..29) or 19: IoU 0.5 or 0.475.
    record = truth((0, 10, 10, 49, 49))
    assert voc_ap([record], [found((0, 1, 10, 10, 49, edge))], CLASSES)["map"] == hit


def test_an_overlap_of_exactly_one_half_survives_normalised_boxes():
    # 333 and 500 are no powers of two, so the fractions are rounded.
    sizes = {"height": 333, "width": 500}
    record = truth((0, 7, 11, 106, 210), **sizes)
    rows = found((0, 1, 7, 11, 106, 110), **sizes)
    assert voc_ap([record], [rows], CLASSES)["map"] == 1


@pytest.mark.parametrize(("first", "second", "expected"), [(0, 1, 1.0), (1, 0, 0.5)])
def test_equal_scores_keep_the_order_of_the_images(first, second, expected):
    images = [
        (truth((0, *BOX), image_id="hit"), found((0, 0.5, *BOX))),
        (truth(image_id="false"), found((0, 0.5, *BOX))),
    ]
    truths, founds = zip(*(images[i] for i in (first, second)), strict=True)
    assert voc_ap(truths, founds, CLASSES)["map"] == expected


@pytest.mark.parametrize("method", ["all_point", "11_point"])
def test_more_than_100_detections_all_count(method):
    false = [(0, 0.9 - 0.001 * i, 60, 60, 90, 90) for i in range(150)]
    ours = voc_ap([truth((0, *BOX))], [found(*false, (0, 0.1, *BOX))], CLASSES, method=method)
    assert ours["map"] == pytest.approx(1 / 151)


@pytest.mark.parametrize("method", ["all_point", "11_point"])
def test_perfect_is_one_and_empty_is_zero(reference, method):
    truths, founds, classes, _ = reference
    exact = [perfect(record, classes) for record in truths]
    nothing = [found(classes=classes) for _ in founds]
    assert voc_ap(truths, exact, classes, method=method)["map"] == pytest.approx(1)
    assert voc_ap(truths, nothing, classes, method=method)["map"] == 0


def test_no_ground_truth_at_all_is_not_a_number():
    assert np.isnan(voc_ap([truth()], [found((0, 1, *BOX))], CLASSES)["map"])
    assert np.isnan(voc_ap([], [], CLASSES)["map"])


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="'area'"):
        voc_ap([truth()], [found()], CLASSES, method="area")
