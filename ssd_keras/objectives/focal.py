"""Focal loss: all default boxes count, the easy ones little."""

from keras import ops

# The share of objects among the default boxes that classes are predicted with at the start.
PRIOR = 0.01


def focal_cross_entropy(classes, logits, *, gamma=2.0, alpha=0.25):
    """The focal loss of each default box, summed over the classes.

    Args:
        classes: int `[B, A]`, 0 for no object, else the label + 1.
        logits: `[B, A, C]`; the classes are independent (sigmoid) and there is no background.
        gamma: how little an easy answer counts.
        alpha: weight of a yes, 1 - alpha that of a no.

    Returns:
        float32 `[B, A]`.

    Source: arXiv 1708.02002, equation 5.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    wanted = ops.one_hot(classes - 1, logits.shape[-1], dtype="float32")
    # log p of the wanted answer, yes or no
    signed = logits * (2.0 * wanted - 1.0)
    log_p = ops.log_sigmoid(signed)
    weight = alpha * wanted + (1.0 - alpha) * (1.0 - wanted)
    return ops.sum(-weight * ops.exp(gamma * ops.log_sigmoid(-signed)) * log_p, axis=-1)


def zero_ignored(losses, classes, ignored=None):
    """Losses `[B, A]` of default boxes, 0 of those that are ignored and have no object.

    Args:
        losses: of each default box `[B, A]`.
        classes: int `[B, A]`, 0 for no object.
        ignored: bool `[B, A]`, or None for none.
    """
    if ignored is None:
        return losses
    return ops.where(ops.logical_and(ignored, classes == 0), 0.0, losses)
