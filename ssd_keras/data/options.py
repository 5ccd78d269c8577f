"""Where the place of a data SPEC ends, and options behind it: `PLACE,images=DIR,units=pixels`.

The signs that a SPEC is made of may also be part of the name of a file or folder: the longest name
that exists counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ssd_keras.data import units
from ssd_keras.errors import missing_place, unknown

IMAGES, UNITS = {"images": "DIR"}, {"units": "UNIT"}
SEQUENTIAL = {"sequential": "IMAGES"}
_SEQUENTIAL = re.compile(r",sequential=\w*")
_SIGN = re.compile(r"[#?,+]")
_OPTION = re.compile(r",(\w+)=")


def end_of_path(text: str, start: int = 0) -> int:
    """Where the longest path ends that begins at `start` and exists; `start` if none does."""
    cuts = [sign.start() for sign in _SIGN.finditer(text, start + 1)] + [len(text)]
    return max((at for at in cuts if at > start and exists(text[start:at])), default=start)


def end_of_place(text: str, start: int = 0) -> int:
    """As `end_of_path`, with the options behind it."""
    end = end_of_path(text, start)
    while end > start and (option := _OPTION.match(text, end)):
        end = _end_of_value(text, option.end())
    return end


def _end_of_value(text: str, start: int) -> int:
    end = end_of_path(text, start)
    sign = _SIGN.search(text, start)
    return end if end > start else sign.start() if sign else len(text)


def exists(path: str) -> bool:
    """Whether a place is there, `~` being the user's home."""
    return os.path.exists(os.path.expanduser(path))


def split(spec: str, place: str, known: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A place without its options, and these.

    Args:
        spec: how the user named the data, for messages.
        place: what stands between the format and the split.
        known: the options, each with what its value is called.

    Raises:
        UserError: there is no such option, unit or folder of images.
    """
    end = end_of_path(place)
    if not end:
        first = _OPTION.search(place)
        end = first.start() if first else len(place)
    path, options = place[:end], {}
    while option := _OPTION.match(place, end):
        if option[1] not in known:
            forms = [f"{name}={value}" for name, value in known.items()]
            raise unknown("option", option[1], forms, f"in '{spec}'")
        end = _end_of_value(place, option.end())
        options[option[1]] = place[option.end() : end]
    _check(spec, options)
    return path + place[end:], options


def in_any_order(spec: str) -> str:
    """The SPEC of the same images, to be read in any order, which evaluation needs."""
    return _SEQUENTIAL.sub("", spec)


def _check(spec: str, options: dict[str, str]) -> None:
    unit = options.get("units")
    if unit is not None and unit not in units.UNITS:
        raise unknown("unit", unit, units.UNITS, f"in '{spec}'")
    if "images" in options:
        options["images"] = os.path.expanduser(options["images"])
        if not os.path.isdir(options["images"]):
            raise missing_place("folder", options["images"], spec)
