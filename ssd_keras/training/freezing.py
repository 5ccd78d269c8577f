"""Leaving parts of a detector as they are while the rest is trained."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import keras

from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.traversal import leaf_layers

PARTS = ("backbone", "batch_norm", "backbone_batch_norm")


def freeze(detector, parts: Sequence[str]):
    """Makes parts of a detector untrainable.

    A frozen batch normalisation keeps its scale, its offset and its statistics, and uses these
    statistics in training, too.

    Args:
        detector: the detector; compile it afterwards.
        parts: "backbone", "batch_norm" (all of them), "backbone_batch_norm", or names of layers,
            with `*` for any characters.

    Raises:
        UserError: a part or a layer that the detector does not have or that has no weights, or
            nothing left to train.
    """
    layers = list(leaf_layers(detector))
    own = {id(layer) for layer in leaf_layers(detector.backbone)}
    names = [layer.name for layer in layers]
    for part in parts:
        chosen = [layer for layer in layers if _belongs(layer, part, id(layer) in own)]
        if not chosen:
            hint = did_you_mean(part, [*PARTS, *names])
            raise UserError(
                f"There is nothing called '{part}' to freeze.{hint} Known: {', '.join(PARTS)} and "
                f"names of layers, with * for any characters, such as '{names[1]}'."
            )
        if not any(layer.weights for layer in chosen):
            kinds = ", ".join(sorted({type(layer).__name__ for layer in chosen}))
            raise UserError(f"What is called '{part}' ({kinds}) has no weights to freeze.")
        for layer in chosen:
            layer.trainable = False
    if not detector.trainable_variables:
        raise UserError(f"Freezing {', '.join(parts)} leaves nothing to train.")


def _belongs(layer, part: str, in_backbone: bool) -> bool:
    if part == "backbone":
        return in_backbone
    if part in PARTS:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        return norm and (in_backbone or part == "batch_norm")
    return fnmatch.fnmatchcase(layer.name, part)
