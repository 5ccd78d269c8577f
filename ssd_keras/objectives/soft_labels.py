"""Class losses whose wanted scores are not 0 and 1: how well the box sits is what a score says."""

from keras import ops


def binary_cross_entropy(wanted, logits):
    """`-t log p - (1 - t) log (1 - p)`, elementwise, finite for any logits."""
    return ops.softplus(logits) - wanted * logits


def quality_focal(wanted, logits, *, beta=2.0):
    """The quality focal loss: what is predicted well counts little, whatever score is wanted.

    Args:
        wanted: scores `[..., C]`, float32: the quality at an object's class, else 0.
        logits: `[..., C]`.
        beta: how little a good answer counts.

    Returns:
        float32 `[..., C]`.

    Source: Generalized Focal Loss, arXiv 2006.04388, equation 2.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    away = ops.abs(wanted - ops.sigmoid(logits))
    return ops.power(away, beta) * binary_cross_entropy(wanted, logits)


def varifocal(wanted, logits, *, gamma=2.0, alpha=0.75):
    """The varifocal loss: easy negatives count little; positives count as much as they are good.

    Args:
        wanted: scores `[..., C]`, float32: the quality at an object's class, else 0.
        logits: `[..., C]`.
        gamma: how little an easy negative counts.
        alpha: weight of negatives.

    Returns:
        float32 `[..., C]`.

    Source: VarifocalNet, arXiv 2008.13367, equation 2.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    negative = alpha * ops.power(ops.sigmoid(logits), gamma)
    weight = ops.where(wanted > 0, wanted, negative)
    return weight * binary_cross_entropy(wanted, logits)


SOFT_LOSSES = {"quality_focal": quality_focal, "varifocal": varifocal}
