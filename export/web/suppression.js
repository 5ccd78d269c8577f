/**
 * From the raw outputs of a file of --postprocess=none to detections: what --postprocess=builtin
 * does inside of the file, for networks that run on a GPU.
 */

/**
 * @param {Float32Array} codes dy, dx, dh, dw of each default box.
 * @param {Float32Array} anchors default boxes: centre y, centre x, height, width.
 * @param {number[]} variances factors of the codes.
 * @return {Float32Array} ymin, xmin, ymax, xmax of each.
 */
export function decode(codes, anchors, variances) {
  const corners = new Float32Array(codes.length);
  for (let box = 0; box < codes.length; box += 4) {
    for (let axis = 0; axis < 2; axis++) {
      const side = anchors[box + 2 + axis];
      const middle = codes[box + axis] * variances[axis] * side + anchors[box + axis];
      const half = Math.exp(codes[box + 2 + axis] * variances[2 + axis]) * 0.5 * side;
      corners[box + axis] = middle - half;
      corners[box + 2 + axis] = middle + half;
    }
  }
  return corners;
}

/**
 * @param {Float32Array} corners of each box, `[A, 4]`.
 * @param {Float32Array} scores of each box, `[A, C]`.
 * @param {{score_threshold: number, iou_threshold: number, max_detections: number,
 *     max_per_class: number, class_agnostic: boolean}} rule as it is in ssd_keras.json.
 * @return {{label: number, score: number, box: number[]}[]} best first, clipped to the image.
 */
export function suppress(corners, scores, rule) {
  const classes = scores.length / (corners.length / 4);
  const all = candidates(scores, classes, rule);
  const groups = rule.class_agnostic ?
      [all] :
      Array.from({length: classes}, (_, label) => all.filter((one) => one.label === label));
  return groups
      .flatMap((group) => survivors(corners, group.sort(better).slice(0, rule.max_per_class), rule))
      .sort(better)
      .slice(0, rule.max_detections)
      .map(({label, score, box}) => ({
        label,
        score,
        box: Array.from(corners.subarray(4 * box, 4 * box + 4),
            (edge) => Math.min(Math.max(edge, 0), 1)),
      }));
}

/** Each box with each class, or with its best one, where the score is above the threshold. */
function candidates(scores, classes, rule) {
  const found = [];
  for (let box = 0; box < scores.length / classes; box++) {
    const row = scores.subarray(box * classes, (box + 1) * classes);
    const best = row.indexOf(Math.max(...row));
    row.forEach((score, label) => {
      if (score > rule.score_threshold && (!rule.class_agnostic || label === best)) {
        found.push({label, score, box});
      }
    });
  }
  return found;
}

/** Order: best score, then first class, then first box. */
function better(a, b) {
  return b.score - a.score || a.label - b.label || a.box - b.box;
}

/** Those that no better one, which survives, overlaps by more than the threshold. */
function survivors(corners, group, rule) {
  const kept = [];
  for (const one of group) {
    if (kept.every((other) => iou(corners, one.box, other.box) <= rule.iou_threshold)) {
      kept.push(one);
    }
  }
  return kept;
}

function iou(corners, a, b) {
  const [top, left, bottom, right] = corners.subarray(4 * a, 4 * a + 4);
  const [otherTop, otherLeft, otherBottom, otherRight] = corners.subarray(4 * b, 4 * b + 4);
  const height = Math.min(bottom, otherBottom) - Math.max(top, otherTop);
  const width = Math.min(right, otherRight) - Math.max(left, otherLeft);
  const shared = Math.max(0, height) * Math.max(0, width);
  const area = (bottom - top) * (right - left);
  return shared / (area + (otherBottom - otherTop) * (otherRight - otherLeft) - shared);
}
