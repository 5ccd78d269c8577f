"""Hard negative mining: of the default boxes without an object only the worst predicted count."""

from keras import ops

_INFINITY_BITS = 0x7F800000


def mined_cross_entropy(
    classes, logits, scores="softmax", negative_ratio=3, min_negatives=0, ignored=None
):
    """Cross-entropy of the positives and of hard negatives, summed over the batch.

    Args:
        classes: int `[B, A]`, 0 for no object, else the label + 1.
        logits: for "softmax" `[B, A, C + 1]`, background first; for "sigmoid" `[B, A, C]`: each
            class answers yes or no, and background is a no to all of them.
        scores: "softmax" or "sigmoid".
        negative_ratio, min_negatives, ignored: see `hard_negatives`.
    """
    positive = classes > 0
    cross_entropy, background_loss = _CROSS_ENTROPIES[scores](classes, logits)
    negative = hard_negatives(background_loss, positive, negative_ratio, min_negatives, ignored)
    counted = ops.logical_or(positive, negative)
    return ops.sum(ops.where(counted, cross_entropy, 0.0))


def _softmax_cross_entropy(classes, logits):
    """What each default box `[B, A]` costs as it is, and what it would cost as background."""
    log_p = ops.log_softmax(logits, axis=-1)
    cross_entropy = -ops.take_along_axis(log_p, classes[..., None], axis=-1)[..., 0]
    return cross_entropy, -log_p[..., 0]


def _sigmoid_cross_entropy(classes, logits):
    """The same for classes that answer yes or no."""
    # log(1 + e^x) is what a no to a class of logit x costs, and x less for a yes.
    background_loss = ops.sum(ops.softplus(logits), axis=-1)
    label = ops.maximum(classes - 1, 0)
    of_class = ops.take_along_axis(logits, label[..., None], axis=-1)[..., 0]
    return background_loss - ops.where(classes > 0, of_class, 0.0), background_loss


_CROSS_ENTROPIES = {"softmax": _softmax_cross_entropy, "sigmoid": _sigmoid_cross_entropy}


def hard_negatives(background_loss, positive, negative_ratio=3, min_negatives=0, ignored=None):
    """Mask `[B, A]` of the negatives that count: the worst predicted, per image.

    Nothing is sorted: the loss of the last one that counts is found by bisection over the bits of
    the float32 numbers, which order like integers from 0 up, and among its equals the last index
    in the same way. The result is exactly the ranking's.

    Args:
        background_loss: what each default box costs as background `[B, A]`.
        positive: bool `[B, A]`, the default boxes that have an object.
        negative_ratio: negatives per positive.
        min_negatives: negatives of an image at least, so that one without objects teaches, too.
        ignored: bool `[B, A]`, those that are no negatives either; None for none.
    """
    loss = ops.stop_gradient(ops.cast(background_loss, "float32"))
    negatives = ops.logical_not(positive if ignored is None else ops.logical_or(positive, ignored))
    wanted = negative_ratio * ops.sum(ops.cast(positive, "int32"), axis=1, keepdims=True)
    wanted = ops.maximum(wanted, min_negatives)
    # -log p is never below 0; the maximum turns -0 and rounding into 0, and NaN ranks last.
    loss = ops.where(loss > 0, loss, 0.0)
    bits = ops.where(negatives, ops.view(loss, dtype="int32"), -1)
    zero = ops.zeros_like(wanted)
    last = _bisect(zero, zero + _INFINITY_BITS, lambda x: _count(bits >= x) >= wanted, 31)
    equal = bits == last
    missing = wanted - _count(bits > last)
    # Largest prefix of the indices that holds no more equals than are missing.
    size = positive.shape[1]
    index = ops.arange(size, dtype="int32")[None]
    prefix = _bisect(
        zero,
        zero + size,
        lambda n: _count(ops.logical_and(equal, index < n)) <= missing,
        size.bit_length() + 1,
    )
    chosen = ops.logical_or(bits > last, ops.logical_and(equal, index < prefix))
    return ops.logical_and(ops.logical_and(chosen, negatives), wanted > 0)


def _count(mask):
    """How many of each row `[B, A]` hold, `[B, 1]`."""
    return ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)


def _bisect(low, high, holds, steps):
    """Largest number in low..high that `holds`, which is true up to it."""

    def body(i, low, high):
        middle = low + (high - low + 1) // 2
        true = holds(middle)
        return i + 1, ops.where(true, middle, low), ops.where(true, high, middle - 1)

    start = ops.convert_to_tensor(0, "int32")
    return ops.while_loop(lambda i, *_: i < steps, body, (start, low, high))[1]
