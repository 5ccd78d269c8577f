"""Every exported form of a detector on the same images, side by side."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ssd_keras import evaluation
from ssd_keras.deploy import parity
from ssd_keras.deploy.decoding import decoding_of
from ssd_keras.deploy.form_tables import HEADER as HEADER
from ssd_keras.deploy.form_tables import as_json as as_json
from ssd_keras.deploy.form_tables import as_page as as_page
from ssd_keras.deploy.form_tables import as_text as as_text
from ssd_keras.deploy.form_tables import cells as cells
from ssd_keras.deploy.form_tables import data_line as data_line
from ssd_keras.deploy.form_tables import largest_drop as largest_drop
from ssd_keras.deploy.form_tables import targets_as_text as targets_as_text
from ssd_keras.deploy.placement import Placement, placements
from ssd_keras.deploy.runtime import TFLiteDetector
from ssd_keras.deploy.saved_model import to_saved_model
from ssd_keras.deploy.targets import TARGETS, Choices, choose
from ssd_keras.deploy.tflite import Options, completion, raw_network
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.deploy.timing import milliseconds
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError, unknown
from ssd_keras.folders import bytes_in
from ssd_keras.resizing import HALF_PIXEL, resize

# Form -> how its .tflite is made; the SavedModel is none.
FORMS = {
    "saved_model": None,
    "tflite float32": Choices("none", "builtin"),
    "tflite float16": Choices("float16", "builtin"),
    "tflite dynamic": Choices("dynamic", "builtin"),
    "tflite int8": Choices("int8", "builtin"),
}
NOISE_IMAGES = 8
# Decoded images that are kept in memory; further ones are decoded again for each form.
KEPT_BYTES = 1 << 30


@dataclasses.dataclass
class Row:
    """One form in the report.

    Attributes:
        form: its name.
        megabytes: size of the file or folder; None for Keras itself.
        ap50, ap, ap_small, ap_medium, ap_large: see `form_tables.DEFINED`.
        per_class_ap50: AP50 by class.
        milliseconds: median time of an image by the number of threads.
        images: how many were looked at.
        objects: how many of their objects count: neither difficult nor crowd.
        parity, operators: None for Keras itself.
        worst_layers: of int8.
        placements: what delegates take of a file.
        notes: sentences on what the form does otherwise than the detector.
    """

    form: str
    megabytes: float | None
    ap50: float
    ap: float
    ap_small: float
    ap_medium: float
    ap_large: float
    per_class_ap50: dict[str, float]
    milliseconds: dict[str, float]
    images: int = 0
    objects: int = 0
    parity: parity.Parity | None = None
    operators: parity.Operators | None = None
    worst_layers: list[parity.LayerNoise] = dataclasses.field(default_factory=list)
    placements: list[Placement] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def compare_forms(
    detector: keras.Model,
    source,
    *,
    forms: Sequence[str] = tuple(FORMS),
    calibration_images: Iterable[np.ndarray] | Mapping[str, np.ndarray] | None = None,
    threads: Sequence[int] = (1, 4),
    max_images: int | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> list[Row]:
    """Runs each form over a data source and measures accuracy, differences, size and time.

    Each form works as it does by itself: a SavedModel looks at whole images, and MediaPipe
    stretches them besides, also those of a detector that learned on tiles or letterboxed.

    Args:
        detector: the detector.
        source: data with ground truth, from `data.load_source`.
        forms: keys of `FORMS`, or names of `TARGETS`: the file that is made for it.
        calibration_images: for those that are int8.
        threads: how many threads to measure the time with.
        max_images: only the first so many images.
        say: is told what happens.

    Returns:
        A row per form; Keras first.

    Raises:
        UserError: an unknown form, or no object to measure on.
    """
    check_forms(forms)
    evaluation.check_measurable(source)
    looked_at = range(len(source))[:max_images]
    images = _Images(source, looked_at)
    if not images:
        raise UserError(f"None of the images of '{source.spec}' could be read.")
    truth = [source.ground_truth()[index] for index in images.indices]
    if not objects_that_count(truth):
        which = "images" if len(looked_at) == len(source) else f"first {len(looked_at):,} images"
        raise UserError(
            f"The {which} of '{source.spec}' have no object to measure on, other than difficult or "
            "crowd ones: take more images, or other data."
        )
    say(f"Keras on {len(images)} images")
    wanted = detector.detect(iter(images))
    times = {"": milliseconds(lambda: detector.detect(images[0]), 20)}
    rows = [_row("keras", None, truth, wanted, detector.classes, times)]
    files = _Files(detector, calibration_images)
    for form in forms:
        say(form)
        run = _run(form, detector, images, files, threads)
        row = _row(form, run.size / 1e6, truth, run.detections, detector.classes, run.milliseconds)
        row.parity = parity.compare(wanted, run.detections, [(t.height, t.width) for t in truth])
        row.operators, row.placements = run.operators, run.placements
        row.notes = _notes(form, detector)
        if form == "tflite int8":
            row.worst_layers = _worst_layers(files, images[:NOISE_IMAGES])
        rows.append(row)
    return rows


def objects_that_count(truth: Sequence) -> int:
    """How many objects of the images' `GroundTruth` are neither difficult nor crowd."""
    return sum(int(np.sum(~(one.difficult | one.crowd))) for one in truth)


def _notes(form: str, detector: keras.Model) -> list[str]:
    """What the form does otherwise than the detector, and is measured with."""
    notes = []
    if form in ("saved_model", "mediapipe") and detector.tiling is not None:
        notes.append(f"looks at whole images; the detector at {detector.tiling}")
    if form == "mediapipe" and detector.resize != HALF_PIXEL:
        notes.append(f"stretches images; the detector resizes by '{detector.resize}'")
    return notes


