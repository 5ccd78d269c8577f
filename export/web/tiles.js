/**
 * Large images tile by tile: where the tiles lie, and one answer from what is found on them. The
 * same to the bit as the library's ssd_keras/boxes/tiles.py and merging.py.
 *
 * @typedef {{height: number, width: number, overlap: number, whole: boolean, iou_threshold: number,
 *     smaller_threshold: number, margin: number}} Tiling as it is in ssd_keras.json, "tiling".
 * @typedef {{tile: number, label: number, score: number, box: number[]}} Found an object on a tile;
 *     its box is [top, left, bottom, right] in pixels of the image.
 */

/**
 * @param {number} height of the image.
 * @param {number} width of the image.
 * @param {Tiling} tiling
 * @return {number[][]} top, left, bottom and right of each tile; row by row, and last the whole
 *     image if that is to be looked at as well.
 */
export function tilesOf(height, width, tiling) {
  const rows = starts(height, tiling.height, tiling.overlap);
  const columns = starts(width, tiling.width, tiling.overlap);
  const [high, wide] = [Math.min(height, tiling.height), Math.min(width, tiling.width)];
  const tiles =
      rows.flatMap((top) => columns.map((left) => [top, left, top + high, left + wide]));
  if (tiling.whole && tiles.length > 1) tiles.push([0, 0, height, width]);
  return tiles;
}

function starts(length, side, overlap) {
  if (length <= side) return [0];
  const step = Math.max(1, side - Math.floor(overlap * side + 0.5));
  const found = [];
  for (let start = 0; start < length - side; start += step) found.push(start);
  return [...found, length - side];
}

/**
 * Objects of the image: halves are joined, what two tiles saw counts once.
 *
 * @param {number[][]} tiles as `tilesOf` gives them.
 * @param {Found[]} found in the order of the tiles.
 * @param {Tiling} tiling
 * @param {boolean} classAgnostic whether objects of different classes are joined, too.
 * @return {{label: number, score: number, box: number[]}[]} best first.
 */
export function mergeTiles(tiles, found, tiling, classAgnostic = false) {
  const image = [0, 1, 2, 3].map(
      (side) => (side < 2 ? Math.min : Math.max)(...tiles.map((tile) => tile[side])));
  const cut = found.map(({tile, box}) => cutSides(box, tiles[tile], image, tiling.margin));
  const objects = groups(pairs(tiles, found, cut, tiling, classAgnostic), found)
      .map((group) => group.sort((a, b) => found[b].score - found[a].score || a - b))
      .sort(([a], [b]) => found[b].score - found[a].score || a - b)
      .map((group) => ({
        label: found[group[0]].label,
        score: found[group[0]].score,
        box: boxOf(group, found, cut),
        // A box that was put together is of no tile.
        tile: found[wholeOne(group, cut)]?.tile,
      }));
  return withoutDoubles(objects, tiling.iou_threshold, classAgnostic)
      .map(({label, score, box}) => ({label, score, box}));
}

/** The objects, best first, that none before them of another tile stands for. */
function withoutDoubles(objects, iouThreshold, classAgnostic) {
  const kept = [];
  for (const one of objects) {
    const isDouble = kept.some((other) => {
      if (!classAgnostic && other.label !== one.label) return false;
      if (one.tile !== undefined && one.tile === other.tile) return false;
      const both = area(common(one.box, other.box));
      return both / (area(one.box) + area(other.box) - both) > iouThreshold;
    });
    if (!isDouble) kept.push(one);
  }
  return kept;
}

/** Which sides of a box lie at an edge of its tile that is none of the image. */
function cutSides(box, tile, image, margin) {
  return box.map((edge, side) => {
    const reach = Math.max(1, margin * (tile[2 + side % 2] - tile[side % 2]));
    const beyond = side < 2 ? edge < tile[side] : edge > tile[side];
    return (Math.abs(edge - tile[side]) <= reach || beyond) && tile[side] !== image[side];
  });
}

