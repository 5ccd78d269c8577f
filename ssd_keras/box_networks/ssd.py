"""SSD: default boxes on feature maps of several scales, predicted in one pass."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import keras
import numpy as np
from keras import layers, ops

from ssd_keras import boxes
from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.anchor_rules import rule_config, rule_from_config
from ssd_keras.box_networks.extras import Extra
from ssd_keras.box_networks.protocol import COMMON_STAGES, Request
from ssd_keras.box_networks.published_anchors import Pyramid
from ssd_keras.objectives import MultiBox


@keras.saving.register_keras_serializable("ssd_keras")
class SSD:
    """The Box Network of SSD.

    Owns its extra layers and heads, how ground truth is encoded, the loss, and how predictions
    become boxes and scores.

    Args:
        num_classes: number of object classes, background not counted.
        anchors: rule that lays default boxes on the maps, of `box_networks.anchor_rules`.
        extras: the levels after the backbone's, `Extra` each or a tuple of its values.
        extra_block: what extra levels are made of, one of `blocks.EXTRA_BLOCKS`.
        activation: "relu" or "relu6", of all layers of the box network.
        prediction_module: "a" to "d", see `blocks.prediction_module`.
        module_channels: channels of the modules' bottlenecks and of their outputs.
        head_kernels: kernel size of the convolutions that predict boxes and classes, one for all
            levels or one for each.
        separable_heads: depthwise-separable heads, as in SSDLite.
        scores: "softmax" over the classes and background, or "sigmoid" for each class alone.
        variances: what codes are divided by, for centre y, centre x, height and width.
        match_threshold: IoU from which a default box learns an object.
        matching: which default boxes learn an object, "bipartite" (SSD) or "argmax" (torchvision).
        class_loss: "mined" or "focal", see `objectives.MultiBox`, as all from `scores` on.
        negative_ratio: hard negatives per positive default box.
        box_weight: weight of the box loss.

    After the call, `level_maps` holds rows and columns of each level, `level_anchors` its default
    boxes and `anchors` all of them, float32 `[A, 4]`, `[ymin, xmin, ymax, xmax]`, not clipped to
    the image; `class_layers` names the layers whose weights belong to one list of classes.

    Source: SSD paper, arXiv 1512.02325, section 2; heads and extras of the MobileNet models as in
    the TF Object Detection API, ssd_mobilenet_v1_feature_extractor.py.
    """

    stages: ClassVar = COMMON_STAGES

    def __init__(
        self,
        num_classes: int,
        *,
        anchors,
        extras: Sequence = ((256, 512), (128, 256), (128, 256), (64, 128)),
        extra_block: str = "conv_bn",
        activation: str = "relu6",
        prediction_module: str = "a",
        module_channels: tuple[int, int] = (256, 1024),
        head_kernels: int | Sequence[int] = 1,
        separable_heads: bool = False,
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
        for name, value, known in (
            ("extra_block", extra_block, blocks.EXTRA_BLOCKS),
            ("prediction_module", prediction_module, blocks.PREDICTION_MODULES),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got '{value}'.")
        self.num_classes = num_classes
        self.anchor_rule = rule_from_config(anchors) if isinstance(anchors, dict) else anchors
        self.extras = tuple(e if isinstance(e, Extra) else Extra(*e) for e in extras)
        self.extra_block = extra_block
        self.activation = activation
        self.prediction_module = prediction_module
        self.module_channels = tuple(module_channels)
        self.head_kernels = head_kernels if np.isscalar(head_kernels) else tuple(head_kernels)
        self.separable_heads = separable_heads
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

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments on a Core Network: what its row asks for, at the width of the request."""
        core = request.core
        extras = [
            dataclasses.replace(
                extra,
                reduced=request.scaled(extra.reduced),
                channels=request.scaled(extra.channels),
            )
            for extra in core.extras(min(request.maps[-1].size))
        ]
        return {
            "anchors": _anchors_for(request, extras),
            "extras": extras,
            "extra_block": core.extra_block,
            "activation": core.activation,
            "prediction_module": core.prediction_module,
            "module_channels": (request.scaled(256), request.scaled(1024)),
            "head_kernels": core.head_kernels,
        }

    @property
    def anchors(self) -> np.ndarray:
        """All default boxes, `[A, 4]`; level by level, row, column, box of the cell."""
        return np.concatenate([np.zeros((0, 4), "float32"), *self.level_anchors])

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Adds the extra levels and the heads.

        Args:
            features: symbolic feature maps `[B, H, W, C]`, finest first.
            image_size: (height, width) of the image in pixels.

        Returns:
            dict of "boxes", codes `[B, A, 4]` (dy, dx, dh, dw), and "classes", logits
            `[B, A, num_classes + 1]` with background first; both float32.
        """
        return self._predictions(self.pyramid(features), image_size, prefix="level")

    def pyramid(self, features: dict) -> list:
        """The backbone's maps and the extra levels, finest first."""
        maps = list(features.values())
        for index, extra in enumerate(self.extras, start=1):
            maps.append(
                blocks.extra_level(
                    maps[-1], extra, self.extra_block, self.activation, f"extra{index}"
                )
            )
        return maps

    def _predictions(self, maps: list, image_size: tuple[int, int], prefix: str) -> dict:
        self.level_maps = tuple(tuple(x.shape[1:3]) for x in maps)
        levels = self.anchor_rule.levels(self.level_maps, image_size)
        self.level_anchors = tuple(boxes.default_boxes([level]) for level in levels)
        kernels = self.head_kernels
        kernels = (kernels,) * len(maps) if np.isscalar(kernels) else kernels
        if len(kernels) != len(maps):
            raise ValueError(f"head_kernels has {len(kernels)} entries for {len(maps)} levels.")
        self.class_layers = tuple(f"{prefix}{index}_classes" for index in range(len(maps)))
        columns = self.num_classes + self.objective.background
        codes, logits = [], []
        for index, (x, level, kernel) in enumerate(zip(maps, levels, kernels, strict=True)):
            name = f"{prefix}{index}"
            x = blocks.prediction_module(
                x, self.prediction_module, self.module_channels, self.activation, f"{name}_module"
            )
            head = functools.partial(
                blocks.head,
                x,
                len(level.sizes),
                kernel=kernel,
                separable=self.separable_heads,
                activation=self.activation,
            )
            codes.append(head(4, name=f"{name}_boxes"))
            bias = self.objective.class_bias
            logits.append(head(columns, name=f"{name}_classes", bias=bias))
        return {
            "boxes": layers.Concatenate(axis=1, dtype="float32", name="boxes")(codes),
            "classes": layers.Concatenate(axis=1, dtype="float32", name="classes")(logits),
        }

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
        kernels = self.head_kernels
        return {
            "num_classes": self.num_classes,
            "anchors": rule_config(self.anchor_rule),
            "extras": [list(dataclasses.astuple(extra)) for extra in self.extras],
            "extra_block": self.extra_block,
            "activation": self.activation,
            "prediction_module": self.prediction_module,
            "module_channels": list(self.module_channels),
            "head_kernels": kernels if np.isscalar(kernels) else list(kernels),
            "separable_heads": self.separable_heads,
            **dataclasses.asdict(self.objective),
            "variances": list(self.variances),
        }

    @classmethod
    def from_config(cls, config: dict) -> SSD:
        """The reverse of `get_config`."""
        return cls(**config)


def _anchors_for(request: Request, extras: Sequence[Extra]):
    """The rule of a core's default boxes, with what the user wants of it."""
    core, levels = request.core, len(request.maps) + len(extras)
    rule = core.anchors(Pyramid(request.image_size, levels, extras, request.box_scale))
    if request.finest_stride not in (None, *core.finest_strides[:1]):
        halvings = math.log2(core.finest_strides[0] / request.finest_stride)
        rule = rule.with_finer_levels(int(halvings))
    if request.smallest_box is not None:
        rule = rule.with_smallest(request.smallest_box)
    return rule
