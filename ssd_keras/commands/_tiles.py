"""The flags by which large images are cut into tiles otherwise than the detector says."""

from __future__ import annotations

from absl import flags

from ssd_keras.boxes.tiles import Tiling
from ssd_keras.errors import UserError
from ssd_keras.tiled_detection import tiling_for

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "tiles",
    None,
    "Look at large images tile by tile: the side in pixels, 512 or 384x640 (height first), 'auto' "
    "for the detector's own or its input's size, 'none' for images as a whole; else as in the "
    "detector.",
)
flags.DEFINE_float(
    "tile_overlap", None, "Share that tiles overlap by; else the detector's, or 0.2."
)
flags.DEFINE_bool(
    "tile_whole", None, "Look at the whole image as well; else as in the detector, or not."
)


def check_tiles() -> None:
    """Raises UserError for values that make no sense, before anything is computed."""
    size, given = _flags_given()
    if size == "none" and any(value is not None for value in given.values()):
        raise UserError("--tiles=none leaves nothing to --tile_overlap and --tile_whole.")
    Tiling.of(512 if size in (None, "auto") else size, **given)


def tiling_of(detector) -> Tiling | None:
    """How a detector is to cut images by the flags, or else by itself."""
    size, given = _flags_given()
    return tiling_for(detector, size, **given)


def flag_values() -> dict:
    """The values of the flags by their names; None for what is not given."""
    return {name: FLAGS[name].value for name in ("tiles", "tile_overlap", "tile_whole")}


def _flags_given() -> tuple[str | None, dict]:
    given = {"overlap": FLAGS["tile_overlap"].value, "whole": FLAGS["tile_whole"].value}
    return FLAGS["tiles"].value, given
