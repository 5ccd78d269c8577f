"""What a tiny detector predicts, learns from and finds, by the backend that Keras runs on.

python -m tests.jax_in_miniature FILE writes it where TensorFlow cannot be imported.
"""

import sys

import keras
import numpy as np

BOXES = np.float32([[[0.1, 0.1, 0.7, 0.6], [0.5, 0.4, 0.9, 0.9]], [[0.2, 0.3, 0.5, 0.5], [-1] * 4]])
LABELS = np.int32([[1, 0], [1, -1]])


def results() -> dict[str, np.ndarray]:
    """Arrays that are the same on every backend, but for rounding."""
    from ssd_keras.boxes import suppress
    from tests import tiny

    detector = tiny.detector()
    random = np.random.default_rng(0)
    detector.set_weights([random.uniform(-0.3, 0.6, w.shape) for w in detector.get_weights()])
    images = random.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    network = detector.box_network
    predictions = detector(images, training=False)
    targets = network.encode(BOXES, LABELS)
    boxes, scores = network.decode(predictions)
    found = {
        **{f"predicted {key}": value for key, value in predictions.items()},
        **{f"target {key}": value for key, value in targets.items()},
        **network.loss(targets, predictions),
        **{f"found {key}": value for key, value in suppress(boxes, scores, xla=False).items()},
    }
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
    np.savez(sys.argv[1], **results())