def check_forms(forms: Sequence[str]):
    """Raises a UserError if a form is none of `FORMS`, and no target."""
    for form in forms:
        if form not in FORMS and form not in TARGETS:
            raise unknown("form", form, FORMS)


def choices_of(form: str) -> Choices | None:
    """How the .tflite of a form, or of a target, is made; None for the SavedModel."""
    return choose(form) if form in TARGETS else FORMS[form]


def needs_calibration(forms: Sequence[str]) -> list[str]:
    """Those of the forms that are int8."""
    return [form for form in forms if getattr(choices_of(form), "quantization", "") == "int8"]


class _Images(Sequence):
    """The images of a source that can be read, kept as far as `KEPT_BYTES` go, else read again."""

    def __init__(self, source, indices: Iterable[int]):
        self.indices: list[int] = []
        self._source, self._kept, left = source, {}, KEPT_BYTES
        for index, image in source.readable(indices):
            self.indices.append(index)
            left -= image.nbytes
            if left >= 0:
                self._kept[index] = image

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self._read(index) for index in self.indices[place]]
        return self._read(self.indices[place])

    def _read(self, index: int) -> np.ndarray:
        return self._kept[index] if index in self._kept else self._source.image(index)


class _Files:
    """The files of a detector; each network is converted once."""

    def __init__(self, detector: keras.Model, calibration_images):
        self.detector = detector
        self._images = calibration_images
        self._networks: dict[str, bytes] = {}

    def network(self, quantization: str) -> bytes:
        """The raw network as a file of its own."""
        if quantization not in self._networks:
            self._networks[quantization] = raw_network(
                self.detector, quantization=quantization, calibration_images=self._images
            )
        return self._networks[quantization]

    def whole(self, choices: Choices) -> bytes:
        """The file that detects by itself, as `to_tflite` makes it."""
        options = Options(choices.quantization, choices.postprocess, self.detector.suppression)
        complete = completion(self.detector, decoding_of(self.detector), options)
        return complete(TFLiteFile(self.network(choices.quantization)))


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a form found in each image, its size in bytes, its times by threads, its operators."""

    size: int
    detections: list[Detections]
    milliseconds: dict[str, float]
    operators: parity.Operators | None = None
    placements: list[Placement] = dataclasses.field(default_factory=list)


def _run(form: str, detector: keras.Model, images, files: _Files, threads) -> _Run:
    choices = choices_of(form)
    if choices is None:
        return _run_saved_model(detector, images)
    runs_as = _as_mediapipe if form == "mediapipe" else TFLiteDetector
    return _run_tflite(files.whole(choices), images, threads, runs_as)


def _as_mediapipe(content: bytes, threads: int, **options) -> TFLiteDetector:
    """What runs a file as MediaPipe does, whatever its settings say of resizing and tiles."""
    runner = TFLiteDetector(content, threads, **options)
    runner.settings = runner.settings | {"resize": HALF_PIXEL}
    runner.tiling = None
    return runner


def _run_tflite(content: bytes, images, threads, runs_as: Callable = TFLiteDetector) -> _Run:
    times, found = {}, []
    for index, count in enumerate(threads):
        runner = runs_as(content, count, trusted=True)
        found = [runner.detect(image) for image in images] if index == 0 else found
        runner.detect(images[0])
        times[str(count)] = milliseconds_of_image(runner, images[0], 50)
    return _Run(len(content), found, times, parity.operators(content), placements(content))


def milliseconds_of_image(runner: TFLiteDetector, image, repeats: int) -> float:
    """Median time of one run of a file; of one that cuts images into tiles, of a whole image."""
    if runner.tiling is None:
        return runner.milliseconds(repeats)
    return milliseconds(lambda: runner.detect(image), repeats)


def _run_saved_model(detector, images) -> _Run:
    with tempfile.TemporaryDirectory() as place:
        folder = to_saved_model(detector, Path(place) / "model")
        size = bytes_in(folder)
        serve = tf.saved_model.load(str(folder)).signatures["serving_default"]

        def detect(image) -> Detections:
            found = {k: v.numpy()[0] for k, v in serve(images=tf.constant(image[None])).items()}
            count = int(found["count"])
            return Detections(
                found["boxes"][:count],
                found["scores"][:count],
                found["classes"][:count],
                detector.classes,
            )

        found = [detect(image) for image in images]
        return _Run(size, found, {"": milliseconds(lambda: detect(images[0]), 20)})


def _worst_layers(files: _Files, images) -> list[parity.LayerNoise]:
    detector = files.detector
    resized = [
        np.round(resize(image, detector.image_size, detector.resize)).clip(0, 255).astype(np.uint8)
        for image in images
    ]
    return parity.worst_layers(files.network("none"), files.network("int8"), resized)


def _row(form, megabytes, truth, found, classes, times) -> Row:
    metrics = evaluation.evaluate(truth, found, classes)
    voc, coco = evaluation.voc_ap(truth, found, classes), metrics["coco"]
    return Row(
        form=form,
        megabytes=megabytes,
        ap50=float(voc["map"]),
        ap=float(coco["AP"]),
        ap_small=float(coco["APs"]),
        ap_medium=float(coco["APm"]),
        ap_large=float(coco["APl"]),
        per_class_ap50={name: float(value) for name, value in voc["per_class"].items()},
        milliseconds=times,
        images=metrics["images"],
        objects=metrics["objects"],
    )
