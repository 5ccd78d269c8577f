"""Hard negative mining: of the default boxes without an object only the worst predicted count."""

from keras import ops

_INFINITY_BITS = 0x7F800000


def hard_negatives(background_loss, positive, negative_ratio=3):
    """Mask `[B, A]` of the negatives that count: the worst predicted, per image.

    Nothing is sorted: the loss of the last one that counts is found by bisection over the bits of
    the float32 numbers, which order like integers from 0 up, and among its equals the last index
    in the same way. The result is exactly the ranking's.

    Args:
        background_loss: what each default box costs as background `[B, A]`.
        positive: bool `[B, A]`, the default boxes that have an object.
        negative_ratio: negatives per positive.
    """
    loss = ops.stop_gradient(ops.cast(background_loss, "float32"))
    negatives = ops.logical_not(positive)
    wanted = negative_ratio * ops.sum(ops.cast(positive, "int32"), axis=1, keepdims=True)
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
