"""Any source seen through tiles: large images become many small ones, and nothing is written."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from ssd_keras.boxes.tiles import Tiling, parts_on_tile, seen_enough, tiles_of, visible_shares
from ssd_keras.data.source import GroundTruth, Source
from ssd_keras.errors import UserError

MIN_VISIBLE = 0.5
EMPTY_TILES = 0.2
# Decoded images that are kept because more of their tiles are about to be asked for.
KEPT_BYTES = 1 << 30


class TiledSource(Source):
    """The tiles of the images of a source, as images of their own.

    An object is taught by every tile that shows at least `min_visible` of it, and by the tile that
    shows most of it; on the others what is seen of it is ignored: neither object nor background. An
    image that is no larger than a tile stays as it is.

    An image is decoded when the first of its tiles is asked for, and kept as long as its other
    tiles are likely to be, `KEPT_BYTES` of images at most, or a single one.

    Args:
        source: the images.
        tiling: how they are cut.
        min_visible: share of an object, from which a tile teaches it.
        empty_tiles: tiles without objects, as a share of all tiles, that are kept at most; 1 keeps
            all of them. Images of one tile always stay.
        seed: chooses which empty tiles are kept.

    Attributes:
        source: the images.
        groups: int `[N]`, the image that each tile is of; tiles of an image follow each other.
        dropped: tiles without objects that were left out.

    Raises:
        UserError: a share that is none.
    """

    def __init__(
        self,
        source: Source,
        tiling: Tiling,
        *,
        min_visible: float = MIN_VISIBLE,
        empty_tiles: float = EMPTY_TILES,
        seed: int = 0,
    ):
        for name, value in (("min_visible", min_visible), ("empty_tiles", empty_tiles)):
            if not 0.0 <= value <= 1.0:
                raise UserError(f"{name} must be in 0..1, got {value}.")
        self.tiling = tiling
        tiles = [
            _Tile(index, tile, truth)
            for index, one in enumerate(source.ground_truth())
            for tile, truth in _tiles(one, tiling, min_visible)
        ]
        kept = _without_most_empty(tiles, empty_tiles, seed)
        self.dropped = len(tiles) - len(kept)
        self.groups = np.array([tile.image for tile in kept], np.int64)
        self._tiles = kept
        whole = np.array([tile.place is None for tile in kept], bool)
        super().__init__(
            source.spec,
            source.classes,
            [tile.truth for tile in kept],
            source.problems,
            standard_jpeg=whole & source.standard_jpeg[self.groups],
            category_ids=source.category_ids,
        )
        self.source = source
        self._images = _Images(source)

    def image(self, index: int) -> np.ndarray:
        tile = self._tiles[index]
        if tile.place is None:
            return self.source.image(tile.image)
        image, one = self._images.get(tile.image), self.source.ground_truth()[tile.image]
        # Images may be larger or smaller than their annotations say, by the same proportion.
        scale = np.divide(image.shape[:2], (one.height, one.width))
        top, left, bottom, right = np.rint(tile.place * np.tile(scale, 2)).astype(int)
        # A copy, so that whoever keeps a tile does not keep the image.
        return image[top:bottom, left:right].copy()

    def encoded(self, index: int) -> bytes:
        tile = self._tiles[index]
        return self.source.encoded(tile.image) if tile.place is None else super().encoded(index)


@dataclasses.dataclass(frozen=True)
class _Tile:
    """A tile: of which image, where (None: all of it), and what is on it."""

    image: int
    place: tuple[int, int, int, int] | None
    truth: GroundTruth


def _tiles(one: GroundTruth, tiling: Tiling, min_visible: float) -> Iterator[tuple]:
    """Place and ground truth of each tile of an image."""
    tiles = tiles_of((one.height, one.width), tiling)
    if len(tiles) == 1:
        yield None, one
        return
    boxes = one.boxes.astype(np.float64) * np.tile([one.height, one.width], 2)
    shares = visible_shares(boxes, tiles)
    # The whole image, which shows all of every object, is no reason not to teach it on a tile.
    count = len(tiles) - tiling.whole
    enough = np.concatenate(
        [seen_enough(shares[:count], min_visible), np.ones((int(tiling.whole), len(one)), bool)]
    )
    for tile, share, taught in zip(tiles, shares, enough, strict=True):
        seen = share > 0
        yield tuple(tile.tolist()), _truth_of(one, boxes, tile, share, seen, seen & ~taught)


def _truth_of(one, boxes, tile, share, seen, ignored) -> GroundTruth:
    top, left, bottom, right = tile.tolist()
    is_whole = (bottom - top, right - left) == (one.height, one.width)
    part = "whole" if is_whole else f"{top}_{left}"
    # Difficult objects and crowds stay what they are.
    return GroundTruth(
        f"{one.image_id}_{part}",
        bottom - top,
        right - left,
        parts_on_tile(boxes[seen], tile),
        one.labels[seen],
        one.difficult[seen],
        one.crowd[seen],
        one.area[seen] * share[seen],
        None,
        (one.ignored | (ignored & ~one.crowd))[seen],
    )


def _without_most_empty(tiles: list[_Tile], share: float, seed: int) -> list[_Tile]:
    """The tiles less so many without objects that these are no more than `share` of all."""
    empty = [
        number
        for number, tile in enumerate(tiles)
        if tile.place is not None and not tile.truth.is_object.any()
    ]
    others = len(tiles) - len(empty)
    if share >= 1.0 or not others:
        return tiles
    most = int(others * share / (1.0 - share))
    drawn = np.random.default_rng(seed).permutation(len(empty))
    left_out = {empty[place] for place in drawn[most:]}
    return [tile for number, tile in enumerate(tiles) if number not in left_out]


class _Images:
    """The images that were decoded last, each decoded once however many threads ask for it."""

    def __init__(self, source: Source):
        self.source = source
        self._lock = threading.Lock()
        self._locks: dict[int, threading.Lock] = {}
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def get(self, index: int) -> np.ndarray:
        with self._lock:
            lock = self._locks.setdefault(index, threading.Lock())
        with lock:
            image = self._kept.get(index)
            if image is None:
                image = self.source.image(index)
            with self._lock:
                self._kept[index] = image
                self._kept.move_to_end(index)
                self._forget()
            return image

    def _forget(self) -> None:
        size = sum(image.nbytes for image in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            number, image = self._kept.popitem(last=False)
            self._locks.pop(number, None)
            size -= image.nbytes


def whole_images(source: Source) -> Source:
    """The images whose annotations were read: of tiles, those that they are cut from."""
    return (source.source if isinstance(source, TiledSource) else source).sample
