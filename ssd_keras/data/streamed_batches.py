"""Training batches of records that are read in sequence, see `streamed`.

In each epoch the files come in another order, a few of them at a time, and their records go through
a shuffle buffer. All of it is a function of the seed and the epoch, so a run that is stopped goes
on with the images that it would have seen; to come there it reads what stands before them in their
epoch once more.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from ssd_keras.data.streamed import StreamedSource

# Encoded images that wait to be drawn; some hundred megabytes of photographs.
SHUFFLED = 2048
FILES_AT_A_TIME = 8


def batches(
    source: StreamedSource,
    prepare: Callable,
    batch_size: int,
    seed: int,
    first_step: int,
    steps: int | None,
    shard: tuple[int, int],
    parallelism: int | None,
):
    """Batches of what `prepare` makes of records.

    Args:
        source: where the records come from.
        prepare: TensorFlow function of step, slot and `read`, which gives image, boxes and labels.
        batch_size: over all shards.
        seed: of the order.
        first_step, steps: the batches, counted from the start of training; None goes on for ever.
        shard: (index, count) of this worker. Each reads all records, and prepares its share.
        parallelism: records prepared at a time; None lets TensorFlow choose.
    """
    part, parts = shard
    share = batch_size // parts
    numbered = _number_records(source, batch_size, seed, first_step)
    if steps is not None:
        numbered = numbered.take(steps * batch_size)
    numbered = numbered.filter(lambda number, _: number % batch_size // share == part)

    def made(number, record):
        return prepare(number // batch_size, number % batch_size, _reader(source, number, record))

    made = tf.autograph.experimental.do_not_convert(made)
    prepared = numbered.map(
        made, num_parallel_calls=parallelism or tf.data.AUTOTUNE, deterministic=True
    )
    return prepared.batch(share, drop_remainder=True).prefetch(2)


def _reader(source: StreamedSource, number, record) -> Callable:
    def read_record(record, number):
        return source.read(record, int(number))

    def read(*_):
        kinds = (tf.uint8, tf.float32, tf.int32)
        image, boxes, labels = tf.numpy_function(
            read_record, [record, number], kinds, stateful=False
        )
        image.set_shape([None, None, 3])
        boxes.set_shape([None, 4])
        labels.set_shape([None])
        return image, boxes, labels

    return read


def _number_records(source: StreamedSource, batch_size: int, seed: int, first_step: int):
    """Places in the batches, counted from the start of training, and records."""
    per_epoch = max(1, len(source) // batch_size)
    first, within = divmod(first_step, per_epoch)
    files = tf.constant(source.files)

    def of_epoch(epoch):
        return _records(files, seed, epoch, per_epoch * batch_size)

    epochs = tf.data.Dataset.range(first, tf.int64.max).flat_map(of_epoch)
    return epochs.skip(within * batch_size).enumerate(start=first_step * batch_size)


def _records(files, seed: int, epoch, count: int):
    """The records of an epoch; where there are fewer than `count`, again from the beginning.

    What follows a damaged place of a file is left out, which TensorFlow says.
    """
    key = tf.stack([tf.constant(seed % (1 << 31), tf.int32), tf.cast(epoch, tf.int32)])
    number = len(files)
    order = tf.random.experimental.index_shuffle(tf.range(number), key, number - 1)
    records = tf.data.Dataset.from_tensor_slices(tf.gather(files, order)).interleave(
        lambda file: tf.data.TFRecordDataset(file).ignore_errors(log_warning=True),
        cycle_length=min(FILES_AT_A_TIME, number),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    mixed = tf.cast(seed % (1 << 31), tf.int64) + (epoch + 1) * 1_000_003
    # The seed of this graph alone, so that the order depends on no other; with 0 TensorFlow would
    # ask whether `mixed`, a tensor, is 0.
    tf.compat.v1.set_random_seed(1)
    shuffled = records.shuffle(SHUFFLED, seed=mixed, reshuffle_each_iteration=False)
    return shuffled.repeat().take(count)
