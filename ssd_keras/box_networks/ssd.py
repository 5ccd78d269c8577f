"""SSD: default boxes on feature maps of several scales, predicted in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from ssd_keras import boxes, losses
from ssd_keras.box_networks.anchor_rules import ScaleAnchors

HEAD_INITIALIZER_STDDEV = 0.03


@keras.saving.register_keras_serializable("ssd_keras")
class SSD:
    """The Box Network of SSD.

    Owns its extra layers and heads, how ground truth is encoded, the loss, and how predictions
    become boxes and scores.

    Args:
        num_classes: number of object classes, background not counted.
        anchors: rule that lays default boxes on the maps.
        extras: (1x1 channels, 3x3 channels) of each extra level; the 3x3 convolution halves the
            map.
        head_kernel: kernel size of the convolutions that predict boxes and classes.
        variances: what codes are divided by, for centre y, centre x, height and width.
        match_threshold: IoU from which a default box learns an object.
        negative_ratio: hard negatives per positive default box.

    After the call, `level_anchors` holds the default boxes of each level and `anchors` all of
    them, float32 `[A, 4]`, `[ymin, xmin, ymax, xmax]`, not clipped to the image.

    Source: SSD paper, arXiv 1512.02325, section 2; heads and extras of the MobileNet models as in
    the TF Object Detection API, ssd_mobilenet_v1_feature_extractor.py.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        anchors: ScaleAnchors | dict,
        extras: Sequence[tuple[int, int]] = ((256, 512), (128, 256), (128, 256), (64, 128)),
        head_kernel: int = 1,
        variances: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
        match_threshold: float = 0.5,
        negative_ratio: int = 3,
    ):
        if num_classes < 1:
            raise ValueError(f"A detector needs at least one class, got num_classes={num_classes}.")
        self.num_classes = num_classes
        self.anchor_rule = ScaleAnchors(**anchors) if isinstance(anchors, dict) else anchors
        self.extras = tuple(tuple(pair) for pair in extras)
        self.head_kernel = head_kernel
        self.variances = tuple(variances)
        self.match_threshold = match_threshold
        self.negative_ratio = negative_ratio
        self.level_anchors: tuple[np.ndarray, ...] = ()

    @property
    def anchors(self) -> np.ndarray:
        """All default boxes, `[A, 4]`; level by level, row, column, box of the cell."""
        return np.concatenate(self.level_anchors)

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Adds the extra levels and the heads.

        Args:
            features: symbolic feature maps `[B, H, W, C]`, finest first.
            image_size: (height, width) of the image in pixels.

        Returns:
            dict of "boxes", codes `[B, A, 4]` (dy, dx, dh, dw), and "classes", logits
            `[B, A, num_classes + 1]` with background first; both float32.
        """
        pyramid = list(features.values())
        for index, (reduced, channels) in enumerate(self.extras, start=1):
            x = _conv_bn_relu6(pyramid[-1], reduced, 1, 1, f"extra{index}_reduce")
            pyramid.append(_conv_bn_relu6(x, channels, 3, 2, f"extra{index}_conv"))
        map_sizes = [tuple(level.shape[1:3]) for level in pyramid]
        levels = self.anchor_rule.levels(map_sizes, image_size)
        self.level_anchors = tuple(boxes.default_boxes([level]) for level in levels)
        codes, logits = [], []
        for index, (x, level) in enumerate(zip(pyramid, levels, strict=True)):
            per_cell = len(level.sizes)
            codes.append(self._head(x, per_cell, 4, f"level{index}_boxes"))
            logits.append(self._head(x, per_cell, self.num_classes + 1, f"level{index}_classes"))
        return {
            "boxes": layers.Concatenate(axis=1, dtype="float32", name="boxes")(codes),
            "classes": layers.Concatenate(axis=1, dtype="float32", name="classes")(logits),
        }

    def _head(self, x, per_cell: int, channels: int, name: str):
        x = layers.Conv2D(
            per_cell * channels,
            self.head_kernel,
            padding="same",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=HEAD_INITIALIZER_STDDEV),
            name=name,
        )(x)
        return layers.Reshape((-1, channels), name=f"{name}_flat")(x)

    def encode(self, ground_truth_boxes, labels) -> dict:
        """Ground truth -> targets, inside the compiled step.

        Args:
            ground_truth_boxes: `[B, M, 4]`, padded with -1.
            labels: int `[B, M]`, 0..num_classes-1, padded with -1.

        Returns:
            The targets of every default box; see `losses.multibox_targets`.
        """
        return losses.multibox_targets(
            ground_truth_boxes,
            labels,
            self.anchors,
            variances=self.variances,
            threshold=self.match_threshold,
        )

    def loss(self, targets: dict, predictions: dict) -> dict:
        """The MultiBox loss: scalars "loss", "class_loss", "box_loss", "positives"."""
        return losses.multibox_loss(
            targets,
            predictions["boxes"],
            predictions["classes"],
            negative_ratio=self.negative_ratio,
        )

    def decode(self, predictions: dict) -> tuple:
        """Predictions -> boxes `[B, A, 4]`, not clipped, and scores `[B, A, C]`, both float32.

        Scores are softmax probabilities with the background left out.
        """
        codes = ops.cast(predictions["boxes"], "float32")
        logits = ops.cast(predictions["classes"], "float32")
        return (
            boxes.decode(codes, self.anchors, variances=self.variances),
            ops.softmax(logits, axis=-1)[..., 1:],
        )

    def get_config(self) -> dict:
        """Everything needed to build this box network again; plain numbers, lists and dicts."""
        return {
            "num_classes": self.num_classes,
            "anchors": dataclasses.asdict(self.anchor_rule),
            "extras": [list(pair) for pair in self.extras],
            "head_kernel": self.head_kernel,
            "variances": list(self.variances),
            "match_threshold": self.match_threshold,
            "negative_ratio": self.negative_ratio,
        }

    @classmethod
    def from_config(cls, config: dict) -> SSD:
        """The reverse of `get_config`."""
        return cls(**config)


def _conv_bn_relu6(x, channels: int, kernel: int, strides: int, name: str):
    x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False, name=name)(
        x
    )
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
