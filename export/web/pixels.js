/** Red, green and blue around an image that keeps its aspect ratio. */
const FILL = [123, 117, 104];

/**
 * Resizes an image as in training: bilinear, no antialiasing. A canvas would smooth, and differently
 * in every browser.
 *
 * @param {ImageData} image RGBA, as a canvas gives it.
 * @param {number} height of the result.
 * @param {number} width of the result.
 * @param {'float32'|'uint8'} dtype of the result; uint8 is rounded.
 * @param {number} centre where a pixel has its centre: half a pixel from its corner, or at its
 *     corner in detectors that come from the TF Object Detection API.
 * @param {{top: number, left: number, rows: number, columns: number}} seen where in the result the
 *     image lies, see `letterbox`; the rest has the colour that the network was trained with.
 * @return {Float32Array|Uint8Array} RGB 0..255, `height * width * 3` values.
 */
export function resized(
    image, height, width, dtype, centre = 0.5, seen = {top: 0, left: 0, rows: height, columns: width}) {
  const {data} = image;
  const rows = neighbours(image.height, seen.rows, centre);
  const columns = neighbours(image.width, seen.columns, centre);
  const values = new Float32Array(height * width * 3);
  if (seen.rows < height || seen.columns < width) {
    for (let i = 0; i < values.length; i++) values[i] = FILL[i % 3];
  }
  for (const [row, [top, bottom, down]] of rows.entries()) {
    let place = 3 * ((seen.top + row) * width + seen.left);
    for (const [left, right, across] of columns) {
      const topLeft = 4 * (top * image.width + left);
      const topRight = 4 * (top * image.width + right);
      const bottomLeft = 4 * (bottom * image.width + left);
      const bottomRight = 4 * (bottom * image.width + right);
      for (let channel = 0; channel < 3; channel++) {
        const near = data[topLeft + channel] * (1 - down) + data[bottomLeft + channel] * down;
        const far = data[topRight + channel] * (1 - down) + data[bottomRight + channel] * down;
        values[place++] = near * (1 - across) + far * across;
      }
    }
  }
  // A clamped array rounds, halves to even, as NumPy does.
  return dtype === 'uint8' ? new Uint8Array(new Uint8ClampedArray(values).buffer) : values;
}

/**
 * Where an image lies that is made as large as it fits in the middle of a network's input.
 *
 * @param {{height: number, width: number}} image
 * @param {number} height of the input.
 * @param {number} width of the input.
 * @return {{top: number, left: number, rows: number, columns: number}} in pixels of the input.
 */
export function letterbox(image, height, width) {
  const fitted = (side, other, most, across) =>
      Math.max(1, Math.min(most, Math.floor(side * across / other + 0.5)));
  const rows = fitted(image.height, image.width, height, width);
  const columns = fitted(image.width, image.height, width, height);
  return {top: (height - rows) >> 1, left: (width - columns) >> 1, rows, columns};
}

/** Of each of `want` places: its two neighbours among `have` pixels and the share of the second. */
function neighbours(have, want, centre) {
  const inside = (place) => Math.min(Math.max(place, 0), have - 1);
  return Array.from({length: want}, (_, i) => {
    const place = (i + centre) * (have / want) - centre;
    const first = Math.floor(place);
    return [inside(first), inside(first + 1), place - first];
  });
}

/**
 * @param {ImageData} image
 * @param {number[]} place top, left, bottom and right in pixels.
 * @return {{data: Uint8ClampedArray, height: number, width: number}} that part of it.
 */
export function cropped(image, [top, left, bottom, right]) {
  const [height, width] = [bottom - top, right - left];
  const data = new Uint8ClampedArray(4 * height * width);
  for (let row = 0; row < height; row++) {
    const start = 4 * ((top + row) * image.width + left);
    data.set(image.data.subarray(start, start + 4 * width), 4 * row * width);
  }
  return {data, height, width};
}
