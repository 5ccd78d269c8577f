"""Curves and diagrams: what they show, and that every input and every name gives one."""

import types
import warnings

import numpy as np
import pytest

from ssd_keras import figures, plots
from tests.comparing import assert_drawn

CLASSES = ("cat", "dog", "a rather long class name")
GREY = 90


def image(height=200, width=300):
    return np.full((height, width, 3), GREY, np.uint8)


CURVE = {"recall": np.array([0.5, 0.5, 1]), "precision": np.array([1, 0.5, 2 / 3])}
NOTHING = {"recall": np.zeros(0), "precision": np.zeros(0)}
OVER = np.linspace(0, 1, 101)
ROWS = [{"name": "0-16 px", "objects": 3, "recall": 0.5}]
UNKNOWN = [{"name": "0-16 px", "objects": 0, "recall": np.nan}]
FIGURES = {
    "no history": lambda: figures.training_curves([]),
    "history": lambda: figures.training_curves(
        [{"epoch": 1, "loss": 2.0, "ap50": 0.1}, {"epoch": 2, "loss": 1.0, "learning_rate": 0.1}]
    ),
    "history with nan": lambda: figures.training_curves(
        [{"epoch": 1, "loss": np.nan, "note": "x"}]
    ),
    "models and their costs": lambda: figures.accuracy_and_cost(
        [
            {"variant": "SSD", "ap": (0.3, 0.3, 0.3), "gmacs": 0.7, "ms_int8": 8.0},
            {"variant": "DSSD", "ap": (0.4, 0.35, 0.45), "gmacs": 2.1, "ms_int8": None},
        ]
    ),
    "models without a measure": lambda: figures.accuracy_and_cost(
        [{"variant": "SSD", "ap": None, "gmacs": 0.7, "ms_int8": 8.0}]
    ),
    "no curves": lambda: figures.precision_recall({}),
    "curves": lambda: figures.precision_recall({"cat": CURVE, "dog": NOTHING}),
    "80 curves": lambda: figures.precision_recall({str(i): CURVE for i in range(80)}),
    "thresholds": lambda: figures.score_thresholds(
        {"threshold": OVER, "precision": OVER, "recall": 1 - OVER, "f1": OVER * (1 - OVER)}
    ),
    "no thresholds": lambda: figures.score_thresholds(
        dict.fromkeys(("precision", "recall", "f1"), OVER * np.nan) | {"threshold": OVER}
    ),
    "costs": lambda: figures.error_costs({"missed": 0.3}, {"missed": 0.4}),
    "no costs": lambda: figures.error_costs({"missed": np.nan}, {"missed": np.nan}),
    "recall": lambda: figures.recall_bars({"all": ROWS, "best": UNKNOWN}, "By size"),
    "confusion": lambda: figures.confusion(np.eye(4, dtype=int), CLASSES),
    "big confusion": lambda: figures.confusion(np.eye(46, dtype=int), [str(i) for i in range(45)]),
    "coverage": lambda: figures.coverage([0.1, 0.5], [0.4, 0.9], [0, 1]),
    "no coverage": lambda: figures.coverage([], [], []),
    "pyramids": lambda: figures.feature_pyramids(
        {"SSD": [np.ones((8, 8, 3)), np.ones((4, 4, 3))], "DSSD": [np.ones((8, 8, 5))]}, image()
    ),
}


# How many axes, lines, bars, images, clouds of points and texts each of them has.
DRAWN = {
    "no history": (1, 0, 0, 0, 0, 0),
    "history": (3, 3, 0, 0, 0, 0),
    "history with nan": (1, 0, 0, 0, 0, 0),
    "no curves": (1, 0, 0, 0, 0, 0),
    "curves": (1, 2, 0, 0, 0, 0),
    "80 curves": (1, 81, 0, 0, 0, 0),
    "thresholds": (1, 4, 0, 0, 0, 0),
    "no thresholds": (1, 3, 0, 0, 0, 0),
    "costs": (1, 0, 2, 0, 0, 0),
    "no costs": (1, 0, 2, 0, 0, 0),
    # A point and the two ends of its bar are lines.
    "models and their costs": (2, 12, 0, 0, 4, 0),
    "models without a measure": (2, 6, 0, 0, 2, 0),
    "recall": (1, 0, 2, 0, 0, 2),
    "confusion": (1, 0, 0, 1, 0, 4),
    "big confusion": (1, 0, 0, 1, 0, 46),
    "coverage": (1, 1, 0, 0, 2, 0),
    "no coverage": (1, 1, 0, 0, 0, 0),
    "pyramids": (6, 0, 0, 5, 0, 0),
}
KINDS = ("lines", "patches", "images", "collections", "texts")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_a_warning(name, recwarn, tmp_path):
    figure = FIGURES[name]()
    figures.save(figure, tmp_path / "figure.png")
    assert [str(w.message) for w in recwarn] == []
    counts = [sum(len(getattr(axes, kind)) for axes in figure.axes) for kind in KINDS]
    assert (len(figure.axes), *counts) == DRAWN[name]
    # What has no numbers has a frame and its titles.
    assert_drawn(tmp_path / "figure.png", smallest=100)


