"""Images of a source as tensors: from an index to pixels, within a graph of TensorFlow."""

from __future__ import annotations

import io
import os

import numpy as np
import tensorflow as tf

from ssd_keras.data import augmentation as augment
from ssd_keras.data import images, jpeg
from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import Source


def image_reader(source: Source, cache_bytes: int):
    """A TensorFlow function from an index to an image uint8 and whether it could be read.

    Returns:
        the function of the index and whether to read carefully: without care, a damaged file is a
        fault of the step; and whether reading without care is faster at all.
    """
    reader = _Careful(source, cache_bytes)
    are_quick = source.standard_jpeg | _may_be_jpeg(source)
    quick_ones = tf.constant(are_quick)
    encoded, as_stated = _encoded_reader(source), _stated_jpeg(source)

    def slow(index):
        image, readable = tf.numpy_function(reader, [index], (tf.uint8, tf.bool), stateful=False)
        image.set_shape([None, None, 3])
        readable.set_shape([])
        return image, readable

    def quick(index):
        # The accurate method gives the pixels that Pillow gives.
        data = as_stated(index, encoded(index))
        image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return image, tf.constant(True)

    if reader.caches or not are_quick.any():
        return lambda index, careful: slow(index), False

    def read(index, careful):
        return tf.cond(quick_ones[index] & ~careful, lambda: quick(index), lambda: slow(index))

    return read, True


def _may_be_jpeg(source: Source) -> np.ndarray:
    """bool `[N]`, images that were not opened yet and are called JPEGs."""
    paths = table_of(source.ground_truth()).paths
    called = [bool(path) and path.lower().endswith((".jpg", ".jpeg")) for path in paths]
    return source.believed & np.array(called, bool)


def _stated_jpeg(source: Source):
    """A TensorFlow function from an index and the bytes of its file to those bytes.

    Of an image whose size is believed, only if it is a JPEG of that size which every decoder reads
    alike; else it gives nothing, which is a fault of the decoder's.
    """
    if not source.believed.any():
        return lambda index, data: data
    sizes = table_of(source.ground_truth()).sizes
    is_believed = tf.constant(source.believed)

    def check(index, data):
        found = jpeg.plain_size(io.BytesIO(data), lambda: images.is_upright(data))
        return data if found == tuple(sizes[index].tolist()) else b""

    def checked(index, data):
        found = tf.numpy_function(check, [index, data], tf.string, stateful=False)
        return tf.ensure_shape(found, [])

    return lambda index, data: tf.cond(
        is_believed[index], lambda: checked(index, data), lambda: data
    )


def _encoded_reader(source: Source):
    """A TensorFlow function from an index to the bytes of the image file."""
    paths = [os.fsencode(path or "") for path in table_of(source.ground_truth()).paths]
    places = tf.constant(paths)

    def read_packed(index):
        data = tf.numpy_function(
            lambda i: source.encoded(int(i)), [index], tf.string, stateful=False
        )
        return tf.ensure_shape(data, [])

    def file(index):
        return tf.io.read_file(places[index])

    if all(paths):
        return file
    if not any(paths):
        return read_packed
    return lambda index: tf.cond(
        places[index] == "", lambda: read_packed(index), lambda: file(index)
    )


class _Careful:
    """Reads images in Python, keeps them if all fit, and survives those it cannot read."""

    def __init__(self, source: Source, cache_bytes: int):
        self.source = source
        sizes = table_of(source.ground_truth()).sizes
        self.caches = 3 * int(sizes.prod(1).sum()) <= cache_bytes
        # By the source, so that there is one of them for all batches that are made of it.
        kept = source.__dict__.setdefault("_decoded", {}) if self.caches else {}
        self.kept: dict[int, np.ndarray] = kept

    def __call__(self, index) -> tuple[np.ndarray, np.bool_]:
        index = int(index)
        image = self.kept.get(index)
        if image is None:
            image = self.source.try_image(index)
            if image is None:
                return np.full((32, 32, 3), augment.FILL, np.uint8), np.False_
            if self.caches:
                self.kept[index] = image
        return image, np.True_
