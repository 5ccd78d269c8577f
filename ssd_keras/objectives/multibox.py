"""SSD's objective: default boxes are matched with objects; classes, and codes of the boxes."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from keras import ops

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import coding
from ssd_keras.boxes.matching import RULES as MATCHINGS
from ssd_keras.boxes.xla import run_with_xla
from ssd_keras.errors import require_one_of
from ssd_keras.objectives.box_losses import smooth_l1
from ssd_keras.objectives.checks import check_numbers, check_row, check_share
from ssd_keras.objectives.focal import PRIOR, focal_cross_entropy, zero_ignored
from ssd_keras.objectives.mining import mined_cross_entropy

SCORES = ("softmax", "sigmoid")
CLASS_LOSSES = ("mined", "focal")


@dataclasses.dataclass(frozen=True)
class MultiBox:
    """The objective of SSD and DSSD.

    Attributes:
        scores: "softmax" over the classes and background, or "sigmoid" for each class alone.
        variances: what codes are divided by, for centre y, centre x, height and width.
        matching: which default boxes learn an object, see `boxes.match`.
        match_threshold: IoU from which a default box learns an object.
        class_loss: "mined", cross-entropy of the positives and of the hardest negatives; or
            "focal", over all default boxes, for "sigmoid" scores.
        negative_ratio: hard negatives per positive default box.
        min_negatives: hard negatives of an image at least; 0 as published: one without objects
            teaches nothing.
        box_weight: weight of the box loss.

    Source: SSD paper, arXiv 1512.02325, section 2.2.
    """

    scores: str = "softmax"
    variances: tuple[float, ...] = box_ops.VARIANCES
    matching: str = "bipartite"
    match_threshold: float = 0.5
    class_loss: str = "mined"
    negative_ratio: int = 3
    min_negatives: int = 0
    box_weight: float = 1.0

    background: ClassVar[bool] = True

    def __post_init__(self):
        for name, known in (
            ("scores", SCORES),
            ("matching", MATCHINGS),
            ("class_loss", CLASS_LOSSES),
        ):
            require_one_of(name, getattr(self, name), known)
        if self.class_loss == "focal" and self.scores != "sigmoid":
            raise ValueError("class_loss='focal' takes each class alone: give scores='sigmoid'.")
        check_share(self, "match_threshold")
        check_row(self, "variances", 4, above_zero=True)
        check_numbers(
            self,
            above_zero=("negative_ratio",),
            not_negative=("min_negatives", "box_weight"),
            whole=("negative_ratio", "min_negatives"),
        )

    @property
    def class_bias(self) -> float:
        """The start of the class layers' biases: for "focal", objects are rare."""
        return -math.log((1 - PRIOR) / PRIOR) if self.class_loss == "focal" else 0.0

    def encode(self, boxes, labels, anchors) -> dict:
        """The targets of every default box, a `boxes.layout.Layout` or `[A, 4]`.

        See `multibox_targets`.
        """
        return multibox_targets(
            boxes,
            labels,
            getattr(anchors, "anchors", anchors),
            variances=self.variances,
            threshold=self.match_threshold,
            rule=self.matching,
        )

    def loss(self, targets: dict, predictions: dict, _anchors=None) -> dict:
        """Scalars "loss", "class_loss", "box_loss", "positives"; see `multibox_loss`."""
        return multibox_loss(
            targets,
            predictions["boxes"],
            predictions["classes"],
            negative_ratio=self.negative_ratio,
            min_negatives=self.min_negatives,
            box_weight=self.box_weight,
            scores=self.scores,
            class_loss=self.class_loss,
        )

    def scores_of(self, predictions: dict):
        """Probabilities `[B, A, C]`, the background left out."""
        logits = ops.cast(predictions["classes"], "float32")
        if self.scores == "sigmoid":
            return ops.sigmoid(logits[..., 1:])
        return ops.softmax(logits, axis=-1)[..., 1:]


# === Targets ===


