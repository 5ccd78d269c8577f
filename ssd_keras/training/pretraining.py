"""Teaching a Core Network to tell objects apart before it learns to find them.

For want of ImageNet weights: crops of the annotated objects, and of the background between them,
are classified at a small size. An image of 300 px costs as much as twenty crops of 64 px, so the
backbone sees far more objects in the same time than it would inside the detector.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
from keras import layers

from ssd_keras import data
from ssd_keras.weights import load_by_name

CROP_SIZE = 64
CROPS_PER_OBJECT = 2
IMAGES_PER_DRAW = 16
BATCH_SIZE = 128
LEARNING_RATE = 4e-3


def pretrain_on_crops(
    backbone: keras.Model,
    build: Callable[[tuple[int, int]], keras.Model],
    source,
    *,
    steps: int = 600,
    seed: int = 0,
) -> float:
    """Trains the backbone's weights, in place, to classify crops of a source's objects.

    Args:
        backbone: the Core Network to teach.
        build: builds the same Core Network, with the same layer names, for another image size.
        source: a data source.
        steps: gradient steps, each on 128 crops of 64 x 64 px.
        seed: of order, crops and weights.

    Returns:
        Accuracy on the crops of the last tenth of the steps; background is one more class.
    """
    small = build((CROP_SIZE, CROP_SIZE))
    load_by_name(small, {layer.name: layer.get_weights() for layer in backbone.layers})
    last = list(small.output.values())[-1]
    logits = layers.Dense(len(source.classes) + 1, dtype="float32", name="crop_logits")(
        layers.GlobalAveragePooling2D()(last)
    )
    classifier = keras.Model(small.input, logits)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=LEARNING_RATE, warmup_steps=max(1, steps // 10)
    )
    classifier.compile(
        keras.optimizers.AdamW(schedule, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() != "tensorflow",
    )
    classifier.optimizer.build(classifier.trainable_variables)
    print(f"teaching the core network on crops: {steps} steps of {BATCH_SIZE}", flush=True)
    started, parts = time.monotonic(), min(10, steps)
    history = classifier.fit(
        crop_batches(source, seed=seed),
        steps_per_epoch=steps // parts,
        epochs=parts,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=_show(parts, started))],
        shuffle=False,
        verbose=0,
    )
    load_by_name(backbone, {layer.name: layer.get_weights() for layer in small.layers})
    return float(history.history["accuracy"][-1])


def _show(parts: int, started: float):
    def show(part, logs):
        seconds = time.monotonic() - started
        left = seconds / (part + 1) * (parts - part - 1)
        print(
            f"  {10 * (part + 1) * 10 // parts:>3} %  loss {logs['loss']:.3f}  "
            f"accuracy {logs['accuracy']:.3f}  about {left:.0f} s left",
            flush=True,
        )

    return show


def crop_batches(source, *, seed: int = 0):
    """Endless batches of crops.

    Returns:
        tf.data.Dataset of (uint8-valued float32 `[128, 64, 64, 3]`, int32 `[128]`): class labels,
        and `len(source.classes)` for the background.
    """
    import tensorflow as tf

    background = len(source.classes)

    def crop(number, batch):
        images, truth = batch
        key = tf.random.experimental.stateless_fold_in(
            tf.constant([seed % (1 << 31), 40503], tf.int64), number
        )
        count, slots = tf.shape(truth["labels"])[0], tf.shape(truth["labels"])[1]
        uniform = tf.random.stateless_uniform([3, count, slots, CROPS_PER_OBJECT], key)
        windows = object_windows(truth["boxes"], uniform)
        labels = tf.broadcast_to(truth["labels"][:, :, None], tf.shape(windows)[:3])
        uniform = tf.random.stateless_uniform([3, count, 1, CROPS_PER_OBJECT], key + 1)
        empty = background_windows(uniform)
        free = covered_share(empty, truth["boxes"]) < 0.1
        windows = tf.concat([windows, empty], 1)
        labels = tf.concat([labels, tf.where(free, background, -1)], 1)
        owner = tf.broadcast_to(tf.range(count)[:, None, None], tf.shape(labels))
        used = labels >= 0
        crops = tf.image.crop_and_resize(
            images,
            tf.boolean_mask(windows, used),
            tf.boolean_mask(owner, used),
            (CROP_SIZE, CROP_SIZE),
            extrapolation_value=117.0,
        )
        return crops, tf.boolean_mask(labels, used)

    batches = data.training_batches(
        source,
        image_size=(300, 300),
        batch_size=min(IMAGES_PER_DRAW, len(source)),
        seed=seed,
        augmentation="light",
    )
    crops = batches.enumerate().map(crop, num_parallel_calls=2, deterministic=True)
    return crops.unbatch().shuffle(8 * BATCH_SIZE, seed=seed).batch(BATCH_SIZE).prefetch(2)


def object_windows(boxes, uniform):
    """Square windows around objects, 1 to 2 times their longer side, near their centre.

    Args:
        boxes: `[B, M, 4]`.
        uniform: random numbers in 0..1, `[3, B, M, K]`.

    Returns:
        `[B, M, K, 4]`.
    """
    import tensorflow as tf

    boxes = boxes[:, :, None, :]
    longer = tf.reduce_max(boxes[..., 2:] - boxes[..., :2], -1)
    side = longer * (1.0 + uniform[0])
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    shift = (tf.stack([uniform[1], uniform[2]], -1) - 0.5) * 0.5 * longer[..., None]
    low = centre + shift - side[..., None] / 2
    return tf.concat([low, low + side[..., None]], -1)


def background_windows(uniform):
    """Square windows anywhere in the image, of 0.08 to 0.5 of its side: `[..., 4]`."""
    import tensorflow as tf

    side = 0.08 + 0.42 * uniform[0] ** 2
    low = tf.stack([uniform[1], uniform[2]], -1) * (1 - side)[..., None]
    return tf.concat([low, low + side[..., None]], -1)


def covered_share(windows, boxes):
    """Share of each window `[B, N, K, 4]` that some box of `[B, M, 4]` covers most: `[B, N, K]`."""
    import tensorflow as tf

    windows, boxes = windows[:, :, :, None, :], boxes[:, None, None, :, :]
    low = tf.maximum(windows[..., :2], boxes[..., :2])
    high = tf.minimum(windows[..., 2:], boxes[..., 2:])
    inner = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    return tf.reduce_max(inner, -1) / tf.reduce_prod(windows[..., 0, 2:] - windows[..., 0, :2], -1)
