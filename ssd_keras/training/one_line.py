"""Training in one line, by the names that the flags of `ssd-keras train` have."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssd_keras import zoo
from ssd_keras.data import Source, open_source
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError, unknown
from ssd_keras.kinds import KINDS, is_number
from ssd_keras.run_folder import RunFolder
from ssd_keras.training import run
from ssd_keras.training.default_boxes import boxes_of_start, describe, fit_default_boxes
from ssd_keras.training.defaults import suggest
from ssd_keras.training.distribution import find_devices
from ssd_keras.training.recipe import Recipe
from ssd_keras.training.settings import RunSettings
from ssd_keras.training.tiles import apply_tiles
from ssd_keras.weights.detector_files import model_of

# Ahead of SSD on the same core for as much arithmetic: experiments/results/README.md.
MODEL = "SSDLite_MobileNet_300"
_FIELDS = {**RunSettings.__dataclass_fields__, **Recipe.__dataclass_fields__}
# Those that `train` takes by names of its own.
_ARGUMENTS = ("model", "train_data", "eval_data", "recipe")
SETTINGS = tuple(sorted(name for name in _FIELDS if name not in _ARGUMENTS))


def train(
    train_data: str | os.PathLike | Source,
    *,
    run_dir: str | os.PathLike,
    model: str | None = None,
    eval_data: str | os.PathLike | Source | None = None,
    **settings,
) -> Detector:
    """Trains a detector as `ssd-keras train` does, and returns the best of the run.

    What is not given follows the model's published recipe, scaled to the batch and to the number
    of images. Stopped at any moment, the same call goes on.

    Args:
        train_data: data to train on, a SPEC such as "voc:photos#train" or a source.
        run_dir: folder of the run, which holds all that comes of it.
        model: `<BoxNetwork>_<Backbone>_<size>`; None: that of `weights`, or SSDLite_MobileNet_300.
        eval_data: data to judge on; None for none.
        **settings: values of `RunSettings` and `Recipe` by their names, which are those of the
            flags: `epochs`, `batch_size`, `backbone_weights`, `weights` ... None is as not given.

    Raises:
        UserError: a name, a value, data, weights or a run folder that cannot be used, or a loss
            that is not a number.
    """
    given = check_settings(settings)
    if given.get("backbone") and model is None:
        raise UserError("A backbone of your own needs a model's name, such as SSD_Mine_300.")
    model = model or model_to_train(given.get("weights", ""))
    zoo.parse(model, given.get("backbone"))
    folder = RunFolder(run_dir)
    # Before anything is computed, which several devices may ask for.
    find_devices(given.get("devices", RunSettings.devices))
    source = open_source(train_data)
    judge = open_source(eval_data, source.classes) if eval_data not in (None, "") else None
    given |= {"train_data": source.spec, "eval_data": judge.spec if judge is not None else ""}
    given |= boxes_of_start(model, given)
    # By the images, as of the model's recipe no more is asked yet; then by their tiles.
    found, source = apply_tiles(suggest(model, len(source), given), source)
    found = suggest(model, len(source), given | {"tiles": found.tiles})
    if found.default_boxes == "auto":
        asked = "default_boxes" in given
        folder.fetch(folder.settings_file)
        if not asked and folder.settings_file.is_file():
            found = _with_its_boxes(found, folder.settings())
        else:
            found = _with_fitting_boxes(found, source, asked)
    return run.train(found, os.fspath(run_dir), train_source=source, eval_source=judge)


def _with_its_boxes(settings: RunSettings, stored: Mapping) -> RunSettings:
    """Settings with the default boxes that a run, perhaps of an earlier version, began with."""
    names = ("default_boxes", "finest_stride", "smallest_box")
    usual = {name: RunSettings.__dataclass_fields__[name].default for name in names}
    return dataclasses.replace(settings, **{n: stored.get(n, usual[n]) for n in names})


def _with_fitting_boxes(settings: RunSettings, source: Source, asked: bool) -> RunSettings:
    """Settings whose default boxes meet the data; without objects only who asks is told of it."""
    source = source.sample
    if not asked and not any(len(truth.boxes) for truth in source.ground_truth()):
        return dataclasses.replace(settings, default_boxes="published")
    fitted, fits = fit_default_boxes(settings, source)
    print(describe(fits))
    return fitted


def model_to_train(weights: str) -> str:
    """The model that is trained where none is named: that of the detector it starts from."""
    return model_of(weights) if weights else MODEL


def check_settings(settings: Mapping) -> dict:
    """The settings that are given, each of the type that its field has.

    Raises:
        UserError: there is no setting of this name, or a value is of another kind.
    """
    for name in settings:
        if name not in SETTINGS:
            raise unknown("setting of a training", name, SETTINGS)
    return {name: _value(name, v) for name, v in settings.items() if v is not None}


def _value(name: str, value):
    kind = _FIELDS[name].type.removesuffix(" | None")
    wanted, fits, convert = _KINDS[kind]
    if not fits(value):
        raise UserError(f"{name} must be {wanted}, got {value!r}.")
    return convert(value)


def _is_sequence(value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


# By the type of a field: what it is called, whether a value is one, and the value as it is stored.
_KINDS = {
    "str": ("a text", lambda v: isinstance(v, (str, Path)), os.fspath),
    "bool": (*KINDS["bool"], bool),
    "int": (*KINDS["int"], int),
    "float": (*KINDS["float"], float),
    "Mapping": ("a dict", lambda v: isinstance(v, Mapping), dict),
    "tuple[float, ...]": (
        "a list of numbers",
        lambda v: _is_sequence(v) and all(map(is_number, v)),
        lambda v: tuple(map(float, v)),
    ),
    "tuple[str, ...]": (
        "a list of names",
        lambda v: isinstance(v, str) or (_is_sequence(v) and all(isinstance(n, str) for n in v)),
        lambda v: (v,) if isinstance(v, str) else tuple(v),
    ),
}