def multibox_targets(
    boxes, labels, anchors, *, variances=box_ops.VARIANCES, threshold=0.5, rule="bipartite"
):
    """What each default box has to predict.

    Args:
        boxes: ground truth, corners `[B, M, 4]`, padded with -1.
        labels: int `[B, M]` in 0..C-1, padded with -1. Boxes with a negative label are ignored.
        anchors: corners of the default boxes `[A, 4]`.
        variances: divisors of the codes.
        threshold: IoU from which a default box is matched, whoever its ground truth chose.
        rule: see `ssd_keras.boxes.match`.

    Returns:
        dict of `codes` float32 [B, A, 4] (0 where not positive), `classes` int32 [B, A]
        (0 background, label + 1), `positive` bool [B, A].
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    anchors = ops.cast(ops.convert_to_tensor(anchors), "float32")
    matches = box_ops.match(
        ops.where(labels[..., None] >= 0, boxes, -1.0), anchors, threshold, rule
    )
    if boxes.shape[1] == 0:
        codes = ops.zeros((*matches.shape, 4), "float32")
        positive = ops.zeros_like(matches, dtype="bool")
        return {"codes": codes, "classes": ops.zeros_like(matches), "positive": positive}
    variances = tuple(float(v) for v in variances)
    batched = [boxes, labels, matches]
    return run_with_xla(_encode_matches, batched, [anchors], halves=False, variances=variances)


def _encode_matches(boxes, labels, matches, anchors, *, variances):
    """The targets of `multibox_targets` from what it matched."""
    positive = matches >= 0
    rows = ops.arange(ops.shape(boxes)[0], dtype="int32")[:, None] * boxes.shape[1]
    index = ops.maximum(matches, 0) + rows
    # The logarithms are taken of M boxes, not of A.
    centers = ops.take(ops.reshape(coding.log_centers(boxes), (-1, 4)), index, axis=0)
    codes = coding.scale_codes(centers, coding.log_centers(anchors), variances)
    classes = ops.take(ops.reshape(labels, (-1,)), index, axis=0) + 1
    return {
        "codes": ops.where(positive[..., None], codes, 0.0),
        "classes": ops.where(positive, classes, 0),
        "positive": positive,
    }


# === Loss ===


def multibox_loss(
    targets,
    codes,
    logits,
    *,
    negative_ratio=3,
    min_negatives=0,
    box_weight=1.0,
    scores="softmax",
    class_loss="mined",
):
    """SSD's loss: a class loss, and smooth L1 on the codes, over the positives of the batch.

    "mined": cross-entropy of the positives and of hard negatives. Negatives are mined per image: of
    the default boxes without a match (whose IoU with every ground truth is below the threshold of
    `multibox_targets`), the `negative_ratio` times as many as positives whose background is
    predicted worst, and at least `min_negatives`; equal ones by lowest index. An image without
    positives adds nothing but these.

    Args:
        targets: what `multibox_targets` returns, and perhaps `ignored`, bool `[B, A]`: default
            boxes that are no background where they are not positive.
        codes: predicted `[B, A, 4]`.
        logits: predicted `[B, A, C + 1]`, background first.
        negative_ratio: negatives per positive.
        min_negatives: negatives of an image at least.
        box_weight: weight of the box loss.
        scores: "softmax" over all columns, or "sigmoid": each class answers yes or no, background
            is a no to all of them, and the first column is not used.
        class_loss: "mined", or "focal" for sigmoid scores, see `focal_cross_entropy`.

    Returns:
        dict of scalars `loss`, `class_loss`, `box_loss` and `positives`.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    codes = ops.cast(ops.convert_to_tensor(codes), "float32")
    classes, positive = targets["classes"], targets["positive"]
    ignored = targets.get("ignored")
    if class_loss == "focal":
        class_sum = ops.sum(
            zero_ignored(focal_cross_entropy(classes, logits[..., 1:]), classes, ignored)
        )
    else:
        columns = logits if scores == "softmax" else logits[..., 1:]
        class_sum = mined_cross_entropy(
            classes, columns, scores, negative_ratio, min_negatives, ignored
        )
    distance = smooth_l1(targets["codes"] - codes)
    box_sum = ops.sum(ops.where(positive[..., None], distance, 0.0))
    return _over_positives(class_sum, box_weight * box_sum, positive)


def _over_positives(class_sum, box_sum, positive):
    """Both sums divided by the positives of the batch, and their sum."""
    positives = ops.sum(ops.cast(positive, "float32"))
    divisor = ops.maximum(positives, 1.0)
    class_loss, box_loss = class_sum / divisor, box_sum / divisor
    return {
        "loss": class_loss + box_loss,
        "class_loss": class_loss,
        "box_loss": box_loss,
        "positives": positives,
    }
