"""YOLO, version 1: a coarse grid whose cells each answer for one object."""

from __future__ import annotations

from typing import ClassVar

import keras
import numpy as np
from keras import layers, ops

from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.protocol import COMMON_STAGES, Request
from ssd_keras.errors import UserError
from ssd_keras.objectives import YoloObjective
from ssd_keras.objectives.yolo import yolo_boxes

LEAK = 0.1
# The prediction is linear and its errors are squared: what begins far from the shares and offsets
# of 0..1 that it has to say begins with a loss in the hundreds.
INITIALIZER_STDDEV = 0.01
HEAD_STRIDES = (1, 2, 1, 1)


@keras.saving.register_keras_serializable("ssd_keras")
class YOLO:
    """The Box Network of YOLO version 1.

    Four 3x3 convolutions, the second of stride 2, on the backbone's coarsest map; then a 1x1
    convolution that predicts for each cell of an S x S grid `boxes_per_cell` boxes with their
    confidences, and one distribution over the classes. All outputs are linear. The published
    network has two fully connected layers in the place of the 1x1 convolution, which see the whole
    image but make 280 of its 350 million weights: `fully_connected` brings them back.

    Args:
        num_classes: number of object classes.
        boxes_per_cell: boxes that each cell proposes.
        channels: of the head's convolutions.
        fully_connected: units of the hidden fully connected layer, 0 for the 1x1 convolution.
        dropout: after the hidden fully connected layer.

    Source: YOLO paper, arXiv 1506.02640; darknet, detection_layer.c. No network of this name was
    published on Inception.
    """

    stages: ClassVar = COMMON_STAGES
    level_anchors: tuple = ()
    class_layers = ("prediction",)

    def __init__(
        self,
        num_classes: int,
        *,
        boxes_per_cell: int = 2,
        channels: int = 1024,
        fully_connected: int = 0,
        dropout: float = 0.5,
    ):
        if num_classes < 1:
            raise ValueError(f"A detector needs at least one class, got num_classes={num_classes}.")
        self.num_classes = num_classes
        self.boxes_per_cell = boxes_per_cell
        self.channels = channels
        self.fully_connected = fully_connected
        self.dropout = dropout
        self.objective = YoloObjective()
        self.grid: tuple[int, int] = (0, 0)

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments on a Core Network: channels at the width of the request.

        Raises:
            UserError: a wish about default boxes.
        """
        for wish in ("box_scale", "smallest_box", "finest_stride"):
            if getattr(request, wish) is not None:
                raise UserError(f"YOLO has no default boxes: leave out {wish}.")
        return {"channels": request.scale_channels(1024)}

    @property
    def level_maps(self) -> tuple[tuple[int, int], ...]:
        """The grid, the only map that predicts."""
        return (self.grid,)

    @property
    def anchors(self) -> np.ndarray:
        """No default boxes, `[0, 4]`: YOLO's boxes are free."""
        return np.zeros((0, 4), "float32")

    def __call__(self, features: dict, _image_size: tuple[int, int]) -> dict:
        """Adds the head.

        Args:
            features: symbolic feature maps `[B, H, W, C]`, finest first; the last is used.

        Returns:
            dict of float32 "boxes" `[B, P, 4]` with P = S * S * boxes_per_cell: centre (y, x) as
            an offset within the cell, square roots of height and width as shares of the image;
            "confidences" `[B, P]`; and "classes" `[B, S * S, C]`.
        """
        x = list(features.values())[-1]
        for index, strides in enumerate(HEAD_STRIDES, start=1):
            x = blocks.conv_bn(
                x, self.channels, 3, f"head{index}", activation=None, strides=strides
            )
            x = layers.LeakyReLU(LEAK, name=f"head{index}_leaky")(x)
        self.grid = tuple(x.shape[1:3])
        cells = self.grid[0] * self.grid[1]
        values = 5 * self.boxes_per_cell + self.num_classes
        prediction = {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=INITIALIZER_STDDEV),
            "dtype": blocks.output_dtype(),
            "name": "prediction",
        }
        if self.fully_connected:
            x = layers.Flatten(name="flat")(x)
            x = layers.Dense(self.fully_connected, name="hidden")(x)
            x = layers.LeakyReLU(LEAK, name="hidden_leaky")(x)
            x = layers.Dropout(self.dropout, name="hidden_dropout")(x)
            x = layers.Dense(cells * values, **prediction)(x)
        else:
            x = layers.Conv2D(values, 1, **prediction)(x)
        x = layers.Reshape((cells, values), dtype="float32", name="cells")(x)
        per_cell = self.boxes_per_cell
        count = cells * per_cell
        return {
            "boxes": layers.Reshape((count, 4), dtype="float32", name="boxes")(
                x[..., : 4 * per_cell]
            ),
            "confidences": layers.Reshape((count,), dtype="float32", name="confidences")(
                x[..., 4 * per_cell : 5 * per_cell]
            ),
            "classes": layers.Identity(dtype="float32", name="classes")(x[..., 5 * per_cell :]),
        }

    def encode(self, ground_truth_boxes, labels) -> dict:
        """Ground truth -> what each cell has to predict; see `objectives.yolo.yolo_targets`."""
        return self.objective.encode(ground_truth_boxes, labels, self.grid)

    def loss(self, targets: dict, predictions: dict) -> dict:
        """Scalars "loss", "class_loss", "box_loss", "positives"; see `objectives.yolo`."""
        return self.objective.loss(targets, predictions, self.grid)

    def decode(self, predictions: dict) -> tuple:
        """Predictions -> boxes `[B, P, 4]`, not clipped, and scores `[B, P, C]`, both float32."""
        boxes = yolo_boxes(ops.cast(predictions["boxes"], "float32"), self.grid)
        return boxes, self.objective.scores_of(predictions)

    def get_config(self) -> dict:
        """Everything needed to build this box network again."""
        return {
            "num_classes": self.num_classes,
            "boxes_per_cell": self.boxes_per_cell,
            "channels": self.channels,
            "fully_connected": self.fully_connected,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict) -> YOLO:
        """The reverse of `get_config`."""
        return cls(**config)
