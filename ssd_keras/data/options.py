"""Options behind the place of a data SPEC: `PLACE,images=DIR,units=pixels`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ssd_keras.data import units
from ssd_keras.errors import missing_place, unknown

IMAGES, UNITS = {"images": "DIR"}, {"units": "UNIT"}


def split(spec: str, place: str, known: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A place without its options, and these; a comma in the name of a place is none.

    Args:
        spec: how the user named the data, for messages.
        place: what stands between the format and the split.
        known: the options, each with what its value is called.

    Raises:
        UserError: there is no such option, unit or folder of images.
    """
    if os.path.exists(place):
        return place, {}
    path, *found = re.split(rf",({'|'.join(known)})=", place)
    strange = re.search(r",(\w+)=", path)
    if strange and not os.path.exists(path):
        forms = [f"{name}={value}" for name, value in known.items()]
        raise unknown("option", strange[1], forms, f"in '{spec}'")
    options = dict(zip(found[::2], found[1::2], strict=True))
    unit = options.get("units")
    if unit is not None and unit not in units.UNITS:
        raise unknown("unit", unit, units.UNITS, f"in '{spec}'")
    if "images" in options:
        options["images"] = os.path.expanduser(options["images"])
        if not os.path.isdir(options["images"]):
            raise missing_place("folder", options["images"], spec)
    return path, options
