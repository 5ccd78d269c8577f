"""Annotated images: sources, checks, augmentation and the input pipeline."""

from ssd_keras.data.checks import UnusableError as UnusableError
from ssd_keras.data.images import ImageError as ImageError
from ssd_keras.data.images import max_megapixels as max_megapixels
from ssd_keras.data.images import read_image as read_image
from ssd_keras.data.images import set_max_megapixels as set_max_megapixels
from ssd_keras.data.overlap import shared_images as shared_images
from ssd_keras.data.source import GroundTruth as GroundTruth
from ssd_keras.data.source import Problem as Problem
from ssd_keras.data.source import Source as Source
from ssd_keras.data.source import left_out as left_out
from ssd_keras.data.source import notes as notes
from ssd_keras.data.source import unread_notice as unread_notice
from ssd_keras.data.specs import load_source as load_source
from ssd_keras.data.specs import open_source as open_source

# Batches are made by TensorFlow, whatever the backend of Keras; all else does without.
_BATCHES = ("batch_indices", "evaluation_batches", "steps_per_epoch", "training_batches")


def __getattr__(name: str):
    if name in _BATCHES:
        from ssd_keras.data import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
