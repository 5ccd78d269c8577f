"""What box networks with default boxes share: their objective, and boxes from codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from keras import ops

from ssd_keras import boxes
from ssd_keras.box_networks.anchor_rules import rule_config, rule_from_config
from ssd_keras.box_networks.protocol import COMMON_STAGES
from ssd_keras.objectives import MultiBox


class DefaultBoxNetwork:
    """A Box Network that says of every default box where its object is and what.

    Owns the rule of the default boxes, how ground truth is encoded, the loss, and how predictions
    become boxes and scores. A subclass adds the layers.

    Args:
        num_classes: number of object classes, background not counted.
        anchors: rule that lays default boxes on the maps, of `box_networks.anchor_rules`.
        scores: "softmax" over the classes and background, or "sigmoid" for each class alone.
        variances: what codes are divided by, for centre y, centre x, height and width.
        match_threshold: IoU from which a default box learns an object.
        matching: which default boxes learn an object, "bipartite" (SSD) or "argmax" (torchvision,
            TF Object Detection API).
        class_loss: "mined" or "focal", see `objectives.MultiBox`, as all from `scores` on.
        negative_ratio: hard negatives per positive default box.
        box_weight: weight of the box loss.

    After the call, `level_maps` holds rows and columns of each level, `level_anchors` its default
    boxes and `anchors` all of them, float32 `[A, 4]`, `[ymin, xmin, ymax, xmax]`, not clipped to
    the image; `class_layers` names the layers whose weights belong to one list of classes.
    """

    stages: ClassVar = COMMON_STAGES

    def __init__(
        self,
        num_classes: int,
        *,
        anchors,
        scores: str = "softmax",
        variances: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
        match_threshold: float = 0.5,
        matching: str = "bipartite",
        class_loss: str = "mined",
        negative_ratio: int = 3,
        box_weight: float = 1.0,
    ):
        if num_classes < 1:
            raise ValueError(f"A detector needs at least one class, got num_classes={num_classes}.")
        self.num_classes = num_classes
        self.anchor_rule = rule_from_config(anchors) if isinstance(anchors, dict) else anchors
        self.scores, self.variances = scores, tuple(variances)
        self.objective = MultiBox(
            scores=scores,
            variances=self.variances,
            matching=matching,
            match_threshold=match_threshold,
            class_loss=class_loss,
            negative_ratio=negative_ratio,
            box_weight=box_weight,
        )
        self.level_anchors: tuple[np.ndarray, ...] = ()
        self.level_maps: tuple[tuple[int, int], ...] = ()
        self.class_layers: tuple[str, ...] = ()

    @property
    def anchors(self) -> np.ndarray:
        """All default boxes, `[A, 4]`; level by level, row, column, box of the cell."""
        return np.concatenate([np.zeros((0, 4), "float32"), *self.level_anchors])

    @property
    def columns(self) -> int:
        """Class logits of a default box."""
        return self.num_classes + self.objective.background

    def lay_default_boxes(self, maps: list, image_size: tuple[int, int]) -> list[int]:
        """Fills `level_maps` and `level_anchors` for symbolic maps; returns boxes per cell."""
        self.level_maps = tuple(tuple(x.shape[1:3]) for x in maps)
        levels = self.anchor_rule.levels(self.level_maps, image_size)
        self.level_anchors = tuple(boxes.default_boxes([level]) for level in levels)
        return [len(level.sizes) for level in levels]

    def encode(self, ground_truth_boxes, labels) -> dict:
        """Ground truth -> targets, inside the compiled step.

        Args:
            ground_truth_boxes: `[B, M, 4]`, padded with -1.
            labels: int `[B, M]`, 0..num_classes-1, padded with -1.

        Returns:
            The targets of every default box; see `objectives.multibox.multibox_targets`.
        """
        return self.objective.encode(ground_truth_boxes, labels, self.anchors)

    def loss(self, targets: dict, predictions: dict) -> dict:
        """The objective's loss: scalars "loss", "class_loss", "box_loss", "positives"."""
        return self.objective.loss(targets, predictions, self.anchors)

    def decode(self, predictions: dict) -> tuple:
        """Predictions -> boxes `[B, A, 4]`, not clipped, and scores `[B, A, C]`, both float32.

        Scores are probabilities with the background left out.
        """
        codes = ops.cast(predictions["boxes"], "float32")
        decoded = boxes.decode(codes, self.anchors, variances=self.variances)
        return decoded, self.objective.scores_of(predictions)

    def get_config(self) -> dict:
        """Everything needed to build this box network again; plain numbers, lists and dicts."""
        return {
            "num_classes": self.num_classes,
            "anchors": rule_config(self.anchor_rule),
            **dataclasses.asdict(self.objective),
            "variances": list(self.variances),
        }

    @classmethod
    def from_config(cls, config: dict) -> DefaultBoxNetwork:
        """The reverse of `get_config`."""
        return cls(**config)
