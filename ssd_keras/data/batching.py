"""Elements in batches: prepared side by side, and again with care where one of them is damaged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

GROUP = 4  # elements that are prepared again carefully if one of them is damaged


def traced_once(make: Callable):
    """`make(source, *options)` gives a function for `batches_of`, which is traced here.

    Tracing takes a second. A source keeps what was traced, for its next batches of these options.
    """

    @functools.wraps(make)
    def give(source, *options):
        kept = source.__dict__.setdefault("_traced", {})
        key = (make.__name__, options)
        if key not in kept:
            with tf.init_scope():
                prepare, fast = make(source, *options)
                signature = [tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.bool)]
                function = tf.function(prepare, signature, autograph=False)
                kept[key] = function.get_concrete_function(), fast
        return kept[key]

    return give


def batches_of(prepare, first: int, count: int | None, size: int, fast: bool, parallelism):
    """Batches `first` to `first + count` of what `prepare` gives for each place in them.

    Args:
        prepare: a traced function of a place, counted through all batches, and whether to read
            carefully; see `traced_once`.
        first, count: the batches; None for no end.
        size: of a batch.
        fast: whether to try first without care.
        parallelism: elements prepared at a time; None lets TensorFlow choose.
    """
    group = math.gcd(size, GROUP) if fast else 1

    @tf.autograph.experimental.do_not_convert
    def element(number):
        return prepare(number, tf.constant(True))

    @tf.autograph.experimental.do_not_convert
    def hasty(number):
        return prepare(number, tf.constant(False))

    @tf.autograph.experimental.do_not_convert
    def several(number):
        # There is no "try" in a graph, but a data set may lose an element without a fault. What
        # this costs is shared by the elements of a group.
        places = tf.data.Dataset.range(number * group, (number + 1) * group)
        tried = places.map(hasty).ignore_errors()
        whole = tried.batch(group, drop_remainder=True)
        careful = places.map(element).batch(group, drop_remainder=True)
        return whole.concatenate(careful).take(1).with_options(_as_written()).get_single_element()

    last = tf.int64.max if count is None else (first + count) * size
    numbers = tf.data.Dataset.range(first * size // group, last // group)
    parts = numbers.map(
        several if fast else element,
        num_parallel_calls=parallelism or tf.data.AUTOTUNE,
        deterministic=True,
    )
    batches = parts.batch(size // group, drop_remainder=True)
    if fast:
        batches = batches.map(lambda *parts: tf.nest.map_structure(_merge_groups, _one(parts)))
    return batches.prefetch(2)


def _one(parts: tuple):
    return parts[0] if len(parts) == 1 else parts


def _merge_groups(groups):
    """`[groups, group, ...]` as `[groups * group, ...]`."""
    count, size, *rest = groups.shape
    return tf.reshape(groups, [count * size, *rest])


def _as_written():
    """Options of a data set that is too small to be worth optimising, which takes longer."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options
