"""Statistics for batch norms that were folded into their convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

IMAGES = 8
SEED = 0


def restore_statistics(detector: keras.Model, names: Sequence[str], images=None):
    """Gives folded batch norms a mean and a variance, without changing what the detector computes.

    A folded batch norm has mean 0 and variance 1, whatever its input is; trained further, it would
    divide by the input's true deviation and change everything behind it. Here its mean and
    variance become those of its input, and scale and offset undo them.

    Args:
        detector: the detector, changed in place.
        names: its batch norms that were folded.
        images: `[B, H, W, 3]` RGB 0..255 to measure on; None: drawn at random with the spectrum of
            photographs.
    """
    folded = set(names)
    if not folded:
        return
    if images is None:
        images = random_pictures(IMAGES, detector.image_size, SEED)
    for model in (detector.backbone, detector):
        norms = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.BatchNormalization) and layer.name in folded
        ]
        if norms:
            inputs = keras.Model(model.input, [layer.input for layer in norms])
            measured = inputs.predict_on_batch(images)
            _restore(norms, measured if isinstance(measured, list) else [measured])


def _restore(norms: Sequence[layers.BatchNormalization], inputs: Sequence[np.ndarray]):
    for layer, values in zip(norms, inputs, strict=True):
        mean = values.mean((0, 1, 2), dtype=np.float64).astype(np.float32)
        variance = values.var((0, 1, 2), dtype=np.float64).astype(np.float32)
        gamma, beta, old_mean, old_variance = layer.get_weights()
        scale = gamma / np.sqrt(old_variance + layer.epsilon)
        layer.set_weights(
            [
                scale * np.sqrt(variance + layer.epsilon),
                beta + (mean - old_mean) * scale,
                mean,
                variance,
            ]
        )


def random_pictures(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Clouds of colour whose power falls with the square of the frequency, as in photographs.

    Returns:
        float32 `[count, H, W, 3]`, 0..255.
    """
    height, width = size
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(size))
    # Most of what a photograph varies in is brightness, not colour.
    brightness = _noise(random, (count, height, width, 1), amplitude)
    colour = _noise(random, (count, height, width, 3), amplitude)
    pictures = brightness + 0.4 * colour
    pictures /= pictures.std((1, 2, 3), keepdims=True)
    return np.clip(115 + 60 * pictures, 0, 255).astype(np.float32)


def _noise(random, shape, amplitude) -> np.ndarray:
    spectrum = np.fft.rfft2(random.normal(size=shape), axes=(1, 2))
    return np.fft.irfft2(spectrum * amplitude[None, :, :, None], s=shape[1:3], axes=(1, 2))
