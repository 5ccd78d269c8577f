"""What is compared: models with options, each trained with every seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssd_keras import data
from ssd_keras.errors import UserError
from ssd_keras.names import parse
from ssd_keras.run_folder import RunFolder
from ssd_keras.training.building import build
from ssd_keras.training.default_boxes import boxes_of_start, fit_default_boxes
from ssd_keras.training.defaults import suggest
from ssd_keras.training.one_line import SETTINGS, check_settings
from ssd_keras.training.recipe import Recipe
from ssd_keras.training.settings import RunSettings
from ssd_keras.training.tiles import apply_tiles

# Files in the folder of a run: what it reached, and what its variant costs.
MEASURED, COST = "measured.json", "cost.json"
# What Python calls them.
_AS_JSON = {"True": "true", "False": "false", "None": "null"}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a comparison: a name and the settings of its run, whatever the seed."""

    name: str
    settings: RunSettings


@dataclasses.dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
        variant: its name.
        settings: of the training.
        folder: of the run.
        held_out: data that are measured too and that nothing is chosen by; "" for none.
    """

    variant: str
    settings: RunSettings
    folder: RunFolder
    held_out: str = ""

    @property
    def seed(self) -> int:
        return self.settings.seed

    def is_measured(self) -> bool:
        """Whether nothing is left to train, nor to measure on `held_out`."""
        if not (self.folder.path / MEASURED).is_file():
            return False
        return not self.held_out or self.measurement().get("held_out_data") == self.held_out

    def costs(self) -> dict:
        """What it costs, empty before that was measured."""
        return self._read(COST)

    def is_priced(self) -> bool:
        """Whether its costs are known, and are those of the detector that there is now."""
        costs = self.costs()
        # An earlier version did not say what they are of.
        return bool(costs) and costs.get("of") in (None, self.digest())

    def digest(self) -> str:
        """What tells the detector of the last epoch from any other."""
        return hashlib.sha256(self.folder.last.read_bytes()).hexdigest()

    def measurement(self) -> dict:
        """What it reached, empty before that was measured."""
        return self._read(MEASURED)

    def _read(self, name: str) -> dict:
        path = self.folder.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def parse_variant(text: str, budget: Mapping, train_source, steps: int) -> Variant:
    """A variant from its text.

    Args:
        text: "MODEL option=value ..."; options are those of `RunSettings`, of `Recipe`, or of the
            box network (`fusion=sum`), values JSON or plain words without spaces. `name=...` is
            what the row is called, by default the model and its options.
        budget: options that all variants share.
        train_source: the data they are trained on.
        steps: training steps, rounded to whole epochs: of tiles, where it is trained on tiles.

    Raises:
        UserError: the text or a value in it makes no sense.
    """
    model, *pairs = text.split()
    options = parse_options(pairs)
    parse(model, options.get("backbone", budget.get("backbone")))
    name = str(options.pop("name", " ".join([model, *pairs])))
    ours = {*RunSettings.__dataclass_fields__, *Recipe.__dataclass_fields__}
    values = {**budget, **options}
    for option, instead in (("epochs", "--steps"), ("seed", "--seeds")):
        if option in values:
            raise UserError(f"'{option}={values[option]}' is the same for all: give {instead}.")
    given = {key: value for key, value in values.items() if key in ours}
    given["model_options"] = {key: value for key, value in values.items() if key not in ours}
    if isinstance(given.get("freeze"), str):
        given["freeze"] = tuple(given["freeze"].split(","))
    if "tiles" in given:
        given["tiles"] = str(given["tiles"])
    given |= check_settings({name: given[name] for name in given if name in SETTINGS})
    given |= boxes_of_start(model, given)
    settings, seen = apply_tiles(suggest(model, len(train_source), given), train_source)
    given["tiles"] = settings.tiles
    settings = suggest(model, len(seen), given)
    per_epoch = data.steps_per_epoch(seen, settings.recipe.batch_size)
    given["epochs"] = max(1, round(steps / per_epoch))
    given.setdefault("eval_every", max(1, given["epochs"] // 10))
    settings = suggest(model, len(seen), given)
    if settings.default_boxes == "auto":
        settings, _ = fit_default_boxes(settings, seen)
    return Variant(name, settings)


def parse_options(pairs: Sequence[str]) -> dict:
    """ "option=value" texts as a dict; values are JSON, True, False or None, or else plain words.

    Raises:
        UserError: one has no "=".
    """
    options = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"'{pair}' must be option=value.")
        try:
            options[option] = json.loads(_AS_JSON.get(value, value))
        except ValueError:
            options[option] = value
    return options


def check_variants(variants: Sequence[Variant], classes: Sequence[str]):
    """Builds every variant without weights, so that a fault shows before hours of training.

    Raises:
        UserError: two variants of one name, or one that cannot be built.
    """
    folders = [_folder_name(variant.name, 0) for variant in variants]
    for variant, folder in zip(variants, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(
                f"Two variants are called '{variant.name}': add name=... to one of them."
            )
        plain = {"backbone_weights": "none", "weights": ""}
        build(dataclasses.replace(variant.settings, **plain), tuple(classes))


def starts(variants: Sequence[Variant]) -> str:
    """What the variants start from, in words."""
    return " or ".join(dict.fromkeys(_start(variant.settings) for variant in variants))


def _start(settings: RunSettings) -> str:
    if settings.weights:
        return f"`{settings.weights}`"
    if settings.backbone_weights in ("none", ""):
        return "random weights"
    return f"`{Path(settings.backbone_weights).name}`"


def runs_of(
    variants: Sequence[Variant], seeds: Sequence[int], place: str | Path, held_out: str = ""
) -> list[Run]:
    """Every variant with every seed, seed after seed, so that a part of them is comparable."""
    return [
        Run(
            variant.name,
            dataclasses.replace(variant.settings, seed=seed),
            RunFolder(Path(place) / _folder_name(variant.name, seed)),
            held_out,
        )
        for seed in seeds
        for variant in variants
    ]


def first_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """The first run of each variant, which its costs are measured with."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.variant, run)
    return first


def _folder_name(name: str, seed: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', name).strip('-')}-seed{seed}"
