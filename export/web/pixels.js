/**
 * Resizes an image as in training: bilinear, no antialiasing, aspect ratio not kept. A canvas would
 * smooth, and differently in every browser.
 *
 * @param {ImageData} image RGBA, as a canvas gives it.
 * @param {number} height of the result.
 * @param {number} width of the result.
 * @param {'float32'|'uint8'} dtype of the result; uint8 is rounded.
 * @param {number} centre where a pixel has its centre: half a pixel from its corner, or at its
 *     corner in detectors that come from the TF Object Detection API.
 * @return {Float32Array|Uint8Array} RGB 0..255, `height * width * 3` values.
 */
export function resized(image, height, width, dtype, centre = 0.5) {
  const {data} = image;
  const rows = neighbours(image.height, height, centre);
  const columns = neighbours(image.width, width, centre);
  const values = new Float32Array(height * width * 3);
  let place = 0;
  for (const [top, bottom, down] of rows) {
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

/** Of each of `want` places: its two neighbours among `have` pixels and the share of the second. */
function neighbours(have, want, centre) {
  const inside = (place) => Math.min(Math.max(place, 0), have - 1);
  return Array.from({length: want}, (_, i) => {
    const place = (i + centre) * (have / want) - centre;
    const first = Math.floor(place);
    return [inside(first), inside(first + 1), place - first];
  });
}
