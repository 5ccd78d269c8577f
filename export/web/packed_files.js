/** Files packed behind a .tflite model as an uncompressed zip. */

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const END_SIZE = 22;
const LONGEST_COMMENT = 0xffff;

/**
 * @param {Uint8Array} bytes a whole .tflite file.
 * @return {Map<string, Uint8Array>} contents by name; empty if nothing is packed behind it.
 */
export function packedFiles(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files = new Map();
  const end = findEnd(view);
  if (end === undefined) return files;
  let entry = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    if (view.getUint32(entry, true) !== DIRECTORY_ENTRY) {
      throw new Error('The files packed into the .tflite file are damaged.');
    }
    const [size, nameLength, extraLength, commentLength] = [
      view.getUint32(entry + 24, true),
      ...[28, 30, 32].map((place) => view.getUint16(entry + place, true)),
    ];
    const header = view.getUint32(entry + 42, true);
    // The name and extra field of the file itself may be longer than those of the directory.
    const start =
        header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
    const name = bytes.subarray(entry + 46, entry + 46 + nameLength);
    files.set(new TextDecoder().decode(name), bytes.subarray(start, start + size));
    entry += 46 + nameLength + extraLength + commentLength;
  }
  return files;
}

function findEnd(view) {
  const last = view.byteLength - END_SIZE;
  for (let place = last; place >= Math.max(0, last - LONGEST_COMMENT); place--) {
    if (view.getUint32(place, true) === END_OF_DIRECTORY) return place;
  }
  return undefined;
}
