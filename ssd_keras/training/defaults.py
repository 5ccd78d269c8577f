"""Settings that train well for a model on a data set: its published recipe, scaled to both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from ssd_keras.backbones.kerashub import is_kerashub
from ssd_keras.names import ModelName, parse
from ssd_keras.presets import BOX_NETWORKS, Core, find_core
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
# A trained detector that learns to live with int8 goes on a little: a share of the usual epochs, at
# a share of the usual rate.
QUANTIZE_AWARE_EPOCHS = 0.2
QUANTIZE_AWARE_RATE = 0.1


@dataclasses.dataclass(frozen=True)
class Published:
    """A published recipe.

    Attributes:
        voc_steps, coco_steps: steps on VOC 2007 and 2012 together, and on COCO.
        recipe: the rest of it; its batch size and learning rate belong together.
        on_coco: what is otherwise on COCO.
    """

    voc_steps: int
    coco_steps: int
    recipe: Recipe
    on_coco: Mapping = dataclasses.field(default_factory=dict)

    def for_images(self, images: int) -> tuple[int, Recipe]:
        """Steps, and the rest of the recipe, for a set of so many images."""
        if images < LARGE_SET:
            return self.voc_steps, self.recipe
        return self.coco_steps, dataclasses.replace(self.recipe, **self.on_coco)


# By the names that `ssd_keras.presets` has for them. Weight decays are ten times those of Caffe and
# darknet, where the decay passes through the momentum of 0.9 (see `Recipe.weight_decay`).
RECIPES = {
    "ssd_vgg": Published(
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
        on_coco={"milestones": (0.7, 0.9)},
    ),
    # caffe-dssd: SSD321 on VOC, SSD513 on COCO.
    "ssd_resnet": Published(
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
        on_coco={"batch_size": 40, "milestones": (0.52, 0.84)},
    ),
    # chuanqi305/MobileNet-SSD, with a cosine in the place of two halvings.
    "ssd_mobile": Published(
        80_000,
        200_000,
        Recipe(batch_size=24, optimizer="rmsprop", learning_rate=5e-4, weight_decay=5e-5),
    ),
    # YOLO paper: 75 epochs of 1e-2, 30 of 1e-3, 30 of 1e-4, batch 64.
    "yolo": Published(
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
    ),
}
FINE_TUNING = Recipe(batch_size=8, optimizer="adamw", weight_decay=5e-4)


def published_recipe(name: ModelName) -> Published:
    """The recipe of a model, or of its nearest published relative."""
    return RECIPES[BOX_NETWORKS[name.box_network].recipe or _core_of(name).recipe]


def _core_of(name: ModelName) -> Core | type[Core]:
    """The row of a model's core; of one without a row the usual values."""
    return find_core(name.backbone) or Core


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
    name = parse(model, given.get("backbone"))
    if images < SMALL_SET:
        base, usual = _fine_tuning(name, given), _for_small_set(name, images, given)
    else:
        steps, base = published_recipe(name).for_images(images)
        usual = _for_large_set(name, images, steps, base.batch_size, given)
    if given.get("quantize_aware") and given.get("weights"):
        usual["epochs"] = math.ceil(usual["epochs"] * QUANTIZE_AWARE_EPOCHS)
        base = dataclasses.replace(base, learning_rate=base.learning_rate * QUANTIZE_AWARE_RATE)
    values = {**dataclasses.asdict(base), **usual}
    values["eval_every"] = max(1, (given.get("epochs") or values["epochs"]) // 10)
    values["learning_rate"] = _scaled_rate(base, values | given)
    values |= given
    fields = set(Recipe.__dataclass_fields__)
    recipe = Recipe(**{key: value for key, value in values.items() if key in fields})
    others = {key: value for key, value in values.items() if key not in fields}
    return RunSettings(model=model, recipe=recipe, **others)


def _fine_tuning(name: ModelName, given: dict) -> Recipe:
    """The recipe of a small set, at the rate that the core bears."""
    backbone = given.get("backbone")
    core = find_core(name.backbone, backbone) if is_kerashub(backbone) else _core_of(name)
    return dataclasses.replace(FINE_TUNING, learning_rate=core.fine_tuning_rate)


def _for_small_set(name: ModelName, images: int, given: dict) -> dict:
    """A set that is fine-tuned on: about as many images are seen, however many there are."""
    fewest, most = FINE_TUNING_EPOCHS
    scratch = given.get("backbone_weights", "none") == "none" and not given.get("weights")
    wanted = FINE_TUNING_IMAGES * (SCRATCH_FACTOR if scratch else 1)
    return {
        "augmentation": "light",
        "default_boxes": "auto" if _may_choose_boxes(name, given) else "published",
        "epochs": min(max(math.ceil(wanted / images), fewest), most),
        "batch_size": min(FINE_TUNING.batch_size, images),
    }


def _may_choose_boxes(name: ModelName, given: dict) -> bool:
    """Whether default boxes follow the data: the core offers maps, and nothing is said of them."""
    core = find_core(name.backbone)
    offered = bool(core and core.finest_strides) and not given.get("backbone")
    said = any(
        given.get(key) is not None and given[key] != ""
        for key in ("weights", "finest_stride", "smallest_box", "box_scale")
    )
    options = given.get("model_options") or {}
    pyramid = not BOX_NETWORKS[name.box_network].has_box_scale
    return offered and not said and not pyramid and "anchors" not in options


def _for_large_set(name: ModelName, images: int, steps: int, batch: int, given: dict) -> dict:
    """A set on which the published number of steps is trained."""
    usual = {"augmentation": "ssd", "epochs": max(1, round(steps * batch / images))}
    # A detector to start from brings its boxes along, and YOLO has none.
    free = not given.get("weights") and not given.get("smallest_box")
    if images >= LARGE_SET and free and BOX_NETWORKS[name.box_network].has_box_scale:
        usual["box_scale"] = "coco"
    return usual


def _scaled_rate(base: Recipe, values: dict) -> float:
    """The learning rate of a recipe for as many images as an update has."""
    batch = values["batch_size"] * values.get("accumulation", 1)
    if batch <= 0 or values["optimizer"] != base.optimizer:
        return base.learning_rate
    share = batch / base.batch_size
    return base.learning_rate * (share if base.optimizer == "sgd" else math.sqrt(share))
