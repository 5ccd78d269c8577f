"""Random weights from which deep networks without shortcuts learn quickly."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("ssd_keras")
class NearIdentity(keras.initializers.Initializer):
    """Kernels that hand on what they get, with some noise.

    Each output channel copies one input channel at the kernel's centre, so that at the start a deep
    layer sees what the first layer saw, as in a residual network. Purely random depthwise kernels
    blur it away instead: 13 of them in a row leave little to learn from.

    Args:
        depthwise: for kernels `[h, w, channels, 1]` of depthwise convolutions; else
            `[h, w, inputs, outputs]`.
        seed: of the noise; None follows `keras.utils.set_random_seed`.

    Source: Dirac weights, arXiv 1706.00388, section 3; here initial weights only.
    """

    def __init__(self, depthwise: bool = False, seed: int | None = None):
        self.depthwise = depthwise
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """Returns the kernel."""
        height, width, inputs, outputs = shape
        kernel = np.zeros(shape)
        middle = kernel[height // 2, width // 2]
        if self.depthwise:
            middle[:] = 1.0
            deviation = 0.15
        else:
            copies = np.arange(outputs)
            middle[copies % inputs, copies] = 1.0
            deviation = 0.5 / np.sqrt(height * width * inputs)
        noise = keras.initializers.RandomNormal(stddev=deviation, seed=self.seed)(shape)
        dtype = dtype or keras.config.floatx()
        return ops.cast(
            ops.convert_to_tensor(kernel, "float32") + ops.cast(noise, "float32"), dtype
        )

    def get_config(self) -> dict:
        """The arguments."""
        return {"depthwise": self.depthwise, "seed": self.seed}
