"""An objective put together from an assignment, a class loss and a box loss."""

from __future__ import annotations

import dataclasses
import math

from keras import ops

from ssd_keras import boxes as box_ops
from ssd_keras.boxes import assigning
from ssd_keras.boxes.atss import atss
from ssd_keras.boxes.coding import encode
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.matching import force, own_anchors
from ssd_keras.boxes.task_aligned import aligned_targets, alignment, task_aligned
from ssd_keras.boxes.xla import run_with_xla
from ssd_keras.errors import require_one_of
from ssd_keras.objectives.box_losses import BOX_LOSSES, smooth_l1
from ssd_keras.objectives.checks import check_numbers, check_row, check_share
from ssd_keras.objectives.focal import PRIOR, focal_cross_entropy, zero_ignored
from ssd_keras.objectives.mining import mined_cross_entropy
from ssd_keras.objectives.soft_labels import SOFT_LOSSES

MATCHINGS = ("bipartite", "argmax", "atss", "task_aligned")
CLASS_LOSSES = ("mined", "focal", *SOFT_LOSSES)
ALL_BOX_LOSSES = ("smooth_l1", *BOX_LOSSES)
SCORES = ("softmax", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Dense:
    """An objective over all default boxes, of parts that combine freely.

    Attributes:
        scores: "softmax" over the classes and background, or "sigmoid" for each class alone, and
            then there is no background.
        variances: what codes are divided by, for centre y, centre x, height and width.
        matching: which default boxes learn an object: "bipartite" and "argmax" by overlap
            (`boxes.match`), "atss" (`boxes.atss`), "task_aligned" by what they predict
            (`boxes.task_aligned`).
        match_threshold: of "bipartite" and "argmax".
        candidates: of "atss" default boxes of each map, of "task_aligned" of all maps together.
        whole_cells: of "atss": `candidates` are cells of each map, see `boxes.atss`.
        alignment: of "task_aligned", the exponents of score and IoU.
        forced: whether an object without a default box gets its best one, as in SSD; and its best
            one learns the box with full weight, however badly it sits as yet. "bipartite" and
            "argmax" give it by themselves.
        class_loss: "mined", "focal", "quality_focal" or "varifocal". With the last two the score of
            an object is to say how well its box sits, and objects weigh as much.
        negative_ratio: of "mined", hard negatives per positive.
        min_negatives: of "mined", hard negatives of an image at least, be it without objects.
        box_loss: "smooth_l1" of the codes, or "iou", "giou", "diou", "ciou" of the boxes.
        class_weight, box_weight: weights of the two losses.

    Raises:
        ValueError: a part that there is not, or two that do not go together.
    """

    scores: str = "sigmoid"
    variances: tuple[float, ...] = box_ops.VARIANCES
    matching: str = "atss"
    match_threshold: float = 0.5
    candidates: int = 9
    whole_cells: bool = False
    alignment: tuple[float, ...] = (1.0, 6.0)
    forced: bool = True
    class_loss: str = "quality_focal"
    negative_ratio: int = 3
    min_negatives: int = 0
    box_loss: str = "giou"
    class_weight: float = 1.0
    box_weight: float = 2.0

    def __post_init__(self):
        for name, known in (
            ("scores", SCORES),
            ("matching", MATCHINGS),
            ("class_loss", CLASS_LOSSES),
            ("box_loss", ALL_BOX_LOSSES),
        ):
            require_one_of(name, getattr(self, name), known)
        if self.class_loss != "mined" and self.scores != "sigmoid":
            raise ValueError(
                f"class_loss='{self.class_loss}' takes each class alone: give scores='sigmoid'."
            )
        for name in ("forced", "whole_cells"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {value!r}.")
        check_share(self, "match_threshold")
        check_row(self, "variances", 4, above_zero=True)
        # The exponents of the score and of the IoU.
        check_row(self, "alignment", 2, above_zero=False)
        check_numbers(
            self,
            above_zero=("candidates", "negative_ratio"),
            not_negative=("min_negatives", "class_weight", "box_weight"),
            whole=("candidates", "negative_ratio", "min_negatives"),
        )

    @property
    def background(self) -> bool:
        """Whether the class logits have a column more, the first, for no object."""
        return self.scores == "softmax"

    @property
    def class_bias(self) -> float:
        """The start of the class layers' biases: objects are rare, unless negatives are mined."""
        return 0.0 if self.class_loss == "mined" else -math.log((1 - PRIOR) / PRIOR)

    @property
    def is_soft(self) -> bool:
        """Whether a score is to say how well its box sits."""
        return self.class_loss in SOFT_LOSSES

    # === Targets ===

    def encode(self, boxes, labels, layout: Layout) -> dict:
        """What is known of the targets before anything is predicted.

        Returns:
            dict of the ground truth, "boxes" `[B, M, 4]` and "labels" `[B, M]`; "own", the default
            box that each object is to have at least, int32 `[B, M]`, -1 for none; and but for
            "task_aligned" "matches", the object of each default box, int32 `[B, A]`, -1 for none.
        """
        boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
        labels = ops.cast(ops.convert_to_tensor(labels), "int32")
        if boxes.shape[1] == 0:
            # A place for an object that there is not, so that there is something to take from.
            boxes = ops.full((ops.shape(boxes)[0], 1, 4), -1.0)
            labels = ops.full((ops.shape(boxes)[0], 1), -1, dtype="int32")
        boxes = assigning.without_absent(ops.where(labels[..., None] >= 0, boxes, -1.0))
        own = own_anchors(boxes, layout.anchors) if self.forced else ops.full_like(labels, -1)
        targets = {"boxes": boxes, "labels": labels, "own": own}
        if self.matching == "task_aligned":
            return targets
        if self.matching == "atss":
            matches = atss(boxes, layout, self.candidates, whole_cells=self.whole_cells)
        else:
            matches = box_ops.match(boxes, layout.anchors, self.match_threshold, self.matching)
        return targets | {"matches": _with_own(matches, own)}

    def assign(self, targets: dict, decoded, scores, layout: Layout):
        """The object of each default box, int32 `[B, A]`, and what its score is to be, float32.

        Args:
            targets: what `encode` returns.
            decoded: predicted boxes `[B, A, 4]`.
            scores: predicted probabilities `[B, A, C]`.
            layout: the default boxes.
        """
        boxes, labels = targets["boxes"], targets["labels"]
        decoded, scores = ops.stop_gradient(decoded), ops.stop_gradient(scores)
        aligned = self.matching == "task_aligned"
        if aligned:
            alpha, beta = self.alignment
            options = {"candidates": self.candidates, "alpha": alpha, "beta": beta}
            matches = task_aligned(boxes, labels, decoded, scores, layout, **options)
            matches = _with_own(matches, targets["own"])
        else:
            matches = targets["matches"]
        if not self.is_soft:
            return matches, ops.cast(matches >= 0, "float32")
        overlap = box_ops.iou_aligned(decoded, assigning.of_object(boxes, matches))
        if not aligned:
            return matches, ops.where(matches >= 0, overlap, 0.0)
        label = assigning.of_object(labels, matches)
        score = ops.take_along_axis(scores, label[..., None], axis=-1)[..., 0]
        metric = alignment(score, overlap, *self.alignment)
        return matches, aligned_targets(matches, metric, overlap, boxes.shape[1])

    # === Loss ===

    def loss(self, targets: dict, predictions: dict, layout: Layout) -> dict:
        """Scalars "loss", "class_loss", "box_loss", "positives".

        Both sums are divided by the positives of the batch, at least 1; where scores are to say how
        well boxes sit, each positive counts as much as its wanted score.
        """
        codes = ops.cast(ops.convert_to_tensor(predictions["boxes"]), "float32")
        logits = ops.cast(ops.convert_to_tensor(predictions["classes"]), "float32")
        decoded = box_ops.decode(codes, layout.anchors, self.variances)
        scores = self.scores_of({"classes": logits})
        matches, quality = self.assign(targets, decoded, scores, layout)
        quality = ops.stop_gradient(quality)
        labels = assigning.of_object(targets["labels"] + 1, matches)
        class_sum = self._class_sum(labels, quality, logits, targets.get("ignored"))
        distance = self._box_distance(targets["boxes"], matches, codes, decoded, layout)
        positive = matches >= 0
        # An object whose only default box is forced, and overlaps it little, would hardly learn.
        weight = ops.where(_is_own(matches, targets["own"]), 1.0, quality)
        box_sum = ops.sum(weight * ops.where(positive, distance, 0.0))
        positives = ops.sum(quality)
        divisor = ops.maximum(positives, 1.0)
        class_loss = self.class_weight * class_sum / divisor
        box_loss = self.box_weight * box_sum / divisor
        return {
            "loss": class_loss + box_loss,
            "class_loss": class_loss,
            "box_loss": box_loss,
            "positives": positives,
        }

    def _class_sum(self, classes, quality, logits, ignored=None):
        """The class loss of the batch; classes are 0 for no object, else the label + 1."""
        if self.class_loss == "mined":
            return mined_cross_entropy(
                classes, logits, self.scores, self.negative_ratio, self.min_negatives, ignored
            )
        if self.class_loss == "focal":
            return ops.sum(zero_ignored(focal_cross_entropy(classes, logits), classes, ignored))
        wanted = ops.one_hot(classes - 1, logits.shape[-1], dtype="float32") * quality[..., None]
        losses = SOFT_LOSSES[self.class_loss](wanted, logits)
        if ignored is None:
            return ops.sum(losses)
        return ops.sum(zero_ignored(ops.sum(losses, axis=-1), classes, ignored))

    def _box_distance(self, boxes, matches, codes, decoded, layout: Layout):
        """What each default box's box costs, `[B, A]`; of no meaning without an object."""
        anchors = ops.convert_to_tensor(layout.anchors)
        # What has no object is compared with itself: finite numbers, finite gradients.
        wanted = ops.where((matches >= 0)[..., None], assigning.of_object(boxes, matches), anchors)
        if self.box_loss == "smooth_l1":
            return ops.sum(smooth_l1(encode(wanted, anchors, self.variances) - codes), axis=-1)
        return BOX_LOSSES[self.box_loss](decoded, wanted)

    def scores_of(self, predictions: dict):
        """Probabilities `[B, A, C]`, float32."""
        logits = ops.cast(predictions["classes"], "float32")
        if self.scores == "sigmoid":
            return ops.sigmoid(logits)
        return ops.softmax(logits, axis=-1)[..., 1:]


def _with_own(matches, own):
    """`assigning.with_lost_objects`, compiled."""
    return run_with_xla(assigning.with_lost_objects, [matches, own])


def _is_own(matches, own):
    """Which default boxes are the best one of the object that they have, bool `[B, A]`."""
    best = force(ops.full_like(matches, -1), own)
    return ops.logical_and(matches >= 0, matches == best)
