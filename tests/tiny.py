"""A detector as small as there can be, for tests that make many."""

import contextlib
import functools

import keras
import pytest

import ssd_keras
from ssd_keras.backbones import resnet


def backbone(image_size, channels=4):
    """Two convolutions and a batch norm."""
    images = keras.Input((*image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalization")(images)
    x = keras.layers.Conv2D(channels, 3, strides=8, padding="same", name="conv1")(x)
    fine = keras.layers.BatchNormalization(name="conv1_bn")(x)
    coarse = keras.layers.Conv2D(channels, 3, strides=2, padding="same", name="conv2")(fine)
    return keras.Model(images, {"fine": fine, "coarse": coarse}, name="tiny")


def detector(classes=("cat", "dog"), channels=4, **options):
    """An SSD of that backbone for images of 32 pixels."""
    core = functools.partial(backbone, channels=channels)
    return ssd_keras.create("SSD_Tiny_32", classes, backbone=core, extras=(), **options)


@contextlib.contextmanager
def shallow_resnet101():
    """ResNet-101 whose stage of 23 equal blocks has 2; its maps and their names are the same."""
    stages = [(channels, min(blocks, 4), *rest) for channels, blocks, *rest in resnet.DILATED_101]
    stages[2] = (stages[2][0], 2, *stages[2][2:])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resnet, "DILATED_101", tuple(stages))
        yield
