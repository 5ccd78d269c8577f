"""The stages in which DSSD is trained on top of a trained SSD."""

from __future__ import annotations

from ssd_keras.errors import UserError, unknown
from ssd_keras.traversal import leaf_layers

STAGES = ("joint", "stage1", "stage2")


def freeze_for_stage(detector, stage: str):
    """Sets which weights of a detector learn; call it before `compile`.

    - "joint": everything learns, as in SSD.
    - "stage1": DSSD's deconvolutions and heads learn; all layers that it shares with SSD keep their
      weights, and their batch norms the moving statistics. Of FPN, FPNLite and PANLite everything
      but the core learns.
    - "stage2": everything learns but the batch norms.

    Which layers these are says the box network, in its `stages`.

    Args:
        detector: the `Detector`, changed in place.
        stage: one of `STAGES`.

    Raises:
        UserError: there is no such stage, or "stage1" for a detector without a decoder.

    Source: DSSD paper, arXiv 1701.06659, section 3.3; caffe-dssd. The second stage is published to
    help at 513 px only.
    """
    stages = detector.box_network.stages
    if stage not in (*stages, *STAGES):
        raise unknown("stage", stage, STAGES)
    if stage not in stages:
        raise UserError(
            f"'{detector.name}' has no decoder to train alone: use a model of DSSD, DSSDLite, FPN, "
            "FPNLite or PANLite."
        )
    for layer in leaf_layers(detector):
        layer.trainable = stages[stage](layer)
