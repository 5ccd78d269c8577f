"""One answer from the detections of tiles: halves are joined, what two tiles saw counts once.

Two tiles that overlap saw the same pixels where both lie, so an object that both found looks the
same there: that, and not how much two boxes overlap, tells the halves of one object from two
neighbours. Of one tile no two detections are ever of one object, for its own suppression has kept
them apart.

Everything is float64 and in one order of operations, so that the samples in JavaScript and Kotlin
give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ssd_keras.boxes.geometry import iou_of_coordinates
from ssd_keras.boxes.tiles import Tiling

# top, left, bottom, right: the side of a box, and whether it grows towards the edge.
_SIDES = (0, 1, 2, 3)
_PAIRS_AT_A_TIME = 1 << 20


def merge_tiles(
    tiles: np.ndarray,
    tile_of: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    tiling: Tiling,
    *,
    class_agnostic: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of an image from what was found on its tiles.

    Pairs of detections of one class on overlapping tiles are one object where

    - their IoU is over `iou_threshold`, or
    - the smaller one is cut by an edge of its tile beyond which the other tile goes on, shares more
      than `smaller_threshold` of itself with the other, and on what both tiles show their IoU is
      over half of that, or
    - both are cut by the edges that lie in each other's tiles, and on what both tiles show their
      IoU is over `smaller_threshold`.

    Those that agree best on what both tiles show are joined first, and no object takes two
    detections of one tile. An object has the score and class of its best detection, and the box of
    the best that no edge cuts; where all are cut, each side of the best that is not cut there, or
    else the outermost. At the end, of two objects of one class whose boxes have an IoU over
    `iou_threshold` the better one stays, unless both boxes are whole ones of one tile.

    Args:
        tiles: int `[T, 4]`, as `tiles.tiles_of` gives them; the last of them may be the image.
        tile_of: int `[N]`, the tile of each detection.
        boxes: `[N, 4]` in pixels of the image.
        scores, labels: `[N]`.
        tiling: the rule.
        class_agnostic: join detections of different classes, too.

    Returns:
        boxes float64 `[M, 4]`, scores and labels `[M]`, best score first; equal ones in the order
        of the tiles.
    """
    tiles, tile_of = np.asarray(tiles, np.float64), np.asarray(tile_of, np.int64)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores, labels = np.asarray(scores), np.asarray(labels)
    cut = _cut_sides(tiles, tile_of, boxes, tiling.margin)
    classes = np.zeros_like(labels) if class_agnostic else labels
    pairs = _pairs(tiles, tile_of, boxes, classes, cut, tiling)
    groups = _join(pairs, tile_of)
    best = [_best_first(group, scores) for group in groups]
    order = sorted(range(len(best)), key=lambda n: (-scores[best[n][0]], best[n][0]))
    first = np.array([best[n][0] for n in order], np.int64)
    whole = np.array([_whole_one(best[n], cut) for n in order], np.int64)
    joined = [_box_of(best[n], boxes, cut) for n in order]
    joined = np.array(joined, np.float64).reshape(-1, 4)
    # A box that was put together is of no tile.
    of_tile = np.where(whole < 0, -1 - np.arange(len(whole)), tile_of[whole])
    kept = _suppress(joined, classes[first], of_tile, tiling.iou_threshold)
    return joined[kept], scores[first[kept]], labels[first[kept]]


def _cut_sides(tiles, tile_of, boxes, margin: float) -> np.ndarray:
    """Which sides of each detection lie at an edge of its tile inside the image, bool `[N, 4]`."""
    edges = tiles[tile_of]
    extent = edges[:, 2:] - edges[:, :2]
    reach = np.maximum(1.0, margin * np.concatenate([extent, extent], 1))
    image = np.concatenate([tiles[:, :2].min(0), tiles[:, 2:].max(0)])
    near = np.abs(boxes - edges) <= reach
    # A box that reaches beyond its tile is cut as well.
    beyond = np.concatenate([boxes[:, :2] < edges[:, :2], boxes[:, 2:] > edges[:, 2:]], 1)
    return (near | beyond) & (edges != image)


def _pairs(tiles, tile_of, boxes, classes, cut, tiling: Tiling) -> list[tuple[float, int, int]]:
    """Pairs that may be one object, `(agreement, first, second)`, best first."""
    members = [np.flatnonzero(tile_of == number) for number in range(len(tiles))]
    found = []
    for one, other in _overlapping(tiles, [len(rows) for rows in members]):
        found += _pairs_of_two(tiles[one], tiles[other], members[one], members[other],
                               boxes, classes, cut, tiling)  # fmt: skip
    return sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2]))


def _overlapping(tiles: np.ndarray, counts: Sequence[int]):
    """Numbers of any two tiles that overlap and on both of which something was found."""
    used = np.flatnonzero(counts)
    for place, one in enumerate(used):
        rest = used[place + 1 :]
        low = np.maximum(tiles[one, :2], tiles[rest, :2])
        high = np.minimum(tiles[one, 2:], tiles[rest, 2:])
        for other in rest[(high > low).all(1)]:
            yield int(one), int(other)


