"""All metrics together."""

import pytest

from ssd_keras.evaluation import DEFINITIONS, coco_ap, evaluate, voc_ap


def test_numbers_are_those_of_voc_and_coco(reference):
    truths, founds, classes, _ = reference
    ours = evaluate(truths, founds, classes)
    assert ours["voc"]["ap50"] == voc_ap(truths, founds, classes)["map"]
    assert ours["voc"]["ap50_11point"] == voc_ap(truths, founds, classes, method="11_point")["map"]
    coco = coco_ap(truths, founds, classes)
    assert ours["coco"] == {k: v for k, v in coco.items() if not k.startswith("per_class")}
    assert ours["per_class"]["b"]["coco_AP"] == coco["per_class"]["b"]


def test_counts(reference):
    truths, founds, classes, _ = reference
    ours = evaluate(truths, founds, classes)
    difficult = sum(t.difficult.sum() for t in truths)
    assert (ours["images"], ours["objects"], ours["detections"]) == (40, 124 - difficult, 241)
    assert sum(row["objects"] for row in ours["per_class"].values()) == ours["objects"]


@pytest.mark.parametrize("group", ["voc", "coco"])
def test_every_number_has_a_definition(reference, group):
    truths, founds, classes, _ = reference
    keys = {f"{group}.{name}" for name in evaluate(truths, founds, classes)[group]}
    assert keys == {key for key in DEFINITIONS if key.startswith(f"{group}.")}
