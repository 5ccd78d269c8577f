"""From the raw outputs of a file of --postprocess=none to detections: suppression outside of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.boxes import Suppression, centers_to_corners, decode, suppress
from ssd_keras.deploy.metadata import ANCHORS_FILE
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class RawOutputs:
    """What a file says of its raw outputs, and what makes detections of them.

    Attributes:
        anchors: what codes are relative to: centre y, centre x, height, width, float32 `[A, 4]`.
        variances: factors of the codes.
        suppression: the rule that the file was exported with.
    """

    anchors: np.ndarray
    variances: tuple[float, ...]
    suppression: Suppression

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], settings: Mapping) -> RawOutputs:
        """Read from what is packed into a file.

        Args:
            files: contents by name.
            settings: those of `ssd_keras.json`.

        Raises:
            UserError: default boxes, variances or the rule are missing or cannot be used.
        """
        if ANCHORS_FILE not in files:
            raise UserError(
                f"It has two outputs and no default boxes ({ANCHORS_FILE}): export it again with "
                "ssd-keras export-tflite."
            )
        return cls(
            _read_anchors(files[ANCHORS_FILE]), _read_variances(settings), _read_rule(settings)
        )

    def detections(
        self, codes: np.ndarray, scores: np.ndarray, classes: Sequence[str]
    ) -> Detections:
        """The detections of one image.

        Args:
            codes: dy, dx, dh, dw `[1, A, 4]`.
            scores: `[1, A, C]`.
            classes: names of the C classes.

        Raises:
            ValueError: outputs of other shapes.
        """
        count = len(self.anchors)
        expected = [(1, count, 4), (1, count, len(classes))]
        if [codes.shape, scores.shape] != expected:
            raise ValueError(f"they are {codes.shape} and {scores.shape}, not {expected}.")
        boxes = decode(codes, centers_to_corners(self.anchors), self.variances)
        found = suppress(boxes, scores, **self.suppression.as_dict())
        found = {name: np.asarray(values)[0] for name, values in found.items()}
        used = int(found["count"])
        return Detections(
            found["boxes"][:used], found["scores"][:used], found["labels"][:used], tuple(classes)
        )


def _read_anchors(content: bytes) -> np.ndarray:
    if not content or len(content) % 16:
        raise UserError(f"Its {ANCHORS_FILE} has {len(content):,} bytes, not 16 a default box.")
    return np.frombuffer(content, "<f4").reshape(-1, 4).astype(np.float32)


def _read_variances(settings: Mapping) -> tuple[float, ...]:
    try:
        variances = tuple(float(value) for value in settings["variances"])
    except (KeyError, TypeError, ValueError):
        variances = ()
    if len(variances) != 4 or not all(map(math.isfinite, variances)):
        raise UserError("Its ssd_keras.json holds no four variances of the box codes.")
    return variances


def _read_rule(settings: Mapping) -> Suppression:
    names = [field.name for field in dataclasses.fields(Suppression)]
    return Suppression(**{name: settings[name] for name in names if name in settings})