def test_a_feature_map_shows_the_mean_strength_of_its_channels():
    level = np.zeros((4, 4, 2))
    level[1, 2] = (-3, 1)
    (cell,) = figures.feature_pyramids({"SSD": [level]}).axes
    shown = cell.images[0].get_array()
    assert (shown[1, 2], shown.sum()) == (2, 2)
    assert cell.get_title() == "SSD  4x4"


def test_history_is_sorted_into_panels():
    rows = [{"epoch": e, "loss": 1.0, "ap50": 0.5, "learning_rate": 0.1} for e in (1, 2)]
    titles = [axes.get_title() for axes in figures.training_curves(rows).axes]
    assert titles == ["Loss", "On the evaluation data", "Learning rate"]


def test_compared_models_have_the_same_steps_in_both_panels():
    runs = [[{"step": 8, "loss": 3.0}, {"step": 20, "loss": 2.0, "ap50": 0.4}]]
    loss, ap = figures.compared_curves({"SSD": runs}).axes
    assert loss.get_xlim() == ap.get_xlim() == (0, 21)


def test_costs_show_the_spread_of_the_seeds():
    rows = [{"variant": "SSD", "ap": (0.3, 0.2, 0.5), "gmacs": 1.5, "ms_int8": 8.0}]
    for axes, cost in zip(figures.accuracy_and_cost(rows).axes, (1.5, 8.0), strict=True):
        (point,) = axes.containers
        np.testing.assert_allclose(point.lines[0].get_xydata(), [[cost, 0.3]])
        (bar,) = point.lines[2]
        np.testing.assert_allclose(bar.get_segments()[0], [[cost, 0.2], [cost, 0.5]])


def test_mean_curve_counts_classes_with_nothing_found():
    axes = figures.precision_recall({"cat": CURVE, "dog": NOTHING}).axes[0]
    mean = next(line for line in axes.lines if "mean of 2" in line.get_label())
    np.testing.assert_allclose(mean.get_ydata()[[0, 50, 51, 100]], [0.5, 0.5, 1 / 3, 1 / 3])


def test_mean_curve_takes_the_best_precision_that_follows():
    rising = {"recall": np.array([0, 0.5, 1]), "precision": np.array([0, 0.5, 2 / 3])}
    axes = figures.precision_recall({"cat": rising, "dog": rising}).axes[0]
    mean = next(line for line in axes.lines if "mean of 2" in line.get_label())
    np.testing.assert_allclose(mean.get_ydata(), 2 / 3)


NAMES = ("$x^2$", "a $5 note", "_hidden", "a\nb", "<b>", r"\$", r"\frac{", "", "{}^%_&~#")


def test_names_are_no_formulas_and_none_is_left_out(tmp_path):
    curves = figures.precision_recall(dict.fromkeys(NAMES[:8], CURVE))
    runs = [[{"step": 1, "loss": 1.0, "ap50": 0.5}, {"step": 2, "loss": 0.5, "ap50": 0.6}]]
    matrix = figures.confusion(np.eye(len(NAMES) + 1, dtype=int), NAMES)
    compared = figures.compared_curves(dict.fromkeys(NAMES, runs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, figure in enumerate((curves, matrix, compared)):
            figures.save(figure, tmp_path / f"{number}.png")
    assert len(curves.axes[0].get_legend().get_texts()) == 8 + 1
    assert len(compared.legends[0].get_texts()) == len(NAMES)
    texts = [*curves.axes[0].get_legend().get_texts(), *matrix.axes[0].get_yticklabels()]
    for text in texts:
        assert text._preprocess_math(text.get_text())[1] is not True


def test_classes_of_one_beginning_keep_their_own_bars():
    rows = [("x" * 60 + end, 3 + i, 1) for i, end in enumerate("abc")]
    (axes,) = figures.class_counts(types.SimpleNamespace(per_class=rows)).axes
    assert [bar.get_width() for bar in axes.patches] == [3, 4, 5]


def test_the_earlier_place_has_all_of_both():
    for name in ("draw_boxes", "draw_truth", "fit", "grid", "legible", "side_by_side"):
        assert callable(getattr(plots, name))
    assert plots.training_curves is figures.training_curves


def test_sizes_of_boxes_are_told_with_the_image_as_models_name_it():
    axes = figures.box_sizes(np.array([[0, 0, 0.5, 0.5]]), None, (192, 320)).axes[0]
    assert axes.get_title() == "Box sizes at 192x320 (height x width)"
