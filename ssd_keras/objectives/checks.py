"""Whether the numbers of an objective make sense; files and users may give anything."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

from ssd_keras.kinds import is_number


def check_numbers(objective, *, above_zero=(), not_negative=(), whole=()) -> None:
    """Refuses attributes that are not finite numbers of their range.

    Args:
        objective: has the attributes.
        above_zero: names of numbers above 0.
        not_negative: names of numbers of 0 or more.
        whole: names, of those above, of whole numbers.

    Raises:
        ValueError: names the attribute, what it must be and what it is.
    """
    for names, range_text, fits in (
        (above_zero, "above 0", lambda value: value > 0),
        (not_negative, "of 0 or more", lambda value: value >= 0),
    ):
        for name in names:
            value = getattr(objective, name)
            kind = numbers.Integral if name in whole else numbers.Real
            if not (_is_finite(value, kind) and fits(value)):
                noun = "a whole number" if name in whole else "a number"
                raise ValueError(f"{name} must be {noun} {range_text}, got {value!r}.")


def check_row(objective, name: str, count: int, *, above_zero: bool) -> None:
    """Refuses an attribute that is not a row of so many finite numbers, above 0 or of 0 or more.

    Raises:
        ValueError: names the attribute, what it must be and what it is.
    """
    row = getattr(objective, name)
    is_row = isinstance(row, Sequence) and not isinstance(row, str) and len(row) == count
    if not (is_row and all(_is_finite(v) and (v > 0 if above_zero else v >= 0) for v in row)):
        range_text = "above 0" if above_zero else "of 0 or more"
        raise ValueError(f"{name} must be {count} numbers {range_text}, got {row!r}.")


def check_share(objective, name: str) -> None:
    """Refuses an attribute that is not a number above 0 and up to 1.

    Raises:
        ValueError: names the attribute and what it is.
    """
    value = getattr(objective, name)
    if not (_is_finite(value) and 0 < value <= 1):
        raise ValueError(f"{name} must be a number above 0 and up to 1, got {value!r}.")


def _is_finite(value, kind=numbers.Real) -> bool:
    return is_number(value, kind) and math.isfinite(value)
