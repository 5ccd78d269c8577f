"""Images of a training are looked at without taking any away from it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.training_images import watch

IMAGES = np.arange(22, dtype=np.float32).reshape(22, 1, 1, 1) * np.ones((1, 2, 2, 3), np.float32)
TRUTH = {"boxes": np.zeros((22, 1, 4), np.float32), "labels": np.zeros((22, 1), np.int32)}
SIZE = 4


class Batches(keras.utils.PyDataset):
    """The images in batches, the last one smaller."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return IMAGES[SIZE * index : SIZE * (index + 1)], TRUTH


def generator():
    for index in range(6):
        yield Batches()[index]


def numbers(batches) -> list[list[int]]:
    return [images[:, 0, 0, 0].astype(int).tolist() for images in batches]


FIRST = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (IMAGES, [[0, 1, 3, 5], [7, 9, 11, 12], [14, 16, 18, 20]]),
        (tf.constant(IMAGES), [[0, 1, 3, 5], [7, 9, 11, 12], [14, 16, 18, 20]]),
        ({"image": IMAGES}, [[0, 1, 3, 5], [7, 9, 11, 12], [14, 16, 18, 20]]),
        (tf.data.Dataset.from_tensor_slices((IMAGES, TRUTH)).batch(SIZE), FIRST),
        (tf.data.Dataset.from_tensor_slices((IMAGES, TRUTH)).repeat().batch(SIZE), FIRST),
        (Batches(), FIRST),
        ([(images, TRUTH) for images in np.split(IMAGES[:20], 5)].__iter__(), []),
    ],
    ids=["array", "tensor", "dict", "tf.data", "endless", "PyDataset", "iterator not yet used"],
)
def test_as_many_batches_as_are_asked_for(given, expected):
    same, batches = watch(given, 3, SIZE)
    assert hasattr(given, "__next__") or same is given
    assert numbers(batches()) == expected
    assert numbers(batches()) == expected


def test_a_generator_is_watched_and_loses_nothing():
    passed, batches = watch(generator(), 3)
    assert numbers(batches()) == []
    assert numbers(images for images, _ in passed) == numbers(x for x, _ in generator())
    assert numbers(batches()) == FIRST


def test_what_does_not_fill_a_batch_is_left_out():
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, TRUTH)).batch(SIZE)
    assert numbers(watch(dataset, 99)[1]()) == numbers(Batches()[i][0] for i in range(5))
    assert [len(images) for images in watch(IMAGES, 99, SIZE)[1]()] == [4] * 5
    assert [len(images) for images in watch(IMAGES, 99)[1]()] == [22]


def test_images_kept_for_validation_are_not_looked_at():
    seen = numbers(watch(IMAGES, 99, SIZE, validation_split=0.5)[1]())
    assert max(max(batch) for batch in seen) < 11
