"""Pictures: what is drawn where, and that every input gives one."""

import types

import numpy as np
import pytest
from matplotlib.figure import Figure

from ssd_keras import plots
from ssd_keras.detections import Detections

CLASSES = ("cat", "dog", "a rather long class name")
GREY = 90


def image(height=200, width=300):
    return np.full((height, width, 3), GREY, np.uint8)


def changed(picture):
    """Rows and columns of pixels that are no longer the plain ground."""
    return np.argwhere((picture != GREY).any(-1))


def test_colors_of_80_classes_differ():
    assert len({plots.class_color(i) for i in range(80)}) == 80


def test_box_is_drawn_in_the_color_of_its_class_at_its_place():
    picture = plots.draw_boxes(image(), [[0.25, 0.2, 0.75, 0.8]], [1], CLASSES)
    color = plots.class_color(1)
    for row, column in [(100, 60), (100, 239), (50, 150), (149, 150)]:
        assert tuple(picture[row, column]) == color
    assert (picture[60:140, 70:230] == GREY).all()


@pytest.mark.parametrize(
    "box",
    [(0, 0, 1, 1), (0, 0.9, 0.1, 1), (0.9, 0.9, 1, 1), (-1, -1, 2, 2), (0, 0.97, 0.02, 1.4)],
)
def test_label_stays_inside(box):
    # As much must be drawn as in the middle of the image, but for what covers the frame itself.
    def label_area(box):
        picture = plots.draw_boxes(image(), [box], [2], CLASSES, [0.5])
        frame = plots.draw_boxes(image(), [box], [2], CLASSES, captions=[""])
        return (picture != frame).any(-1).sum()

    assert label_area(box) >= 0.8 * label_area((0.4, 0.4, 0.6, 0.6))


def test_labels_of_two_equal_boxes_do_not_cover_each_other():
    box = (0.4, 0.3, 0.8, 0.7)
    one = plots.draw_boxes(image(), [box], [0], CLASSES, [0.9])
    two = plots.draw_boxes(image(), [box, box], [0, 0], CLASSES, [0.9, 0.8])
    frame = plots.draw_boxes(image(), [box], [0], CLASSES, captions=[""])
    area = (one != frame).any(-1).sum()
    assert (two != frame).any(-1).sum() >= 1.7 * area


def test_letters_grow_with_the_image():
    def height_of_label(side):
        box = (0.5, 0.2, 0.9, 0.9)
        picture = plots.draw_boxes(image(side, side), [box], [0], CLASSES)
        return side // 2 - changed(picture)[:, 0].min()

    assert 12 <= height_of_label(300) <= 30
    assert 4 <= height_of_label(3000) / height_of_label(300) <= 12


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9), (30, 30), (2000, 40)])
def test_any_size(size):
    picture = plots.draw_boxes(image(*size), [[0, 0, 1, 1]], [2], CLASSES, [0.5])
    assert picture.shape == (*size, 3)
    assert len(changed(picture))


def test_padding_and_broken_boxes_are_left_out():
    boxes = [[-1, -1, -1, -1], [np.nan, 0, 1, 1]]
    assert not len(changed(plots.draw_boxes(image(), boxes, [-1, 0], CLASSES)))


def test_the_image_itself_is_not_changed():
    original = image()
    plots.draw_boxes(original, [[0.2, 0.2, 0.8, 0.8]], [0], CLASSES)
    assert (original == GREY).all()


def test_float_images_are_rounded_and_clipped():
    picture = plots.draw_boxes(np.array([[[300.0, -5, 99.6]]]), np.zeros((0, 4)), [], CLASSES)
    assert picture.tolist() == [[[255, 0, 100]]]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (1, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="height, width, 3"):
        plots.draw_boxes(np.zeros(shape), [], [], CLASSES)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (240, 240)), ((100, 50), (500, 250)), ((240, 900), (240, 900)), ((1, 500), (1, 500))],
)
def test_small_images_are_enlarged_by_a_whole_factor(size, expected):
    assert plots.legible(image(*size)).shape[:2] == expected


def record(**flags):
    return types.SimpleNamespace(boxes=np.array([[0.2, 0.2, 0.8, 0.8]]), labels=[0], **flags)


def test_side_by_side_has_a_row_for_each_image():
    images = [image(), image(400, 100)]
    found = Detections([[0.2, 0.2, 0.8, 0.8]], [0.9], [0], CLASSES)
    picture = plots.side_by_side(images, [record(), record()], [found, found], CLASSES, height=200)
    assert picture.shape == (30 + 8 + 2 * 208, 2 * 300 + 3 * 8, 3)


def test_side_by_side_draws_only_from_the_threshold_up():
    def right(score):
        found = Detections([[0.2, 0.2, 0.8, 0.8]], [score], [0], CLASSES)
        picture = plots.side_by_side([image()], [record()], [found], CLASSES, height=200)
        return picture[40:230, 330:600]

    assert (right(0.1) == GREY).all()
    assert not (right(0.9) == GREY).all()


