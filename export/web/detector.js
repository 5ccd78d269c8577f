/**
 * Runs a .tflite file made by ssd-keras export-tflite: an image in, objects out.
 *
 *   const detector = await Detector.load(bytes);
 *   for (const {name, score, box} of await detector.detect(imageData, 0.4)) ...
 */

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';
import {packedFiles} from './packed_files.js';
import {cropped, letterbox, resized} from './pixels.js';
import {decode, suppress} from './suppression.js';
import {mergeTiles, tilesOf} from './tiles.js';

const RUNTIME = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).href;
const ANCHORS_FILE = 'anchors.f32';
const SETTINGS_FILE = 'ssd_keras.json';
const LABEL_FILES = ['labels.txt', 'labelmap.txt'];

let runtime;

/** Loads the runtime once; with threads where the server allows them (see serve.py). */
function startRuntime() {
  runtime ??= loadLiteRt(RUNTIME, {threads: globalThis.crossOriginIsolated === true});
  return runtime;
}

export class Detector {
  /**
   * @param {Uint8Array} bytes a .tflite file of any --postprocess with its labels inside.
   */
  static async load(bytes) {
    if (String.fromCharCode(...bytes.subarray(4, 8)) !== 'TFL3') {
      throw new Error('This is not a .tflite file.');
    }
    const files = packedFiles(bytes);
    const labels = readLabels(files);
    await startRuntime();
    const model = await loadAndCompile(bytes, {
      accelerator: 'wasm',
      cpuOptions: {numThreads: Math.min(4, navigator.hardwareConcurrency ?? 1)},
    });
    try {
      return new Detector(model, labels, readSettings(files), readAnchors(files, model));
    } catch (fault) {
      model.delete();
      throw fault;
    }
  }

  constructor(model, labels, settings, anchors) {
    this.labels = labels;
    this.settings = settings;
    this.anchors = anchors;
    this.centre = settings.resize === 'corner' ? 0 : 0.5;
    this.model = model;
    const [input] = model.getInputDetails();
    [, this.height, this.width] = input.shape;
    this.dtype = input.dtype;
  }

  /**
   * @param {ImageData} image of any size.
   * @param {number} minScore objects with a lower score are left out.
   * @return {Promise<{name: string, score: number, box: number[]}[]>} best first; a box is
   *     [top, left, bottom, right] in pixels of the image.
   */
  async detect(image, minScore = 0.4) {
    const found = await this.detectTiles(image);
    return found.filter(({score}) => score >= minScore).map(({label, score, box}) => ({
      name: this.labels[label] ?? `class ${label}`,
      score,
      box,
    }));
  }

  /** What is found in an image, cut into tiles if the file says so. */
  async detectTiles(image) {
    const {tiling, class_agnostic: classAgnostic} = this.settings;
    if (!tiling) return this.detectWhole(image);
    const tiles = tilesOf(image.height, image.width, tiling);
    if (tiles.length === 1) return this.detectWhole(image);
    const found = [];
    for (const [tile, place] of tiles.entries()) {
      const [top, left] = place;
      for (const {label, score, box} of await this.detectWhole(cropped(image, place))) {
        const moved = box.map((edge, side) => edge + (side % 2 ? left : top));
        found.push({tile, label, score, box: moved});
      }
    }
    return mergeTiles(tiles, found, tiling, classAgnostic);
  }

  /** What is found in an image that is looked at as a whole; boxes are in pixels. */
  async detectWhole(image) {
    const shape = [1, this.height, this.width, 3];
    const seen = this.place(image);
    const pixels = resized(image, this.height, this.width, this.dtype, this.centre, seen);
    const input = new Tensor(pixels, shape);
    let outputs = [];
    try {
      outputs = await this.model.run([input]);
      const found = this.detections(await Promise.all(outputs.map((o) => o.data())));
      const scale = [image.height, image.width, image.height, image.width];
      const moved = found.map(({label, score, box}) => ({
        label,
        score,
        box: this.inImage(box, seen).map((share, edge) => share * scale[edge]),
      }));
      if (this.settings.resize !== 'letterbox') return moved;
      // What lies on the edges alone is no object.
      return moved.filter(({box: [top, left, bottom, right]}) => bottom > top && right > left);
    } finally {
      // The runtime's memory is not garbage-collected.
      for (const tensor of [input, ...outputs]) tensor.delete();
    }
  }

  /** Where on the network's input an image lies. */
  place(image) {
    if (this.settings.resize === 'letterbox') return letterbox(image, this.height, this.width);
    return {top: 0, left: 0, rows: this.height, columns: this.width};
  }

  /** A box in shares of the network's input, in shares of the image. */
  inImage(box, seen) {
    if (this.settings.resize !== 'letterbox') return [...box];
    const share = (edge, side, start, extent) =>
        Math.min(Math.max((box[edge] * side - start) / extent, 0), 1);
    const row = (edge) => share(edge, this.height, seen.top, seen.rows);
    const column = (edge) => share(edge, this.width, seen.left, seen.columns);
    return [row(0), column(1), row(2), column(3)];
  }

  /** Classes, scores and boxes in 0..1, of raw outputs or of those that suppression has left. */
  detections(outputs) {
    if (this.anchors) {
      const [codes, scores] = outputs;
      const corners = decode(codes, this.anchors, this.settings.variances);
      return suppress(corners, scores, this.settings);
    }
    const [boxes, classes, scores, count] = outputs;
    // Slots beyond the count mean nothing.
    return Array.from({length: Math.min(count[0], scores.length)}, (_, i) => ({
      label: classes[i],
      score: scores[i],
      box: boxes.subarray(4 * i, 4 * i + 4),
    }));
  }

  /** Frees the model's memory. */
  delete() {
    this.model.delete();
  }
}

/** What else the file says of itself. */
function readSettings(files) {
  const packed = files.get(SETTINGS_FILE);
  return packed === undefined ? {} : JSON.parse(new TextDecoder().decode(packed));
}

/** The default boxes of a file with raw outputs; undefined for one with suppression inside. */
function readAnchors(files, model) {
  const outputs = model.getOutputDetails().length;
  if (outputs === 4) return undefined;
  const packed = files.get(ANCHORS_FILE);
  if (outputs !== 2 || packed === undefined) {
    throw new Error(
        `The file has ${outputs} outputs and ${packed ? '' : 'no '}default boxes: export it with ` +
        'ssd-keras export-tflite.');
  }
  // A copy, as floats must start at a multiple of four bytes.
  return new Float32Array(packed.slice().buffer);
}

function readLabels(files) {
  const name = LABEL_FILES.find((file) => files.has(file));
  if (name === undefined) {
    throw new Error('The file holds no labels: export it with ssd-keras export-tflite.');
  }
  const text = new TextDecoder().decode(files.get(name));
  // A class without a name still has a number.
  return text.replace(/\n$/, '').split('\n').map((line) => line.replace(/\r$/, ''));
}
