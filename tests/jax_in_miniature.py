"""What a tiny detector predicts, what that costs and what it decodes, by Keras' backend.

python -m tests.jax_in_miniature TARGETS.npz FILE.npz writes it where TensorFlow cannot be imported.
JAX compiles every operation by itself, so that matching and suppression are left to slow tests.
"""

import sys

import keras
import numpy as np

BOXES = np.float32([[[0.1, 0.1, 0.7, 0.6], [0.5, 0.4, 0.9, 0.9]], [[0.2, 0.3, 0.5, 0.5], [-1] * 4]])
LABELS = np.int32([[1, 0], [1, -1]])


def detector():
    """The same weights on every backend."""
    from tests import tiny

    made, random = tiny.detector(), np.random.default_rng(0)
    drawn = [random.uniform(-0.3, 0.6, weight.shape) for weight in made.weights]
    # A variance below zero would let everything be NaN, which is equal to NaN.
    norms = [weight.path.endswith("variance") for weight in made.weights]
    made.set_weights([np.abs(x) if norm else x for x, norm in zip(drawn, norms, strict=True)])
    return made


def targets() -> dict[str, np.ndarray]:
    """What the detector is to learn of two images."""
    return as_arrays(detector().box_network.encode(BOXES, LABELS))


def results(targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that are the same on every backend, but for rounding."""
    made = detector()
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    predictions = made(images, training=False)
    boxes, scores = made.box_network.decode(predictions)
    loss = made.box_network.loss(targets, predictions)
    return as_arrays({**predictions, **loss, "decoded": boxes, "scores": scores})


def as_arrays(found) -> dict[str, np.ndarray]:
    return {key: keras.ops.convert_to_numpy(value) for key, value in found.items()}


class Blocked:
    """Finds no module of TensorFlow."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())
    # XLA takes half a minute to compile the truncated normal of weights that are replaced anyway.
    for kind in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        kind.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    np.savez(sys.argv[2], **results(dict(np.load(sys.argv[1]))))
