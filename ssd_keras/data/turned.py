"""Boxes that a tool gives as they were before they were turned, with the angle beside them."""

from __future__ import annotations

import math

import numpy as np

from ssd_keras.data.source import NOTED, Problem
from ssd_keras.data.text import number

KIND = "turned_box"


def degrees_of(written) -> float | None:
    """An angle that a file gives, 0 for a whole turn; None if it is no finite number."""
    degrees = number(written)
    return degrees % 360 if degrees is not None and math.isfinite(degrees) else None


def upright(boxes: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """The upright boxes `[n, 4]` around boxes in pixels that are turned about their centres.

    Args:
        boxes: float `[n, 4]`, `[ymin, xmin, ymax, xmax]` before the turn.
        degrees: `[n]`; which way makes no difference.
    """
    boxes = np.asarray(boxes, np.float64)
    angle = np.radians(degrees)[:, None]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    around = np.abs(np.cos(angle)) * half + np.abs(np.sin(angle)) * half[:, ::-1]
    return np.concatenate([centre - around, centre + around], axis=1)


def note(place: str, name: str, degrees: float, image: str) -> Problem:
    """The note that the box of an object of class `name` is that around a turned one."""
    message = f"'{name}' is turned by {degrees:g} degrees: the upright box around it is read"
    return Problem(KIND, place, message, NOTED, image=image)


def note_unclear(place: str, name: str, written, image: str) -> Problem:
    """The note that a box is read as it is, since its angle is no number."""
    said = repr(written)[:40]
    message = f"'{name}' has the rotation {said}, which is no number: its box is read as upright"
    return Problem(KIND, place, message, NOTED, image=image)
