/**
 * Runs a .tflite file made by export.tflite: an image in, objects out.
 *
 *   const detector = await Detector.load(bytes);
 *   for (const {name, score, box} of await detector.detect(imageData, 0.4)) ...
 */

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';
import {packedFiles} from './packed_files.js';
import {resized} from './pixels.js';

const RUNTIME = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).href;
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
   * @param {Uint8Array} bytes a .tflite file with the outputs boxes, classes, scores, count and
   *     its labels inside.
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
    const outputs = model.getOutputDetails().length;
    if (outputs !== 4) {
      model.delete();
      throw new Error(
          `The file has ${outputs} outputs; a detection has four (boxes, classes, scores, count). ` +
          'Export it with --postprocess=builtin or op.');
    }
    return new Detector(model, labels, readSettings(files));
  }

  constructor(model, labels, settings) {
    this.labels = labels;
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
    const shape = [1, this.height, this.width, 3];
    const pixels = resized(image, this.height, this.width, this.dtype, this.centre);
    const input = new Tensor(pixels, shape);
    let outputs = [];
    try {
      outputs = await this.model.run([input]);
      const [boxes, classes, scores, count] = await Promise.all(outputs.map((o) => o.data()));
      const scale = [image.height, image.width, image.height, image.width];
      // Slots beyond the count mean nothing.
      return Array.from({length: Math.min(count[0], scores.length)}, (_, i) => ({
        name: this.labels[classes[i]] ?? `class ${classes[i]}`,
        score: scores[i],
        box: scale.map((side, edge) => boxes[4 * i + edge] * side),
      })).filter(({score}) => score >= minScore);
    } finally {
      // The runtime's memory is not garbage-collected.
      for (const tensor of [input, ...outputs]) tensor.delete();
    }
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

function readLabels(files) {
  const name = LABEL_FILES.find((file) => files.has(file));
  if (name === undefined) {
    throw new Error('The file holds no labels: export it with export.tflite.');
  }
  const text = new TextDecoder().decode(files.get(name));
  // A class without a name still has a number.
  return text.replace(/\n$/, '').split('\n').map((line) => line.replace(/\r$/, ''));
}
