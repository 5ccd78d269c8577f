"""Running .tflite files on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy import metadata, trial
from ssd_keras.deploy.flatbuffer import check_identifier
from ssd_keras.deploy.raw_outputs import RawOutputs
from ssd_keras.deploy.terminal import hide_output
from ssd_keras.deploy.tflite_file import packed_files
from ssd_keras.deploy.timing import milliseconds
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError, one_line
from ssd_keras.image_inputs import to_array
from ssd_keras.reading import read_bytes
from ssd_keras.resizing import HALF_PIXEL, WAYS, resize
from ssd_keras.tiled_detection import detect_by_tiles

# Two gigabytes are what a flatbuffer can hold.
MAX_FILE_BYTES = 2 << 30


class TFLiteDetector:
    """A .tflite detector: image in, `Detections` out.

    Args:
        model: path or bytes of a .tflite file with outputs boxes, classes, scores, count (by
            position). Files of other makers work as well. Of the two raw outputs of a file of
            --postprocess=none the same is made here, by the rule that is packed inside.
        threads: CPU threads.
        classes: class names; read from the file if not given.
        trusted: leaves out the run in another process (a third of a second), which finds out
            whether the file would end this one; for files that were made here.

    Raises:
        UserError: no such file, damaged, not a detector, or class names are missing.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        threads: int = 1,
        *,
        classes: Sequence[str] | None = None,
        trusted: bool = False,
    ):
        self._what = "The .tflite file" if isinstance(model, bytes) else f"'{model}'"
        content = model if isinstance(model, bytes) else read_bytes(model, MAX_FILE_BYTES)
        with self._name_file_in_errors():
            check_identifier(content)
            packed = packed_files(content)
            self.settings = metadata.settings_of(packed)
            self.tiling = Tiling.of(self.settings.get("tiling"))
            self.classes = tuple(classes or metadata.labels_of(packed) or ())
        if not self.classes:
            raise UserError(f"{self._what} holds no class names: give them with `classes`.")
        fault = None if trusted else trial.fault_of(content)
        if fault:
            raise self._cannot_be_run(fault)
        try:
            with hide_output():
                self._interpreter = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise self._cannot_be_run(error) from error
        self._outputs = self._interpreter.get_output_details()
        self._input = self._checked_input()
        self._raw = self._raw_outputs(packed)

    def _raw_outputs(self, packed: dict[str, bytes]) -> RawOutputs | None:
        """What turns the outputs into detections, or None if they are detections."""
        if len(self._outputs) not in (2, 4):
            raise UserError(
                f"{self._what} has {len(self._outputs)} outputs; a detection has four (boxes, "
                "classes, scores, count) or two (box codes, class scores)."
            )
        if len(self._outputs) == 4:
            return None
        with self._name_file_in_errors():
            return RawOutputs.from_files(packed, self.settings)

    @contextlib.contextmanager
    def _name_file_in_errors(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise UserError(f"{self._what} cannot be read. {error}") from error

    def _cannot_be_run(self, reason: Exception | str) -> UserError:
        return UserError(f"{self._what} cannot be run: {one_line(reason).rstrip('.')}.")

    def _checked_input(self) -> dict:
        inputs = self._interpreter.get_input_details()
        shapes = [[int(n) for n in entry["shape"]] for entry in inputs]
        if len(inputs) != 1 or len(shapes[0]) != 4 or (shapes[0][0], shapes[0][3]) != (1, 3):
            raise UserError(f"{self._what} takes {shapes}; a detector takes an image [1, H, W, 3].")
        if inputs[0]["dtype"] not in (np.float32, np.uint8):
            raise UserError(
                f"{self._what} takes {np.dtype(inputs[0]['dtype']).name}, but only float32 and "
                "uint8 images can be given here."
            )
        return inputs[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return tuple(int(n) for n in self._input["shape"][1:3])

    @property
    def resize(self) -> str:
        """The way of `resizing.WAYS` in which the file wants its images resized."""
        said = self.settings.get("resize")
        return said if said in WAYS else HALF_PIXEL

    def detect(self, image) -> Detections:
        """Finds the objects in one image.

        A large image is cut into tiles if the file says so; the attribute `tiling` can be replaced.

        Args:
            image: an array `[H, W, 3]` of RGB 0..255, the path of an image file, the bytes of one,
                or a PIL image, as `Detector.detect` takes them.

        Returns:
            `Detections`, which know the size of the image and its path, as those of `Detector`.

        Raises:
            UserError: it is no image, or the file's outputs are no detections.
        """
        pixels = to_array(image)
        path = image if isinstance(image, (str, os.PathLike)) else None
        return self._detect_array(pixels).of_image(pixels.shape[:2], path)

    def _detect_array(self, pixels: np.ndarray) -> Detections:
        if self.tiling is None:
            return self._detect_pixels(pixels)
        agnostic = self.settings.get("class_agnostic") is True
        return detect_by_tiles(self._detect_pixels, pixels, self.tiling, class_agnostic=agnostic)

    def _detect_pixels(self, pixels: np.ndarray) -> Detections:
        self._interpreter.set_tensor(self._input["index"], self._to_input(pixels))
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(output["index"]) for output in self._outputs]
        try:
            found = self._detections(outputs)
        except (ValueError, OverflowError) as error:
            expected = "codes and scores" if self._raw else "boxes, classes, scores and count"
            raise UserError(
                f"The outputs of {self._what} are not {expected} of its {len(self.classes)} "
                f"classes: {one_line(error)}"
            ) from error
        return found.from_canvas(pixels.shape[:2], self.image_size, self.resize)

    def _detections(self, outputs: list[np.ndarray]) -> Detections:
        if self._raw:
            return self._raw.detections(*outputs, self.classes)
        return as_detections(outputs, self.classes)

    def milliseconds(self, repeats: int = 30, warmup: int = 3) -> float:
        """Median time of one run of the file, without resizing, on the image last given."""
        return milliseconds(self._interpreter.invoke, repeats, warmup)

    def _to_input(self, image: np.ndarray) -> np.ndarray:
        return as_input(resize(image, self.image_size, self.resize), self._input["dtype"])


def as_input(image: np.ndarray, dtype) -> np.ndarray:
    """A float image `[H, W, 3]` as the input `[1, H, W, 3]` of a file, rounded if it is uint8."""
    if np.dtype(dtype) == np.uint8:
        image = np.round(image).clip(0, 255)
    return image[None].astype(dtype)


def as_detections(outputs: list[np.ndarray], classes: tuple[str, ...]) -> Detections:
    """`Detections` from the outputs boxes, classes, scores, count of one image.

    Slots beyond the count are left out: in files of other makers they hold old values.

    Raises:
        ValueError: they are of other shapes, no numbers, or name classes that are not there.
    """
    boxes, labels, scores, count = outputs
    used = max(0, int(np.ravel(count)[0]))
    boxes = np.reshape(boxes, (-1, 4))[:used]
    labels, scores = np.ravel(labels)[:used], np.ravel(scores)[:used]
    if not all(np.isfinite(values).all() for values in (boxes, labels, scores)):
        raise ValueError("they hold NaN or infinity.")
    return Detections(boxes, scores, np.round(labels).astype(np.int32), classes)
