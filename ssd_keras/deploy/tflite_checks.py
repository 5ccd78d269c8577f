"""What is noticed of a converted file before anybody runs it."""

from __future__ import annotations

import math
import warnings

import keras
import numpy as np

from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.display import first_names
from ssd_keras.resizing import LETTERBOX

# int8 networks that keep their mAP to 0.04 change the scores of objects by 0.001 to 0.05 (a dozen
# detectors), those that lose most of it by more than 0.2.
LARGEST_SCORE_CHANGE = 0.1
NAMED = 5


def check_weights(file: TFLiteFile, model: keras.Model, quantization: str):
    """Notices a file without weights, which would load, run, and see nothing."""
    bytes_per_weight = {"none": 4, "float16": 2}.get(quantization, 1)
    # Batch normalisation is folded into the convolutions, so a part of the weights goes.
    kernels = [weight for weight in model.weights if len(weight.shape) == 4]
    expected = sum(math.prod(weight.shape) for weight in kernels) * bytes_per_weight
    found = file.constant_bytes()
    if found < 0.9 * expected:
        raise RuntimeError(
            f"The converted file holds {found} bytes of constants, but the model's kernels alone "
            f"take {expected}: weights were lost in the conversion."
        )


def check_pixels(file: TFLiteFile):
    """Notices an int8 file that would not take the bytes of an image for its pixels."""
    (image,) = file.graph.inputs
    found = file.graph.tensors[image].quantization
    if not np.allclose(found.scale, 1.0, atol=1e-6) or any(found.zeroPoint):
        raise RuntimeError(
            f"The converted file takes a pixel p for (p - {found.zeroPoint}) * {found.scale}, not "
            "for p: the calibration images do not reach from 0 to 255."
        )


def warn_of_explosions(explosions: dict[str, float], images: int):
    """Warns of images that were left out of the calibration; see `Calibration.explosions`."""
    named = [f"{name} ({ratio:.3g} times)" for name, ratio in explosions.items()]
    warnings.warn(
        f"{len(explosions)} of {images} calibration images are left out, since the network's raw "
        f"outputs are far larger there than usual: {first_names(named, NAMED)}. Look at what the "
        "detector finds in them: it may be wrong there in float32 too. Longer training often mends "
        "it.",
        stacklevel=2,
    )


def warn_of_mediapipe(detector: keras.Model):
    """Warns of a detector that looks at images otherwise than MediaPipe does."""
    if detector.resize == LETTERBOX:
        warnings.warn(
            "MediaPipe stretches images to the input, but this detector learned letterboxed ones: "
            "boxes come out wrong unless the app letterboxes images before and moves boxes back "
            "(the Android sample's MediaPipeDetector.kt does). target=cpu with one of the other "
            "samples needs none of that.",
            stacklevel=2,
        )
    if getattr(detector, "tiling", None) is not None:
        warnings.warn(
            f"MediaPipe looks at whole images, but this detector learned on {detector.tiling}: it "
            "finds less unless the app cuts images before and joins what is found (the Android "
            "sample's MediaPipeDetector.kt does). target=cpu with one of the other samples needs "
            "none of that.",
            stacklevel=2,
        )


def warn_of_changed_scores(change: float):
    """Warns of an int8 network that no longer tells objects apart; see `parity.score_change`."""
    if change > LARGEST_SCORE_CHANGE:
        warnings.warn(
            f"int8 changes the scores of objects by {change:.2f} on average, on images that it was "
            "calibrated with: the file will miss much of what the detector finds. Often the "
            "network's values explode on a few images. Look at what it finds in the training "
            "images, train longer, or take float16; ssd-keras export-report names the layers.",
            stacklevel=2,
        )
