"""Kinds of values that a user may give, by how the types of parameters are written."""

from __future__ import annotations

import numbers


def is_number(value, kind=numbers.Real) -> bool:
    """Whether a value is a number of a kind; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


# What values of the kind are called, and whether a value is one.
KINDS = {
    "int": ("a whole number", lambda value: is_number(value, numbers.Integral)),
    "float": ("a number", is_number),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
}
