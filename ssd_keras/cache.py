"""Where fetched files and indexes of data sets are kept."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "SSD_KERAS_CACHE"


def cache_folder() -> Path:
    """The folder that the variable SSD_KERAS_CACHE names, or one below the home."""
    chosen = os.environ.get(CACHE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssd-keras"
