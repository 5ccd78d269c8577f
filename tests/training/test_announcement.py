"""What a run says of itself before it begins."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssd_keras import data
from ssd_keras.objectives import build_objective
from ssd_keras.training import Recipe, RunSettings
from ssd_keras.training.announcement import announcement
from ssd_keras.weights.detector_files import StartReport
from ssd_keras.weights.keras_files import LoadReport
from tests.data.samples import voc_image, voc_object

DATA = "shapes#train,count=3,size=96"


@pytest.fixture
def run():
    settings = RunSettings("SSD_MobileNet_96", DATA, recipe=Recipe(epochs=2, batch_size=3))
    return SimpleNamespace(
        settings=settings,
        recipe=settings.recipe,
        train_source=data.load_source(DATA),
        eval_source=None,
        precision="float32",
        name=SimpleNamespace(backbone="MobileNet"),
        devices=SimpleNamespace(describe=lambda: "1 device"),
        folder=SimpleNamespace(place="runs/a"),
        steps_per_epoch=1,
    )


@pytest.fixture
def detector():
    return SimpleNamespace(
        count_params=lambda: 1234,
        trainable_variables=[],
        box_network=SimpleNamespace(anchors=range(10), objective=build_objective()),
        started_from=None,
    )


def test_a_new_run(run, detector):
    model, images, steps, end = announcement(run, detector, 0).split("\n")
    assert model.startswith("SSD_MobileNet_96: 1,234 parameters, 10 default boxes, 4 classes (")
    assert images == f"3 images of {DATA}"
    assert steps.startswith("2 epochs of 1 step, batch 3, ")
    assert "run folder 'runs/a'" in steps
    assert end == ""


def test_an_average_that_is_lowered_is_told(run, detector):
    run.recipe = Recipe(epochs=2, batch_size=3, ema=0.9)
    run.steps, run.ema_momentum = 2, run.recipe.ema_momentum(2)
    said = announcement(run, detector, 0).split("\n")[3]
    assert said.startswith("ema=0 in the place of 0.9: of 2 steps ")


@pytest.mark.parametrize(
    ("given", "recipe", "said"),
    [
        ({}, {}, ""),
        ({"weak_end": 0.5, "tile_overlap": 0.3}, {}, "weak_end (of stronger augmentation or "),
        ({"weak_end": 0.5, "augmentation": "mosaic"}, {}, ""),
        ({"tile_overlap": 0.3}, {}, "tile_overlap (of tiles)"),
        ({"tile_overlap": 0.3, "tiles": "96"}, {}, ""),
        ({}, {"milestones": (0.5,), "momentum": 0.8}, "milestones (of schedule=steps), momentum "),
        ({}, {"milestones": (0.5,), "schedule": "steps", "optimizer": "sgd"}, ""),
    ],
)
def test_settings_without_effect_are_told(run, detector, given, recipe, said):
    run.recipe = Recipe(epochs=2, batch_size=3, **recipe)
    run.settings = dataclasses.replace(run.settings, recipe=run.recipe, **given)
    text = announcement(run, detector, 0)
    assert f"without effect here: {said}" in text if said else "without effect" not in text


@pytest.mark.parametrize(
    ("objective", "given", "said"),
    [
        ("multibox", {"min_negatives": 3}, ""),
        ("multibox_giou", {"min_negatives": 3, "match_threshold": 0.4}, ""),
        ("atss", {"min_negatives": 3}, "min_negatives (of class_loss=mined; here it is quality_"),
        ("atss", {"candidates": 5}, ""),
        (
            "focal",
            {"forced": False},
            "forced (of matching=atss or task_aligned; here it is ",
        ),
        ("atss", {"forced": False, "whole_cells": True}, ""),
        ("task_aligned", {"whole_cells": True}, "whole_cells (of matching=atss; here it is task_"),
        ("atss", {"alignment": [1, 2]}, "alignment (of matching=task_aligned; here it is atss)"),
        ("focal", {"candidates": 5}, "candidates (of matching=atss or task_aligned; here it is "),
        ("focal", {"negative_ratio": 5}, "negative_ratio (of class_loss=mined; here it is focal)"),
        ("atss", {"match_threshold": 0.4}, "match_threshold (of matching=bipartite or argmax; "),
    ],
)
def test_parts_that_an_objective_does_not_use_are_told(run, detector, objective, given, said):
    detector.box_network.objective = build_objective(objective)
    options = {key: value for key, value in given.items() if key != "min_negatives"}
    more = {"model_options": options, "min_negatives": given.get("min_negatives")}
    run.settings = dataclasses.replace(run.settings, **more)
    text = announcement(run, detector, 0)
    assert f"without effect here: {said}" in text if said else "without effect" not in text


def test_a_width_that_leaves_the_backbone_as_it_is_is_told(run, detector):
    run.settings = dataclasses.replace(run.settings, width=0.5)
    assert "width" not in announcement(run, detector, 0)
    run.settings = dataclasses.replace(run.settings, backbone="kerashub:resnet_50_imagenet")
    said = "width=0.5 is that of the box network alone: the backbone kerashub:resnet_50_imagenet "
    assert said in announcement(run, detector, 0)


def test_what_no_map_can_judge_is_told(run, detector, tmp_path):
    voc_image(tmp_path, "hard", voc_object(difficult=1))
    run.eval_source = data.load_source(f"voc:{tmp_path}")
    run.settings = dataclasses.replace(run.settings, eval_data=run.eval_source.spec)
    assert "holds no object that the mAP of VOC counts" in announcement(run, detector, 0)
    voc_image(tmp_path, "plain", voc_object())
    run.eval_source = data.load_source(f"voc:{tmp_path}")
    assert "holds no object" not in announcement(run, detector, 0)


def test_a_run_that_starts_from_a_detector_says_what_it_took(run, detector):
    layers = LoadReport(("a", "b"), (), {}, ())
    detector.started_from = StartReport(Path("runs/coco"), layers, (), {"cat": "cat"}, ("dog",))
    said = announcement(run, detector, 0).split("\n")[3]
    assert said.startswith("2 layers start from 'runs/coco'")
    assert "dog is new" in said


def test_a_run_that_goes_on_says_from_where(run, detector):
    assert "going on after epoch 1" in announcement(run, detector, 1).split("\n")


@pytest.mark.parametrize(
    ("spec", "given", "told"),
    [
        ("voc", {}, True),
        ("voc", {"backbone_weights": "imagenet"}, False),
        ("voc", {"weights": "runs/a"}, False),
        # Drawn shapes are no photographs.
        (DATA, {}, False),
    ],
)
def test_few_photographs_and_random_weights_are_told(run, detector, tmp_path, spec, given, told):
    voc_image(tmp_path, "one", voc_object())
    spec = f"voc:{tmp_path}" if spec == "voc" else spec
    run.train_source = data.load_source(spec)
    run.settings = dataclasses.replace(run.settings, train_data=spec, **given)
    said = "all weights begin at random, for which 1 image is little"
    assert (said in announcement(run, detector, 0)) is told


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (["cat"] * 4 + ["dog"], "balance_classes shows 1 of 5 images more often, up to 1.6 times"),
        (["cat", "dog"], "balance_classes changes nothing here: no class is in fewer images"),
    ],
)
def test_what_balance_does_is_told(run, detector, tmp_path, images, said):
    for number, name in enumerate(images):
        voc_image(tmp_path, str(number), voc_object(name))
    run.train_source = data.load_source(f"voc:{tmp_path}")
    assert "balance_classes" not in announcement(run, detector, 0)
    run.settings = dataclasses.replace(run.settings, balance_classes=True)
    assert said in announcement(run, detector, 0)


def test_what_was_made_to_fit_is_told(run, detector, tmp_path):
    for name in ("a", "b"):
        voc_image(tmp_path, name, voc_object(box=(5, 6, 90, 40)))
    run.train_source = data.load_source(f"voc:{tmp_path}")
    (said,) = data.notes(run.train_source)
    assert ": 2 times, such as " in said
    assert "(clipped)" in said
    assert f"voc:{tmp_path}: {said}" in announcement(run, detector, 0)


@pytest.mark.parametrize(
    ("classes", "given", "told"),
    [
        (("Left arrow", "right arrow"), {}, True),
        (("Left arrow", "right arrow"), {"mirror": False}, False),
        (("Left arrow", "right arrow"), {"augmentation": "none"}, False),
        (("left arrow", "right turn"), {}, False),
    ],
)
def test_classes_that_a_mirror_makes_alike_are_told(run, detector, tmp_path, classes, given, told):
    for number, name in enumerate(classes):
        voc_image(tmp_path, str(number), voc_object(name))
    run.train_source = data.load_source(f"voc:{tmp_path}")
    run.settings = dataclasses.replace(run.settings, **given)
    said = "may make 'Left arrow' and 'right arrow' alike: --nomirror"
    assert (said in announcement(run, detector, 0)) is told


def test_images_that_are_judged_by_and_trained_on_are_told(run, detector, tmp_path):
    for name in ("a", "b", "c"):
        voc_image(tmp_path, name, voc_object())
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    for split, names in (("train", "a\nb\n"), ("val", "b\nc\n"), ("test", "c\n")):
        (lists / f"{split}.txt").write_text(names)
    run.train_source = data.load_source(f"voc:{tmp_path}#train")
    run.eval_source = data.load_source(f"voc:{tmp_path}#val")
    said = f"1 of 2 images of voc:{tmp_path}#val are trained on, too (b): "
    assert said in announcement(run, detector, 0)
    run.eval_source = data.load_source(f"voc:{tmp_path}#test")
    assert "trained on, too" not in announcement(run, detector, 0)
