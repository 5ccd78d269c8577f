"""Where a file that others publish is taken from: from them, or from a mirror."""

from __future__ import annotations

import os
import re
import urllib.parse
from pathlib import Path

from ssd_keras.cache import folder_of
from ssd_keras.errors import UserError, one_line
from ssd_keras.weights.catalogue import Remote

MIRROR = "SSD_KERAS_MIRROR"
SCHEMES = ("https", "http")


def mirror_of(file: Remote) -> str | Path:
    """Where a file is taken from: its address, or what the variable SSD_KERAS_MIRROR says instead.

    The variable holds an address or a local folder; files have their own names there.

    Raises:
        UserError: it holds neither.
    """
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return file.address
    if mirror.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return f"{_mirror_address(mirror)}/{urllib.parse.quote(file.name)}"
    return folder_of(MIRROR, " nor an address of https or http") / file.name


def _mirror_address(mirror: str) -> str:
    """The address as it can be asked for, letters of other scripts written as such are."""
    try:
        parts = urllib.parse.urlsplit(mirror)
        if not parts.hostname or re.search(r"\s", parts.netloc) or parts.port == 0:
            raise ValueError("it names no server")
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except ValueError as error:
        raise UserError(f"{MIRROR} holds no address ({one_line(error)}).") from error
    if "@" in parts.netloc or parts.query or parts.fragment:
        # It is printed, and stands in error messages.
        raise UserError(f"{MIRROR} must hold an address without password, '?' and '#'.")
    return f"{parts.scheme}://{host}{urllib.parse.quote(parts.path.rstrip('/'), safe='/%')}"
