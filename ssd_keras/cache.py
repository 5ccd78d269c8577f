"""Where fetched files and indexes of data sets are kept."""

from __future__ import annotations

import os
from pathlib import Path

from ssd_keras.errors import UserError, one_line

CACHE = "SSD_KERAS_CACHE"


def cache_folder() -> Path:
    """The folder that the variable SSD_KERAS_CACHE names, or one below the home.

    Raises:
        UserError: the variable names no local folder, or there is no home.
    """
    if os.environ.get(CACHE):
        return folder_of(CACHE)
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "ssd-keras"


def folder_of(variable: str, otherwise: str = "") -> Path:
    """The local folder that a variable of the environment names.

    Args:
        variable: its name.
        otherwise: what it could hold instead, ends the error.

    Raises:
        UserError: it is an address, or begins with the home of nobody.
    """
    chosen = os.environ[variable]
    try:
        if "://" not in chosen:
            return Path(chosen).expanduser()
        reason = "an address"
    except RuntimeError as error:
        reason = one_line(error)
    raise UserError(f"{variable}='{chosen}' is no local folder{otherwise} ({reason}).")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise UserError(
            f"There is no home folder to keep files in ({one_line(error)}): let {CACHE} name one."
        ) from error
