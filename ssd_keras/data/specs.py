"""From a data SPEC, `FORMAT:PLACE#SPLIT`, to a source."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ssd_keras.data import shapes, voc
from ssd_keras.data.source import Source
from ssd_keras.errors import UserError, did_you_mean

FORMATS = ("voc", "shapes")


def load_source(spec: str, classes: Sequence[str] | None = None) -> Source:
    """Opens the data set that `spec` names.

    Args:
        spec: `voc:DIR#SPLIT`, `shapes#SPLIT[,count=N][,size=PIXELS]` or a bare folder.
        classes: class names in the order of their labels; None takes them from the data.

    Raises:
        UserError: the spec is not understood or nothing usable is there.
    """
    head, _, split = spec.partition("#")
    name, colon, place = head.partition(":")
    if head == "shapes":
        return _shapes(spec, split, classes)
    if not colon:
        if os.path.isdir(head):
            return voc.load(spec, head, split or None, classes)
        raise UserError(
            f"'{spec}' is neither FORMAT:PLACE nor a folder.{did_you_mean(name, FORMATS)}"
        )
    if name == "voc":
        return voc.load(spec, place, split or None, classes)
    raise UserError(
        f"Unknown data format '{name}' in '{spec}'; known: {', '.join(FORMATS)}."
        + did_you_mean(name, FORMATS)
    )


def _shapes(spec: str, split: str, classes) -> Source:
    split, *options = (split or "train").split(",")
    values = {"count": shapes.DEFAULT_COUNTS.get(split, 300), "size": 300}
    for option in options:
        key, _, value = option.partition("=")
        if key not in values:
            raise UserError(f"Unknown option '{key}' in '{spec}'.{did_you_mean(key, values)}")
        if not value.isdigit() or int(value) < 1:
            raise UserError(f"'{key}' in '{spec}' must be a whole number from 1, not '{value}'.")
        values[key] = int(value)
    if classes is not None and tuple(classes) != shapes.CLASSES:
        raise UserError(f"The classes of '{spec}' are {','.join(shapes.CLASSES)}; leave them out.")
    return shapes.ShapesSource(spec, split, values["count"], values["size"])
