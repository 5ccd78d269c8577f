"""What is known of classes goes with their names, column by column."""

import csv
import re

import numpy as np
import pytest

from ssd_keras.data import voc
from ssd_keras.weights import class_columns
from ssd_keras.weights.class_columns import keep_columns, same_classes
from ssd_keras.weights.label_maps import COCO

COCO_NAMES = tuple(COCO.values())


@pytest.mark.parametrize(
    ("new", "trained", "pairs"),
    [
        (["person", "dog", "forklift"], ["cat", "dog", "person"], {0: 2, 1: 1}),
        (["Person", "traffic_light", "stop-sign"], ["stop sign", "person", "traffic light"],
         {0: 1, 1: 2, 2: 0}),
        (["sofa", "tvmonitor", "aeroplane"], ["airplane", "couch", "tv"], {0: 1, 1: 2, 2: 0}),
        (["couch", "tv"], ["tvmonitor", "sofa"], {0: 1, 1: 0}),
        (["Television", "Mobile phone"], ["cell phone", "tvmonitor"], {0: 1, 1: 0}),
        (["sofa", "couch"], ["couch"], {1: 0}),
        (["sofa", "studio couch"], ["couch"], {0: 0}),
        (["tv", "tvmonitor"], ["tvmonitor", "tv"], {0: 1, 1: 0}),
        (["personal", "dogs", ""], ["person", "dog"], {}),
        (["TrafficLight", "motor bike"], ["motorcycle", "traffic light"], {0: 1, 1: 0}),
        (["Person", "people"], ["person"], {0: 0}),
        (["people", "PERSON"], ["person"], {1: 0}),
        (["\uff30\uff45rson", "\uc0ac\ub78c"], ["person", "dog"], {0: 0}),
        (["\uc0ac\ub78c", "\uac1c"], ["\uac1c", "\uc0ac\ub78c"], {0: 1, 1: 0}),
        (["background", "person"], ["person", "dog"], {1: 0}),
        (["car", "automobile", "cars"], ["automobile"], {1: 0}),
    ],
)  # fmt: skip
def test_classes_are_the_same_by_their_names(new, trained, pairs):
    assert same_classes(new, trained) == pairs


def test_all_of_vocs_classes_are_among_cocos():
    pairs = same_classes(voc.CLASSES, COCO_NAMES)
    assert len(pairs) == 20
    assert COCO_NAMES[pairs[voc.CLASSES.index("motorbike")]] == "motorcycle"


def test_the_table_names_cocos_classes_and_each_alias_once():
    with class_columns.ALIASES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    aliases = [alias for row in rows for alias in row["aliases"].split(";")]
    assert {row["name"] for row in rows} <= set(COCO_NAMES)
    assert len({alias.replace(" ", "") for alias in aliases}) == len(aliases)
    assert not set(aliases) & set(COCO_NAMES)
    assert all(re.fullmatch(r"[a-z&]+( [a-z&]+)*", alias) for alias in aliases)


PER_CELL = 2


def head(classes, background, start):
    """Kernel `[1, 1, 3, 2 (background + classes)]` and bias, all numbers different."""
    columns = PER_CELL * (background + classes)
    kernel = start + np.arange(3 * columns, dtype="f4").reshape(1, 1, 3, columns)
    return [kernel, start + 1000 + np.arange(columns, dtype="f4")]


@pytest.mark.parametrize("background", [0, 1])
def test_columns_of_the_same_classes_are_the_trained_ones_and_others_stay(background):
    fresh, trained = head(3, background, 0), head(2, background, 5000)
    kept = keep_columns(fresh, trained, {0: 1, 2: 0}, (3, 2), (background, background))
    for ours, old, result in zip(fresh, trained, kept, strict=True):
        for box in range(PER_CELL):
            new, known = box * (3 + background), box * (2 + background)
            if background:
                np.testing.assert_array_equal(result[..., new], old[..., known])
            at, there = new + background, known + background
            np.testing.assert_array_equal(result[..., at], old[..., there + 1])
            np.testing.assert_array_equal(result[..., at + 1], ours[..., at + 1])
            np.testing.assert_array_equal(result[..., at + 2], old[..., there])


@pytest.mark.parametrize(
    "trained",
    [
        [],
        [np.zeros((1, 1, 3, 8), "f4"), np.zeros(6, "f4")],
        [np.zeros((3, 3, 3, 6), "f4"), np.zeros(6, "f4")],
        [np.zeros((1, 1, 3, 6), "f4")],
        [np.zeros(6, "f4"), np.zeros((1, 1, 3, 6), "f4")],
    ],
    ids=["none", "other boxes", "another kernel", "no bias", "another order"],
)
def test_layers_of_other_shapes_are_not_taken(trained):
    assert keep_columns(head(3, 1, 0), trained, {0: 1}, (3, 2), (1, 1)) is None


@pytest.mark.parametrize("softmax", [True, False])
def test_without_background_a_class_answers_by_its_lead_over_it(softmax):
    """Softmax of a class against background alone is the sigmoid of their difference."""
    rng = np.random.default_rng(0)
    trained = [rng.normal(size=(1, 1, 3, 6)).astype("f4"), rng.normal(size=6).astype("f4")]
    fresh = [np.zeros((1, 1, 3, 4), "f4"), np.zeros(4, "f4")]
    kept = keep_columns(fresh, trained, {0: 1, 1: 0}, (2, 2), (0, 1), against_background=softmax)
    x = rng.normal(size=3).astype("f4")
    before = (x @ trained[0][0, 0] + trained[1]).reshape(2, 3)
    after = (x @ kept[0][0, 0] + kept[1]).reshape(2, 2)
    expected = before[:, [2, 1]] - (before[:, :1] if softmax else 0)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)


def test_a_background_that_is_new_begins_at_zero():
    trained, fresh = head(2, 0, 5000), head(3, 1, 0)
    kept = keep_columns(fresh, trained, {0: 1, 2: 0}, (3, 2), (1, 0), against_background=False)
    for ours, own, theirs in zip(kept, fresh, trained, strict=True):
        for box in range(PER_CELL):
            at, there = box * 4, box * 2
            assert not ours[..., at].any()
            np.testing.assert_array_equal(ours[..., at + 1], theirs[..., there + 1])
            np.testing.assert_array_equal(ours[..., at + 2], own[..., at + 2])
            np.testing.assert_array_equal(ours[..., at + 3], theirs[..., there])
