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
from ssd_keras.boxes.layout import Layout
from ssd_keras.objectives import build_objective
from ssd_keras.objectives.combinations import PARTS, PUBLISHED


class DefaultBoxNetwork:
    """A Box Network that says of every default box where its object is and what.

    Owns the rule of the default boxes, how ground truth is encoded, the loss, and how predictions
    become boxes and scores. A subclass adds the layers.

    Args:
        num_classes: number of object classes, background not counted.
        anchors: rule that lays default boxes on the maps, of `box_networks.anchor_rules`.
        objective: what is learned, a name of `objectives.COMBINATIONS`.
        **parts: values that it is to have instead of its own, such as `class_loss`; fields of
            `objectives.MultiBox` or `objectives.Dense`.

    After the call, `level_maps` holds rows and columns of each level, `level_anchors` its default
    boxes and `anchors` all of them, float32 `[A, 4]`, `[ymin, xmin, ymax, xmax]`, not clipped to
    the image; `layout` has them with all that an assignment needs; `class_layers` names the layers
    whose weights belong to one list of classes.
    """

    stages: ClassVar = COMMON_STAGES

    def __init__(
        self,
        num_classes: int,
        *,
        anchors,
        objective: str = PUBLISHED,
        scores: str | None = None,
        variances: Sequence[float] | None = None,
        matching: str | None = None,
        match_threshold: float | None = None,
        candidates: int | None = None,
        whole_cells: bool | None = None,
        alignment: Sequence[float] | None = None,
        forced: bool | None = None,
        class_loss: str | None = None,
        negative_ratio: int | None = None,
        min_negatives: int | None = None,
        class_weight: float | None = None,
        box_loss: str | None = None,
        box_weight: float | None = None,
    ):
        parts = dict(locals())
        if num_classes < 1:
            raise ValueError(f"A detector needs at least one class, got num_classes={num_classes}.")
        self.num_classes = num_classes
        self.anchor_rule = rule_from_config(anchors) if isinstance(anchors, dict) else anchors
        self.objective_name = objective
        self.objective = build_objective(objective, {name: parts[name] for name in PARTS})
        self.layout = Layout.of((), (1, 1))
        self.level_anchors: tuple[np.ndarray, ...] = ()
        self.level_maps: tuple[tuple[int, int], ...] = ()
        self.class_layers: tuple[str, ...] = ()

    @property
    def anchors(self) -> np.ndarray:
        """All default boxes, `[A, 4]`; level by level, row, column, box of the cell."""
        return self.layout.anchors

    @property
    def scores(self) -> str:
        """What logits become scores by, "softmax" or "sigmoid"."""
        return self.objective.scores

    @property
    def variances(self) -> tuple[float, ...]:
        """What codes are divided by, for centre y, centre x, height and width."""
        return self.objective.variances

    @property
    def columns(self) -> int:
        """Class logits of a default box."""
        return self.num_classes + self.objective.background

    def lay_default_boxes(self, maps: list, image_size: tuple[int, int]) -> list[int]:
        """Lays default boxes on symbolic maps, for `layout`; returns boxes per cell."""
        self.level_maps = tuple(tuple(x.shape[1:3]) for x in maps)
        levels = self.anchor_rule.levels(self.level_maps, image_size)
        self.layout = Layout.of(levels, image_size)
        self.level_anchors = tuple(boxes.default_boxes([level]) for level in levels)
        return [len(level.sizes) for level in levels]

    def encode(self, ground_truth_boxes, labels) -> dict:
        """Ground truth -> targets, inside the compiled step.

        Args:
            ground_truth_boxes: `[B, M, 4]`, padded with -1.
            labels: int `[B, M]`, 0..num_classes-1, padded with -1.

        Returns:
            The targets of the objective; see `objectives.multibox.multibox_targets` and
            `objectives.Dense.encode`.
        """
        return self.objective.encode(ground_truth_boxes, labels, self.layout)

    def loss(self, targets: dict, predictions: dict) -> dict:
        """The objective's loss: scalars "loss", "class_loss", "box_loss", "positives"."""
        return self.objective.loss(targets, predictions, self.layout)

    def decode(self, predictions: dict) -> tuple:
        """Predictions -> boxes `[B, A, 4]`, not clipped, and scores `[B, A, C]`, both float32.

        Scores are probabilities with the background left out.
        """
        codes = ops.cast(predictions["boxes"], "float32")
        decoded = boxes.decode(codes, self.anchors, variances=self.variances)
        return decoded, self.objective.scores_of(predictions)

    def get_config(self) -> dict:
        """Everything needed to build this box network again; plain numbers, lists and dicts."""
        parts = dataclasses.asdict(self.objective)
        named = {} if self.objective_name == PUBLISHED else {"objective": self.objective_name}
        return {
            "num_classes": self.num_classes,
            "anchors": rule_config(self.anchor_rule),
            **named,
            **{key: list(v) if isinstance(v, tuple) else v for key, v in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict) -> DefaultBoxNetwork:
        """The reverse of `get_config`."""
        return cls(**config)
