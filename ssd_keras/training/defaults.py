"""Settings that train well for a model on a data set: its published recipe, scaled to both."""

from __future__ import annotations

import dataclasses
import math

from ssd_keras import zoo
from ssd_keras.training.recipe import Recipe
from ssd_keras.training.settings import RunSettings

# A data set of fewer images is fine-tuned on; there the published recipes of large sets overfit.
SMALL_SET = 5000
# From here on, the published number of steps is that of COCO.
LARGE_SET = 50_000
FINE_TUNING_IMAGES = 6000
FINE_TUNING_EPOCHS = (12, 60)
# Random weights need longer than pre-trained ones.
SCRATCH_FACTOR = 3


@dataclasses.dataclass(frozen=True)
class Published:
    """A published recipe.

    Attributes:
        voc_steps, coco_steps: steps on VOC 2007 and 2012 together, and on COCO.
        recipe: the rest of it; its batch size and learning rate belong together.
    """

    voc_steps: int
    coco_steps: int
    recipe: Recipe


# Weight decays are ten times those of Caffe and darknet, where the decay passes through the
# momentum of 0.9 (see `Recipe.weight_decay`).
SSD_VGG = Published(
    120_000,
    400_000,
    Recipe(
        batch_size=32,
        optimizer="sgd",
        learning_rate=1e-3,
        schedule="steps",
        milestones=(2 / 3, 5 / 6),
        weight_decay=5e-3,
    ),
)
# caffe-dssd: SSD321 on VOC, SSD513 on COCO.
SSD_RESNET = Published(
    80_000,
    250_000,
    Recipe(
        batch_size=32,
        optimizer="sgd",
        learning_rate=1e-3,
        schedule="steps",
        milestones=(0.5, 0.75),
        weight_decay=5e-3,
    ),
)
# chuanqi305/MobileNet-SSD, with a cosine in the place of two halvings.
SSD_MOBILE = Published(
    80_000,
    200_000,
    Recipe(batch_size=24, optimizer="rmsprop", learning_rate=5e-4, weight_decay=5e-5),
)
# YOLO paper: 75 epochs of 1e-2, 30 of 1e-3, 30 of 1e-4, batch 64.
YOLO = Published(
    35_000,
    250_000,
    Recipe(
        batch_size=64,
        optimizer="sgd",
        learning_rate=1e-2,
        schedule="steps",
        milestones=(75 / 135, 105 / 135),
        weight_decay=5e-3,
        warmup_epochs=5.0,
    ),
)
FINE_TUNING = Recipe(batch_size=8, optimizer="adamw", learning_rate=1e-3, weight_decay=5e-4)


def published_recipe(name: zoo.ModelName) -> Published:
    """The recipe of a model, or of its nearest published relative."""
    if name.box_network == "YOLO":
        return YOLO
    if name.backbone == "ResNet101":
        return SSD_RESNET
    return SSD_MOBILE if name.backbone.startswith("MobileNet") else SSD_VGG


def suggest(model: str, images: int, given: dict) -> RunSettings:
    """Settings for a model on so many training images.

    Args:
        model: a model's name.
        images: how many there are to train on.
        given: values of `RunSettings` and `Recipe` that the user chose; the others follow from
            them. The learning rate follows the images per update: linearly for sgd, by the square
            root for the others.

    Raises:
        UserError: a value that makes no sense.
    """
    name = zoo.parse(model, given.get("backbone"))
    small = images < SMALL_SET
    published = published_recipe(name)
    base = FINE_TUNING if small else published.recipe
    values = dataclasses.asdict(base) | {"augmentation": "light" if small else "ssd"}
    if small:
        fewest, most = FINE_TUNING_EPOCHS
        scratch = given.get("backbone_weights", "none") == "none" and not given.get("weights")
        wanted = FINE_TUNING_IMAGES * (SCRATCH_FACTOR if scratch else 1)
        values["epochs"] = min(max(math.ceil(wanted / images), fewest), most)
        values["batch_size"] = min(base.batch_size, images)
    else:
        steps = published.coco_steps if images >= LARGE_SET else published.voc_steps
        values["epochs"] = max(1, round(steps * base.batch_size / images))
    values["eval_every"] = max(1, (given.get("epochs") or values["epochs"]) // 10)
    batch = given.get("batch_size", values["batch_size"]) * given.get("accumulation", 1)
    if batch > 0 and given.get("optimizer", base.optimizer) == base.optimizer:
        share = batch / base.batch_size
        linear = base.optimizer == "sgd"
        values["learning_rate"] = base.learning_rate * (share if linear else math.sqrt(share))
    values |= given
    fields = set(Recipe.__dataclass_fields__)
    recipe = Recipe(**{key: value for key, value in values.items() if key in fields})
    others = {key: value for key, value in values.items() if key not in fields}
    return RunSettings(model=model, recipe=recipe, **others)
