/** The page: a model, a picture or the camera, boxes and labels drawn over it. */

import {Detector} from './detector.js';

const [modelInput, pictureInput, cameraButton, minScore, view, video] =
    ['model', 'picture', 'camera', 'min-score', 'view', 'video'].map(
        (id) => document.getElementById(id));
/** Longer side of what is shown, at least, so that labels can be read. */
const SMALLEST_VIEW = 640;

const canvas = view.getContext('2d', {willReadFrequently: true});

let detector;
/** What is shown: a picture or the camera's video. */
let source;
/** Detection takes one image at a time; this is the last one asked for. */
let work = Promise.resolve();

function say(text, isFault = false) {
  const status = document.getElementById('status');
  status.textContent = text;
  status.classList.toggle('fault', isFault);
}

/** Runs `task`; a fault becomes a line on the page. */
function attempt(task) {
  work = work.then(task).catch((fault) => say(fault.message ?? String(fault), true));
  return work;
}

async function useModel(bytes, name) {
  say(`Loading ${name} ...`);
  const loaded = await Detector.load(bytes);
  detector?.delete();
  detector = loaded;
  pictureInput.disabled = false;
  cameraButton.disabled = false;
  say(`${name}: ${detector.labels.length} classes, images of ${detector.height} x ${detector.width} pixels (height x width).`);
  if (source) await show();
}

async function usePicture(file) {
  stopCamera();
  try {
    source = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is not an image that this browser can read.`);
  }
  await show();
}

/** Draws the source, finds the objects in it and draws them; small pictures are enlarged. */
async function show() {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const frame = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  // Transparent pixels are seen on white, as in training.
  frame.fillStyle = 'white';
  frame.fillRect(0, 0, width, height);
  frame.drawImage(source, 0, 0);
  const start = performance.now();
  const objects =
      await detector.detect(frame.getImageData(0, 0, width, height), Number(minScore.value));
  const milliseconds = performance.now() - start;
  const scale = Math.max(1, SMALLEST_VIEW / Math.max(width, height));
  Object.assign(view, {width: Math.round(width * scale), height: Math.round(height * scale)});
  canvas.drawImage(frame.canvas, 0, 0, view.width, view.height);
  objects.forEach((object) => drawObject(object, scale));
  listObjects(objects);
  const things = objects.length === 1 ? 'object' : 'objects';
  say(`${objects.length} ${things} in ${milliseconds.toFixed(0)} ms.`);
}

function drawObject({name, score, box}, scale) {
  const [top, left, bottom, right] = box.map((edge) => edge * scale);
  const unit = Math.max(view.width, view.height) / SMALLEST_VIEW;
  // Neighbouring classes get colours far apart on the wheel.
  const colour = `hsl(${(detector.labels.indexOf(name) * 137.5) % 360} 90% 40%)`;
  canvas.lineWidth = 2 * unit;
  canvas.strokeStyle = colour;
  canvas.strokeRect(left, top, right - left, bottom - top);
  const text = `${name} ${score.toFixed(2)}`;
  canvas.font = `${14 * unit}px sans-serif`;
  canvas.textBaseline = 'top';
  const textTop = Math.max(0, top - 19 * unit);
  const textLeft = Math.min(left, view.width - canvas.measureText(text).width - 6 * unit);
  canvas.fillStyle = colour;
  canvas.fillRect(textLeft, textTop, canvas.measureText(text).width + 6 * unit, 19 * unit);
  canvas.fillStyle = 'white';
  canvas.fillText(text, textLeft + 3 * unit, textTop + 3 * unit);
}

function listObjects(objects) {
  const rows = objects.map(({name, score, box}) => {
    const row = document.createElement('tr');
    for (const text of [name, score.toFixed(4), ...box.map((edge) => edge.toFixed(1))]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  const table = document.getElementById('found');
  table.tBodies[0].replaceChildren(...rows);
  table.hidden = objects.length === 0;
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    throw new Error('Browsers give a page the camera only over https or from localhost.');
  }
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
  await video.play();
  source = video;
  cameraButton.textContent = 'Stop camera';
  const next = () =>
    attempt(() => source === video && show())
        .then(() => source === video && requestAnimationFrame(next));
  next();
}

function stopCamera() {
  if (source !== video) return;
  source = undefined;
  video.srcObject.getTracks().forEach((track) => track.stop());
  cameraButton.textContent = 'Start camera';
}

modelInput.addEventListener('change', () => {
  const [file] = modelInput.files;
  if (file) {
    attempt(async () => useModel(new Uint8Array(await file.arrayBuffer()), file.name));
  }
});

pictureInput.addEventListener('change', () => {
  const [file] = pictureInput.files;
  if (file) attempt(() => usePicture(file));
});

cameraButton.addEventListener('click', () => {
  attempt(async () => (source === video ? stopCamera() : startCamera()));
});

minScore.addEventListener('input', () => {
  document.getElementById('min-score-value').textContent = Number(minScore.value).toFixed(2);
  if (source && source !== video) attempt(show);
});

// index.html?model=pets.tflite opens with the file that lies beside it.
const given = new URLSearchParams(location.search).get('model');
if (given) {
  attempt(async () => {
    if (new URL(given, location).origin !== location.origin) {
      throw new Error('?model= names a file beside this page.');
    }
    const response = await fetch(given);
    if (!response.ok) throw new Error(`${given} cannot be loaded: ${response.statusText}.`);
    await useModel(new Uint8Array(await response.arrayBuffer()), given);
  });
}