/** [agreement, first, second] of all that may be one object, best first. */
function pairs(tiles, found, cut, tiling, classAgnostic) {
  const members = tiles.map(() => []);
  found.forEach(({tile}, number) => members[tile].push(number));
  const all = [];
  for (let one = 0; one < tiles.length; one++) {
    for (let other = one + 1; other < tiles.length; other++) {
      const shared = common(tiles[one], tiles[other]);
      if (area(shared) === 0) continue;
      const inside = (number) => area(common(found[number].box, shared)) > 0;
      const [rows, columns] = [members[one].filter(inside), members[other].filter(inside)];
      for (const a of rows) {
        for (const b of columns) {
          if (!classAgnostic && found[a].label !== found[b].label) continue;
          const agreement = agreementOf(found, cut, a, b, tiles, shared, tiling);
          if (agreement !== undefined) all.push([agreement, a, b]);
        }
      }
    }
  }
  return all.sort((x, y) => y[0] - x[0] || x[1] - y[1] || x[2] - y[2]);
}

/** How well two detections agree on what both tiles show; undefined if they are two objects. */
function agreementOf(found, cut, a, b, tiles, shared, tiling) {
  const [first, second] = [found[a].box, found[b].box];
  const [tile, other] = [tiles[found[a].tile], tiles[found[b].tile]];
  const both = area(common(first, second));
  const [areaA, areaB] = [area(first), area(second)];
  const iou = both / (areaA + areaB - both);
  const [seenA, seenB] = [common(first, shared), common(second, shared)];
  const seen = area(common(seenA, seenB));
  const agreement = seen / (area(seenA) + area(seenB) - seen);
  const openA = isOpen(cut[a], tile, other);
  const openB = isOpen(cut[b], other, tile);
  const isPart = (areaA <= areaB ? openA : openB) &&
      both / Math.min(areaA, areaB) > tiling.smaller_threshold &&
      agreement > tiling.smaller_threshold / 2;
  const areHalves = openA && openB && agreement > tiling.smaller_threshold;
  return iou > tiling.iou_threshold || isPart || areHalves ? agreement : undefined;
}

/** Whether a box is cut by an edge of its tile beyond which the other tile goes on. */
function isOpen(cut, tile, other) {
  return cut.some((isCut, side) =>
    isCut && (side < 2 ? other[side] < tile[side] : other[side] > tile[side]));
}

/** What two boxes share; without area where that is nothing. */
function common(a, b) {
  return a.map((edge, side) => (side < 2 ? Math.max : Math.min)(edge, b[side]));
}

function area([top, left, bottom, right]) {
  return bottom > top && right > left ? (bottom - top) * (right - left) : 0;
}

/** Numbers of the detections of each object; none has two of one tile. */
function groups(all, found) {
  const group = found.map((_, number) => number);
  const members = new Map(group.map((number) => [number, [number]]));
  const seenBy = new Map(group.map((number) => [number, new Set([found[number].tile])]));
  for (const [, first, second] of all) {
    const [one, other] = [group[first], group[second]].sort((a, b) => a - b);
    if (one === other || [...seenBy.get(other)].some((tile) => seenBy.get(one).has(tile))) continue;
    for (const number of members.get(other)) group[number] = one;
    members.get(one).push(...members.get(other));
    for (const tile of seenBy.get(other)) seenBy.get(one).add(tile);
    members.delete(other);
  }
  return [...members.values()];
}

/** The best detection of an object that no edge cuts. */
function wholeOne(group, cut) {
  return group.find((number) => !cut[number].includes(true));
}

/** The box of an object: of its best detection that no edge cuts, or side by side. */
function boxOf(group, found, cut) {
  const whole = wholeOne(group, cut);
  if (whole !== undefined) return [...found[whole].box];
  return [0, 1, 2, 3].map((side) => {
    const free = group.find((number) => !cut[number][side]);
    if (free !== undefined) return found[free].box[side];
    return (side < 2 ? Math.min : Math.max)(...group.map((number) => found[number].box[side]));
  });
}
