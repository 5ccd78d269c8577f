"""Detecting in large images tile by tile, with the memory of one batch of tiles."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from ssd_keras.boxes.merging import merge_tiles
from ssd_keras.boxes.tiles import Tiling, tiles_of
from ssd_keras.data.decoded import ArrayPicture, open_decoded
from ssd_keras.data.windows import open_windows
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.image_inputs import is_single, to_array
from ssd_keras.resizing import resize, resize_rows

# Of a larger part of an image only the rows are read that its resized form is made of.
MOST_PIXELS = 1 << 24


class Picture(Protocol):
    """An image of which parts can be read."""

    size: tuple[int, int]

    def window(self, tile: Sequence[int]) -> np.ndarray:
        """The pixels from top, left to bottom, right, `[H, W, 3]`."""

    def close(self) -> None:
        """Ends reading."""


def tiling_for(detector, tiles: Tiling | int | str | bool | None, **given) -> Tiling | None:
    """How a detector is to cut images, by what was asked for.

    Args:
        detector: has a `tiling`, or None, and an `image_size`.
        tiles: None: its own; "auto" or True: its own, or tiles of its input's size; False: none;
            else as `Tiling.of` takes them.
        **given: values that go before, such as `overlap`; None keeps one as it is.

    Raises:
        UserError: it is none of these.
    """
    own = getattr(detector, "tiling", None)
    if tiles is None:
        if own is None and (unused := [name for name, one in given.items() if one is not None]):
            raise UserError(f"The {unused[0]} of tiles needs their size: give tiles=512 or 'auto'.")
        return Tiling.of(own, **given)
    if tiles is True or tiles == "auto":
        height, width = detector.image_size
        return Tiling.of(own or {"height": int(height), "width": int(width)}, **given)
    if own is not None and not isinstance(tiles, Tiling):
        rest = own.as_dict()
        others = {name: rest[name] for name in rest if name not in ("height", "width")}
        given = others | {name: value for name, value in given.items() if value is not None}
    return Tiling.of(tiles, **given)


def open_pictures(images) -> Iterator[tuple[Picture, str | None]]:
    """Each image that `Detector.detect` takes, and its path where it is a file.

    One after the other, so that a single one is in memory.
    """
    single = is_single(images)
    for number, image in enumerate([images] if single else images):
        if isinstance(image, (str, os.PathLike)):
            path = os.fspath(image)
            with contextlib.closing(open_picture(path)) as picture:
                yield picture, path
        else:
            yield ArrayPicture(to_array(image, "" if single else f"Image {number}: ")), None


def open_picture(path: str) -> Picture:
    """An image file; one beyond the limit of images by windows, where that is possible.

    Raises:
        ImageError: it cannot be read.
    """
    return open_windows(path) or open_decoded(path)


@dataclasses.dataclass(frozen=True)
class _Waiting:
    """An image whose tiles are being looked at."""

    size: tuple[int, int]
    path: str | None
    tiles: np.ndarray
    found: list[Detections]


def detect_tiled(
    detector,
    pictures: Iterable[tuple[Picture, str | None]],
    tiling: Tiling,
    batch_size: int = 8,
    progress: Callable[[int, int], object] = lambda done, all_of_them: None,
    **suppression,
) -> Iterator[Detections]:
    """Detections of each picture, of which an image that is one tile is looked at as ever.

    Args:
        detector: a `Detector`, or what has its `image_size`, `resize`, `suppression`,
            `detect_batches` and `in_image`.
        pictures: each with its path, or None.
        tiling: how they are cut.
        batch_size: tiles that go through the network at once, be they of different pictures.
        progress: is told how many tiles of the picture are done, and how many it has.
        **suppression: instead of the detector's own. It is that of each tile; `max_detections`
            does not limit what is found in the whole.
    """
    rule = detector.suppression.replace(**suppression)
    waiting: collections.deque[_Waiting] = collections.deque()

    def inputs() -> Iterator[np.ndarray]:
        for picture, path in pictures:
            tiles = tiles_of(picture.size, tiling)
            waiting.append(_Waiting(tuple(picture.size), path, tiles, []))
            for tile in tiles.tolist():
                yield crop_tile(picture, tile, detector.image_size, detector.resize)

    for found in detector.detect_batches(stack(inputs(), batch_size), **suppression):
        one = waiting[0]
        one.found.append(found)
        progress(len(one.found), len(one.tiles))
        if len(one.found) == len(one.tiles):
            waiting.popleft()
            yield _of_picture(detector, one, tiling, rule.class_agnostic)


def crop_tile(picture: Picture, tile: Sequence[int], size: tuple[int, int], way: str) -> np.ndarray:
    """A part of a picture in the size of a detector's input, float32 `[*size, 3]`.

    The same to the bit whether the part is read as a whole or, if it is large, row by row.
    """
    top, left, bottom, right = tile
    have = bottom - top, right - left
    if have[0] * have[1] <= MOST_PIXELS:
        return resize(picture.window(tile), size, way)

    def read(rows: np.ndarray) -> np.ndarray:
        numbers, place = np.unique(rows, return_inverse=True)
        found = [picture.window((top + n, left, top + n + 1, right)) for n in numbers.tolist()]
        return np.concatenate(found)[place]

    return resize_rows(read, have, size, way)


def _of_picture(detector, one: _Waiting, tiling: Tiling, class_agnostic: bool) -> Detections:
    if len(one.tiles) == 1:
        return detector.in_image(one.found[0], one.size, one.path)
    sides = one.tiles[:, 2:] - one.tiles[:, :2]
    inside = [
        found.from_canvas(tuple(side), detector.image_size, detector.resize)
        for found, side in zip(one.found, sides.tolist(), strict=True)
    ]
    merged = merged_detections(inside, one.tiles, one.size, tiling, class_agnostic=class_agnostic)
    return merged.of_image(one.size, one.path)


def detect_by_tiles(
    detect: Callable[[np.ndarray], Detections],
    image: np.ndarray,
    tiling: Tiling,
    *,
    class_agnostic: bool = False,
) -> Detections:
    """What `detect` finds in an image `[H, W, 3]`, tile by tile.

    Args:
        detect: from an image of any size to what is found in it.
        image: one that is one tile is given as it is.
        tiling: how it is cut.
        class_agnostic: see `merged_detections`.
    """
    tiles = tiles_of(image.shape[:2], tiling)
    if len(tiles) == 1:
        return detect(image)
    picture = ArrayPicture(image)
    found = [detect(picture.window(tile)) for tile in tiles.tolist()]
    size = tuple(image.shape[:2])
    return merged_detections(found, tiles, size, tiling, class_agnostic=class_agnostic)


def merged_detections(
    found: Sequence[Detections],
    tiles: np.ndarray,
    size: tuple[int, int],
    tiling: Tiling,
    *,
    class_agnostic: bool = False,
) -> Detections:
    """What was found on each tile, in shares of it -> what was found in the image.

    Args:
        found: of each tile.
        tiles: int `[T, 4]` in pixels.
        size: (height, width) of the image.
        tiling: the rule by which two tiles' detections are of one object.
        class_agnostic: whether that goes for detections of different classes, too.
    """
    number = np.repeat(np.arange(len(found)), [len(one) for one in found])
    edges = tiles[number].astype(np.float64)
    start, extent = edges[:, [0, 1, 0, 1]], np.tile(edges[:, 2:] - edges[:, :2], 2)
    boxes = np.concatenate([one.boxes for one in found]).astype(np.float64) * extent + start
    scores = np.concatenate([one.scores for one in found])
    labels = np.concatenate([one.labels for one in found])
    boxes, scores, labels = merge_tiles(
        tiles, number, boxes, scores, labels, tiling, class_agnostic=class_agnostic
    )
    return Detections(boxes / np.array([*size, *size]), scores, labels, found[0].classes)


def stack(images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Images of one size as batches, the last of which may be smaller."""
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
