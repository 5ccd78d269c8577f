"""The tiles that a run is trained on."""

from __future__ import annotations

import dataclasses

from ssd_keras.data import Source
from ssd_keras.data.tile_sizes import TileFit, fit_tile_size
from ssd_keras.data.tiled import TiledSource
from ssd_keras.errors import UserError
from ssd_keras.training.building import build
from ssd_keras.training.settings import RunSettings


def apply_tiles(settings: RunSettings, source: Source) -> tuple[RunSettings, Source]:
    """The settings with a size for "auto", and the source as it is trained on.

    Raises:
        UserError: see `fit_tiles`.
    """
    if settings.tiles == "auto":
        fits = fit_tiles(settings, source)
        print("Tiles that fit the objects: " + "\n  instead of ".join(map(str, fits)))
        size = fits[0].tiling and "{}x{}".format(*fits[0].tiling.size)
        settings = dataclasses.replace(settings, tiles=size or "")
    if settings.tiling is None:
        return settings, source
    seen = TiledSource(
        source,
        settings.tiling,
        min_visible=settings.min_visible,
        empty_tiles=settings.empty_tiles,
        seed=settings.seed,
    )
    return settings, seen


def fit_tiles(settings: RunSettings, source: Source) -> list[TileFit]:
    """What sizes of tiles were tried, the chosen one first; see `data.tile_sizes`.

    Raises:
        UserError: the detector has no default boxes, or there is no object.
    """
    if not any(one.is_object.any() for one in source.ground_truth()):
        raise UserError(f"'{source.spec}' has no object to fit tiles to.")
    detector = build(
        dataclasses.replace(settings, tiles="", backbone_weights="none"), source.classes
    )
    levels = detector.box_network.level_anchors
    if not levels:
        raise UserError(
            f"'{settings.model}' has no default boxes to fit tiles to: give --tiles=512."
        )
    given = {"overlap": settings.tile_overlap, "whole": settings.tile_whole}
    return fit_tile_size(source, levels, detector.image_size, detector.resize, **given)
