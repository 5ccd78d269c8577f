"""A model's name: `<BoxNetwork>_<Backbone>_<size>`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.presets import BOX_NETWORKS, CORES, MODELS, find_core

FORM = re.compile(r"([A-Za-z]+)_([A-Za-z0-9]+)_(\d+)")


@dataclasses.dataclass(frozen=True)
class ModelName:
    """A model's name, taken apart."""

    box_network: str
    backbone: str
    size: int

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.size, self.size


def parse(name: str, backbone: Callable | str | None = None) -> ModelName:
    """Takes `<BoxNetwork>_<Backbone>_<size>` apart.

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
            f"There is no model '{name}': a name is <BoxNetwork>_<Backbone>_<size>.{_hint(name)}"
            f" Known models: {', '.join(MODELS)}."
        )
    parsed = ModelName(match[1], match[2], int(match[3]))
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
            f"{_hint(name)} Core networks: {', '.join(CORES)}; your own needs backbone=."
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
    known = [f"{box}_{core}_{match[3]}" for box in BOX_NETWORKS for core in CORES]
    return did_you_mean(name, known)
