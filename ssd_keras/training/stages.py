"""The stages in which DSSD is trained on top of a trained SSD."""

from __future__ import annotations

from keras import layers

from ssd_keras.box_networks import DSSD
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.training.freezing import leaf_layers

STAGES = ("joint", "stage1", "stage2")
DECODER_PREFIXES = ("fusion", "fused")


def freeze_for_stage(detector, stage: str):
    """Sets which weights of a detector learn; call it before `compile`.

    - "joint": everything learns, as in SSD.
    - "stage1": DSSD's deconvolutions and heads learn; all layers that it shares with SSD keep their
      weights, and their batch norms the moving statistics.
    - "stage2": everything learns but the batch norms.

    Args:
        detector: the `Detector`, changed in place.
        stage: one of `STAGES`.

    Raises:
        UserError: there is no such stage, or "stage1" for a detector without a decoder.

    Source: DSSD paper, arXiv 1701.06659, section 3.3; caffe-dssd. The second stage is published to
    help at 513 px only.
    """
    if stage not in STAGES:
        raise UserError(
            f"There is no stage '{stage}'.{did_you_mean(stage, STAGES)} Known: {', '.join(STAGES)}."
        )
    if stage == "stage1" and not isinstance(detector.box_network, DSSD):
        raise UserError(f"'{detector.name}' has no decoder to train alone: use a DSSD model.")
    for layer in leaf_layers(detector):
        if stage == "stage1":
            layer.trainable = layer.name.startswith(DECODER_PREFIXES)
        elif stage == "stage2":
            layer.trainable = not isinstance(layer, layers.BatchNormalization)
        else:
            layer.trainable = True