def test_side_by_side_of_nothing():
    assert plots.side_by_side([], [], [], CLASSES).ndim == 3


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_objects_that_do_not_count_are_grey(flag):
    picture = plots.draw_truth(image(), record(**{flag: np.array([True])}), CLASSES)
    assert tuple(picture[100, 60]) == (150, 150, 150)


def test_matched_boxes_are_drawn_and_counted():
    anchors = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6], [0.6, 0.6, 0.9, 0.9]])
    objects = np.array([[0.3, 0.3, 0.7, 0.7]])
    picture = plots.matched_boxes(image(), objects, [0], CLASSES, anchors, np.array([0, 0, -1]))
    assert tuple(picture[20, 50]) == plots.class_color(0)
    assert (picture[150:179, 220:269] == GREY).all()


CURVE = {"recall": np.array([0.5, 0.5, 1]), "precision": np.array([1, 0.5, 2 / 3])}
NOTHING = {"recall": np.zeros(0), "precision": np.zeros(0)}
OVER = np.linspace(0, 1, 101)
ROWS = [{"name": "0-16 px", "objects": 3, "recall": 0.5}]
UNKNOWN = [{"name": "0-16 px", "objects": 0, "recall": np.nan}]
FIGURES = {
    "no history": lambda: plots.training_curves([]),
    "history": lambda: plots.training_curves(
        [{"epoch": 1, "loss": 2.0, "ap50": 0.1}, {"epoch": 2, "loss": 1.0, "learning_rate": 0.1}]
    ),
    "history with nan": lambda: plots.training_curves([{"epoch": 1, "loss": np.nan, "note": "x"}]),
    "no curves": lambda: plots.precision_recall({}),
    "curves": lambda: plots.precision_recall({"cat": CURVE, "dog": NOTHING}),
    "80 curves": lambda: plots.precision_recall({str(i): CURVE for i in range(80)}),
    "thresholds": lambda: plots.score_thresholds(
        {"threshold": OVER, "precision": OVER, "recall": 1 - OVER, "f1": OVER * (1 - OVER)}
    ),
    "no thresholds": lambda: plots.score_thresholds(
        dict.fromkeys(("precision", "recall", "f1"), OVER * np.nan) | {"threshold": OVER}
    ),
    "costs": lambda: plots.error_costs({"missed": 0.3}, {"missed": 0.4}),
    "no costs": lambda: plots.error_costs({"missed": np.nan}, {"missed": np.nan}),
    "recall": lambda: plots.recall_bars({"all": ROWS, "best": UNKNOWN}, "By size"),
    "confusion": lambda: plots.confusion(np.eye(4, dtype=int), CLASSES),
    "big confusion": lambda: plots.confusion(np.eye(81, dtype=int), [str(i) for i in range(80)]),
    "coverage": lambda: plots.coverage([0.1, 0.5], [0.4, 0.9], [0, 1]),
    "no coverage": lambda: plots.coverage([], [], []),
    "pyramids": lambda: plots.feature_pyramids(
        {"SSD": [np.ones((8, 8, 3)), np.ones((4, 4, 3))], "DSSD": [np.ones((8, 8, 5))]}, image()
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_a_warning(name, recwarn, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    plots.save(figure, tmp_path / "figure.png")
    assert [str(w.message) for w in recwarn] == []


def test_a_feature_map_shows_the_mean_strength_of_its_channels():
    level = np.zeros((4, 4, 2))
    level[1, 2] = (-3, 1)
    (cell,) = plots.feature_pyramids({"SSD": [level]}).axes
    shown = cell.images[0].get_array()
    assert (shown[1, 2], shown.sum()) == (2, 2)
    assert cell.get_title() == "SSD  4x4"


def test_history_is_sorted_into_panels():
    rows = [{"epoch": e, "loss": 1.0, "ap50": 0.5, "learning_rate": 0.1} for e in (1, 2)]
    titles = [axes.get_title() for axes in plots.training_curves(rows).axes]
    assert titles == ["Loss", "On the evaluation data", "Learning rate"]


def test_compared_models_have_the_same_steps_in_both_panels():
    runs = [[{"step": 8, "loss": 3.0}, {"step": 20, "loss": 2.0, "ap50": 0.4}]]
    loss, ap = plots.compared_curves({"SSD": runs}).axes
    assert loss.get_xlim() == ap.get_xlim() == (0, 21)


def test_mean_curve_counts_classes_with_nothing_found():
    axes = plots.precision_recall({"cat": CURVE, "dog": NOTHING}).axes[0]
    mean = next(line for line in axes.lines if "mean of 2" in line.get_label())
    np.testing.assert_allclose(mean.get_ydata()[[0, 50, 51, 100]], [0.5, 0.5, 1 / 3, 1 / 3])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "new/folder/a.png"])
def test_arrays_are_saved(tmp_path, name):
    assert plots.save(image(), tmp_path / name).stat().st_size > 100