def _pairs_of_two(tile, other, rows, columns, boxes, classes, cut, tiling: Tiling) -> list:
    shared = np.concatenate([np.maximum(tile[:2], other[:2]), np.minimum(tile[2:], other[2:])])
    rows, columns = (part[_reaches(boxes[part], shared)] for part in (rows, columns))
    if not len(rows) or not len(columns):
        return []
    a, b = boxes[rows], boxes[columns]
    both, area_a, area_b = _overlap(a, b)
    iou = both / (area_a[:, None] + area_b - both)
    seen, seen_a, seen_b = _overlap(_cut_to(a, shared), _cut_to(b, shared))
    agreement = seen / (seen_a[:, None] + seen_b - seen)
    open_a = (cut[rows] & _goes_on(tile, other)).any(1)[:, None]
    open_b = (cut[columns] & _goes_on(other, tile)).any(1)[None]
    smaller_is_open = np.where(area_a[:, None] <= area_b, open_a, open_b)
    of_smaller = both / np.minimum(area_a[:, None], area_b)
    same = iou > tiling.iou_threshold
    same |= (
        smaller_is_open
        & (of_smaller > tiling.smaller_threshold)
        & (agreement > tiling.smaller_threshold / 2)
    )
    same |= open_a & open_b & (agreement > tiling.smaller_threshold)
    same &= classes[rows][:, None] == classes[columns]
    return [(float(agreement[i, j]), int(rows[i]), int(columns[j])) for i, j in np.argwhere(same)]


def _reaches(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Which boxes share some area with a region."""
    low = np.maximum(boxes[:, :2], region[:2])
    return (np.minimum(boxes[:, 2:], region[2:]) > low).all(1)


def _cut_to(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [np.maximum(boxes[:, :2], region[:2]), np.minimum(boxes[:, 2:], region[2:])], 1
    )


def _goes_on(tile: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Beyond which edges of a tile the other one goes on, bool `[4]`."""
    return np.concatenate([other[:2] < tile[:2], other[2:] > tile[2:]])


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area that boxes `[N, 4]` and `[M, 4]` share `[N, M]`, and the area of each."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = (np.minimum(a[:, None, 2:], b[None, :, 2:]) - low).clip(0)
    areas = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (a, b))
    return sides[..., 0] * sides[..., 1], *areas


def _join(pairs: Sequence[tuple[float, int, int]], tile_of: np.ndarray) -> list[list[int]]:
    """Groups of detections of one object; none has two of one tile."""
    group = {number: number for number in range(len(tile_of))}
    members = {number: [number] for number in group}
    seen_by = {number: {int(tile_of[number])} for number in group}
    for _, one, other in pairs:
        one, other = sorted((group[one], group[other]))
        if one == other or seen_by[one] & seen_by[other]:
            continue
        for number in members[other]:
            group[number] = one
        members[one] += members.pop(other)
        seen_by[one] |= seen_by.pop(other)
    return [sorted(rows) for rows in members.values()]


def _best_first(group: Sequence[int], scores: np.ndarray) -> list[int]:
    return sorted(group, key=lambda number: (-scores[number], number))


def _whole_one(group: Sequence[int], cut: np.ndarray) -> int:
    """The best detection of an object that no edge cuts, or -1."""
    return next((number for number in group if not cut[number].any()), -1)


def _box_of(group: Sequence[int], boxes: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The box of an object from those of its detections, best first."""
    whole = _whole_one(group, cut)
    if whole >= 0:
        return boxes[whole]
    return np.array([_side_of(group, boxes[:, side], cut[:, side], side) for side in _SIDES])


def _side_of(group: Sequence[int], sides: np.ndarray, cut: np.ndarray, side: int) -> float:
    for number in group:
        if not cut[number]:
            return sides[number]
    return sides[group].min() if side < 2 else sides[group].max()


def _suppress(boxes, classes, of_tile, iou_threshold: float) -> np.ndarray:
    """Indices of the boxes, best first, that none before them of another tile stands for."""
    kept = np.ones(len(boxes), bool)
    for number, rivals in _rivals(boxes, classes, of_tile, iou_threshold):
        kept[number] = not kept[rivals].any()
    return np.flatnonzero(kept)


def _rivals(boxes, classes, of_tile, iou_threshold: float) -> Iterator[tuple[int, np.ndarray]]:
    """Of each box that overlaps better ones, in order: its number and theirs.

    Boxes of a larger IoU overlap, and neither is more than 1 / threshold times as high; so of a
    hundred thousand boxes each is compared with a few hundred.
    """
    top, height = boxes[:, 0], (boxes[:, 2] - boxes[:, 0]).clip(0)
    by_top = np.argsort(top, kind="stable")
    reach = height / iou_threshold * 1.001 + 1e-6
    first = np.searchsorted(top[by_top], top - reach, "left")
    count = np.searchsorted(top[by_top], top + height, "right") - first
    for start, stop in _chunks(count):
        numbers = np.repeat(np.arange(start, stop), count[start:stop])
        place = np.arange(len(numbers)) - np.repeat(
            np.cumsum(count[start:stop]) - count[start:stop], count[start:stop]
        )
        others = by_top[first[numbers] + place]
        near = (others < numbers) & (classes[others] == classes[numbers])
        near &= of_tile[others] != of_tile[numbers]
        numbers, others = numbers[near], others[near]
        over = iou_of_coordinates(boxes[numbers].T, boxes[others].T, np) > iou_threshold
        numbers, others = numbers[over], others[over]
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for group, rivals in zip(np.split(numbers, edges), np.split(others, edges), strict=True):
            if len(group):
                yield int(group[0]), rivals


def _chunks(count: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of boxes of which all together have few enough neighbours."""
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS_AT_A_TIME, "right")))
        yield start, stop
        start = stop
