"""Class losses whose wanted scores are not 0 and 1: how well the box sits is what a score says."""

from keras import ops


def binary_cross_entropy(wanted, logits):
    """`-t log p - (1 - t) log (1 - p)`, elementwise, finite for any logits."""
    return ops.softplus(logits) - wanted * logits


def soft_focal(wanted, logits, *, gamma=2.0, alpha=0.25):
    """The focal loss with wanted scores of 0 to 1; with 0 and 1 it is the published one.

    Args:
        wanted: scores `[..., C]`, float32.
        logits: `[..., C]`.
        gamma: how little an easy answer counts.
        alpha: weight of a yes, 1 - alpha that of a no.

    Returns:
        float32 `[..., C]`.

    Source: arXiv 1708.02002; mmdet 3.3.0, py_sigmoid_focal_loss.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    p = ops.sigmoid(logits)
    missed = (1.0 - p) * wanted + p * (1.0 - wanted)
    weight = (alpha * wanted + (1.0 - alpha) * (1.0 - wanted)) * ops.power(missed, gamma)
    return weight * binary_cross_entropy(wanted, logits)


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
