"""How raw outputs become boxes and scores inside a file: with default boxes, or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from ssd_keras.boxes.numpy_boxes import corners_to_centers

# Codes hold the logarithm of a size, and boxes of no size have none.
SMALLEST_SIDE = 1e-6


def anchor_centers(anchors: np.ndarray) -> np.ndarray:
    """Corners `[A, 4]` -> centre y, centre x, height, width, float32."""
    return corners_to_centers(anchors).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class DefaultBoxes:
    """The decoding of SSD and DSSD: codes relative to default boxes, and class logits.

    Attributes:
        anchors: default boxes, corners, float32 `[A, 4]`.
        num_classes: C, object classes without background.
        variances: factors of the codes.
        scores_of: logits `[1, A, C+1]`, background first, -> scores `[1, A, C]`.
        background: whether the logits have that column; else they are `[1, A, C]`.
    """

    anchors: np.ndarray
    num_classes: int
    variances: Sequence[float] = (0.1, 0.1, 0.2, 0.2)
    scores_of: Callable = lambda logits: tf.nn.softmax(logits)[:, :, 1:]
    background: bool = True

    @property
    def specs(self) -> tuple[tf.TensorSpec, ...]:
        """The raw outputs: "boxes" `[1, A, 4]` (dy, dx, dh, dw) and "classes" `[1, A, C+1]`."""
        count, columns = len(self.anchors), self.num_classes + self.background
        return (
            tf.TensorSpec([1, count, 4], tf.float32, "boxes"),
            tf.TensorSpec([1, count, columns], tf.float32, "classes"),
        )

    @property
    def centers(self) -> np.ndarray:
        """What the codes are relative to: centre y, centre x, height, width, `[A, 4]`."""
        return anchor_centers(self.anchors)

    def boxes(self, raw: dict):
        """Corners `[A, 4]`, as `boxes.decode`."""
        codes, variances = raw["boxes"][0], np.float32(self.variances)
        middle, size = self.centers[:, :2], self.centers[:, 2:]
        # In this order the file needs two constants per default box and not three.
        middle = codes[:, :2] * variances[:2] * size + middle
        half = tf.exp(codes[:, 2:] * variances[2:]) * np.float32(0.5) * size
        return tf.concat([middle - half, middle + half], axis=1)

    def codes(self, raw: dict):
        """dy, dx, dh, dw relative to `centers`, `[1, A, 4]`."""
        return tf.identity(raw["boxes"])

    def scores(self, raw: dict):
        """`[1, A, C]`."""
        return self.scores_of(raw["classes"])


@dataclasses.dataclass(frozen=True, eq=False)
class FreeBoxes:
    """The decoding of a box network without default boxes (YOLO): its own.

    Where a consumer wants codes, they are relative to the whole image.

    Attributes:
        specs: the raw outputs by name, each `[1, ...]`.
        decode: a dict of raw outputs -> corners `[1, A, 4]` and scores `[1, A, C]`.
        num_boxes: A.
        num_classes: C.
    """

    specs: tuple[tf.TensorSpec, ...]
    decode: Callable
    num_boxes: int
    num_classes: int
    variances: Sequence[float] = (1.0, 1.0, 1.0, 1.0)

    @property
    def centers(self) -> np.ndarray:
        """What the codes are relative to: centre (0, 0), size (1, 1), `[A, 4]`."""
        return np.tile(np.float32([0, 0, 1, 1]), (self.num_boxes, 1))

    def boxes(self, raw: dict):
        """Corners `[A, 4]`."""
        return tf.convert_to_tensor(self.decode(raw)[0])[0]

    def codes(self, raw: dict):
        """Centre y, centre x and the logarithms of height and width, `[1, A, 4]`."""
        corners = tf.convert_to_tensor(self.decode(raw)[0])
        low, high = corners[..., :2], corners[..., 2:]
        size = tf.maximum(high - low, SMALLEST_SIDE)
        return tf.concat([(low + high) * 0.5, tf.math.log(size)], axis=-1)

    def scores(self, raw: dict):
        """`[1, A, C]`."""
        return tf.convert_to_tensor(self.decode(raw)[1])


Decoding = DefaultBoxes | FreeBoxes


def decoding_of(detector: keras.Model) -> Decoding:
    """The decoding of a detector's box network."""
    network, outputs = detector.box_network, detector.output
    if len(network.anchors):

        def scores_of(logits):
            # The codes do not matter here, and what is made of them is not converted.
            codes = tf.zeros([1, len(network.anchors), 4])
            return tf.convert_to_tensor(network.decode({"boxes": codes, "classes": logits})[1])

        classes = len(detector.classes)
        background = outputs["classes"].shape[-1] > classes
        return DefaultBoxes(
            network.anchors, classes, tuple(network.variances), scores_of, background
        )
    specs = tuple(
        tf.TensorSpec([1, *output.shape[1:]], tf.float32, name) for name, output in outputs.items()
    )
    return FreeBoxes(
        specs, network.decode, num_boxes=outputs["boxes"].shape[1], num_classes=network.num_classes
    )
