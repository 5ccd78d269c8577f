"""A model's name: `<BoxNetwork>_<Backbone>_<size>`, the size one side or `<height>x<width>`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from ssd_keras.backbones.applications import application_names
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.presets import BOX_NETWORKS, CORES, MODELS, find_core

FORM = re.compile(r"([A-Za-z]+)_([A-Za-z0-9]+)_(\d+)(?:x(\d+))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class ModelName:
    """A model's name, taken apart.

    Attributes:
        box_network, backbone: the names of its parts.
        image_size: (height, width) of the image in pixels.
    """

    box_network: str
    backbone: str
    image_size: tuple[int, int]


def parse(name: str, backbone: Callable | str | None = None) -> ModelName:
    """Takes `<BoxNetwork>_<Backbone>_<size>` or `..._<height>x<width>` apart.

    Args:
        name: the name.
        backbone: the user's own Core Network, with which the middle part and the size are free.

    Raises:
        UserError: there is no such box network, backbone or size; says what there is.
    """
    parsed = _split(name)
    if backbone is None:
        _check_core(name, parsed)
    return parsed


def _split(name: str) -> ModelName:
    match = FORM.fullmatch(name)
    if not match:
        raise UserError(
            f"There is no model '{name}': a name is <BoxNetwork>_<Backbone>_<size>, the size in "
            f"pixels one side of a square or <height>x<width>.{_hint(name)}"
            f" Known models: {', '.join(MODELS)}."
        )
    if match[3] == match[4]:
        square = name.removesuffix(f"x{match[4]}")
        raise UserError(f"There is no model '{name}': a square has one number, as in '{square}'.")
    parsed = ModelName(match[1], match[2], (int(match[3]), int(match[4] or match[3])))
    if parsed.box_network not in BOX_NETWORKS:
        raise UserError(
            f"There is no model '{name}': '{parsed.box_network}' is no box network."
            f"{_hint(name)} Box networks: {', '.join(BOX_NETWORKS)}."
        )
    return parsed


def _check_core(name: str, parsed: ModelName):
    core = find_core(parsed.backbone)
    if core is None:
        raise UserError(
            f"There is no model '{name}': '{parsed.backbone}' is no core network."
            f"{_hint(name)} Core networks: {', '.join(CORES)}, and those of keras.applications; "
            "your own needs backbone=."
        )
    smallest, largest = core.sizes
    if not smallest <= min(parsed.image_size) <= max(parsed.image_size) <= largest:
        raise UserError(
            f"There is no model '{name}': {parsed.backbone} takes images of {smallest} to "
            f"{largest} px."
        )


def _hint(name: str) -> str:
    """The nearest name of the tables, with the size that was asked for."""
    match = FORM.fullmatch(name)
    if not match:
        return did_you_mean(name, MODELS)
    size = name.rpartition("_")[2]
    cores = [*CORES, *application_names()]
    known = [f"{box}_{core}_{size}" for box in BOX_NETWORKS for core in cores]
    return did_you_mean(name, known)
