"""Running .tflite files on this machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ssd_keras.deploy import flatbuffer, metadata
from ssd_keras.deploy.terminal import held_back
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.image_inputs import to_array
from ssd_keras.resizing import resize


class TFLiteDetector:
    """A .tflite detector: image in, `Detections` out.

    Args:
        model: path or bytes of a .tflite file with outputs boxes, classes, scores, count (by
            position). Files of other makers work as well.
        threads: CPU threads.
        classes: class names; read from the file if not given.

    Raises:
        UserError: no such file, not a detector, or class names are missing.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 1, *, classes=None):
        from ai_edge_litert.interpreter import Interpreter

        self._content = _read(model)
        self.settings = metadata.settings_of(self._content)
        self.classes = tuple(classes or metadata.labels_of(self._content) or ())
        if not self.classes:
            raise UserError("The .tflite file holds no class names: give them with `classes`.")
        try:
            with held_back():
                self._interpreter = Interpreter(model_content=self._content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"The .tflite file cannot be run: {reason}") from error
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        if len(self._outputs) != 4:
            raise UserError(
                f"The .tflite file has {len(self._outputs)} outputs; a detection has four (boxes, "
                "classes, scores, count). Export it with --postprocess=builtin or op."
            )

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return tuple(int(n) for n in self._input["shape"][1:3])

    def detect(self, image: np.ndarray) -> Detections:
        """Finds the objects in one image, given in any form that `Detector.detect` takes."""
        self._interpreter.set_tensor(self._input["index"], self._prepared(image))
        self._interpreter.invoke()
        return as_detections(
            [self._interpreter.get_tensor(output["index"]) for output in self._outputs],
            self.classes,
        )

    def milliseconds(self, repeats: int = 30, warmup: int = 3) -> float:
        """Median time of one run of the file, without resizing, on the image last given."""
        times = []
        for index in range(warmup + repeats):
            start = time.perf_counter()
            self._interpreter.invoke()
            if index >= warmup:
                times.append(time.perf_counter() - start)
        return 1000.0 * float(np.median(times))

    def _prepared(self, image) -> np.ndarray:
        return as_input(resize(to_array(image), self.image_size), self._input["dtype"])


def as_input(image: np.ndarray, dtype) -> np.ndarray:
    """A float image `[H, W, 3]` as the input `[1, H, W, 3]` of a file, rounded if it is uint8."""
    if np.dtype(dtype) == np.uint8:
        image = np.round(image).clip(0, 255)
    return image[None].astype(dtype)


def as_detections(outputs: list[np.ndarray], classes: tuple[str, ...]) -> Detections:
    """`Detections` from the outputs boxes, classes, scores, count of one image.

    Slots beyond the count are left out: in files of other makers they hold old values.
    """
    boxes, labels, scores, count = outputs
    used = int(np.ravel(count)[0])
    return Detections(
        np.reshape(boxes, (-1, 4))[:used],
        np.ravel(scores)[:used],
        np.round(np.ravel(labels)[:used]).astype(np.int32),
        classes,
    )


def _read(model: str | Path | bytes) -> bytes:
    if isinstance(model, bytes):
        content = model
    else:
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise UserError(f"'{model}' cannot be read: {error.strerror}.") from error
    if content[4:8] != flatbuffer.FILE_IDENTIFIER:
        raise UserError("This is not a .tflite file: the identifier TFL3 is missing.")
    return content
