"""What an objective is: what a box network learns, and what its predictions then mean."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Objective(Protocol):
    """From ground truth to targets, from targets and predictions to a loss.

    Everything runs inside the compiled training step: `keras.ops`, float32, static shapes, the
    same on TensorFlow, XLA and JAX. `layout` is where the predictions stand: a
    `boxes.layout.Layout` of default boxes, or the (rows, columns) of YOLO's grid.

    Attributes:
        background: whether the class logits have a column more, the first, for no object.
        class_bias: what the bias of the layers that predict classes begins with.
    """

    @property
    def background(self) -> bool:
        """Whether the class logits have a column more, the first, for no object."""

    @property
    def class_bias(self) -> float:
        """What the bias of the layers that predict classes begins with."""

    def encode(self, boxes, labels, layout) -> dict:
        """Boxes `[B, M, 4]` and labels `[B, M]`, padded with -1 -> targets, a dict of tensors.

        What depends on predictions, such as a task-aligned assignment, is left to `loss`.
        """

    def loss(self, targets: dict, predictions: dict, layout) -> dict:
        """Scalars "loss", "class_loss", "box_loss" and "positives".

        Sums are divided by max(1, positives of the batch), or by what is given as "normalizer".
        Where positives count by their quality, "positives" is the sum of it.
        """

    def scores_of(self, predictions: dict):
        """Predictions -> scores of the classes `[B, P, C]`, float32 in 0..1."""
