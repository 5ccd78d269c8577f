"""Results of every function on fixed inputs, to compare backends: `python -m ... OUT.npz`."""

import functools
import sys

import keras
import numpy as np

from ssd_keras import boxes as box_ops
from ssd_keras.boxes.atss import atss
from ssd_keras.boxes.layout import Layout
from ssd_keras.boxes.task_aligned import task_aligned
from ssd_keras.objectives import COMBINATIONS
from ssd_keras.objectives.focal import focal_cross_entropy
from ssd_keras.objectives.multibox import multibox_loss, multibox_targets
from tests.boxes.reference import random_boxes


def results():
    """dict of arrays; identical in every backend for matches, within rounding for the rest."""
    rng = np.random.default_rng(0)
    anchors = box_ops.default_boxes(box_ops.tf_od_levels((8, 4, 2, 1)))
    boxes = np.concatenate([random_boxes(rng, 250, 12, grid=g) for g in (6, 16)])
    labels = rng.integers(0, 4, boxes.shape[:2])
    labels[::5, 3:] = -1
    codes = rng.normal(0, 1, (8, len(anchors), 4)).astype(np.float32)
    logits = rng.normal(0, 2, (8, len(anchors), 5)).astype(np.float32)

    match = _jit(lambda b: box_ops.match(b, anchors))
    targets = _jit(lambda b, y: multibox_targets(b, y, anchors))(boxes[:8], labels[:8])
    loss = _jit(multibox_loss)(targets, codes, logits)
    focal = _jit(focal_cross_entropy)(targets["classes"], logits[..., 1:])
    scores = keras.ops.softmax(logits)[..., 1:]
    decoded = box_ops.decode(codes * 0.3, anchors)
    layout = Layout.of(box_ops.tf_od_levels((8, 4, 2, 1)), (64, 64))
    assigned = {
        "atss": _jit(lambda b: atss(b, layout))(boxes[:64]),
        "aligned": _jit(lambda *given: task_aligned(*given, layout))(
            boxes[:8], labels[:8], decoded, scores
        ),
    }
    learned = {
        name: _jit(functools.partial(_learn, objective, layout))(
            boxes[:8], labels[:8], codes * 0.3, logits[..., : 4 + objective.background]
        )
        for name, objective in COMBINATIONS.items()
    }
    found = {
        "": _jit(lambda b, s: box_ops.suppress(b, s))(decoded, scores),
        "_few": _jit(lambda b, s: box_ops.suppress(b, s, max_per_class=20, max_detections=30))(
            decoded, scores
        ),
        "_agnostic": _jit(lambda b, s: box_ops.suppress(b, s, class_agnostic=True))(
            decoded, scores
        ),
    }
    # More candidates than suppression looks at together, full of ties.
    crowd = random_boxes(rng, 3, 900, grid=12)
    crowd_scores = np.round(rng.uniform(0, 1, (3, 900, 3)) * 30).astype(np.float32) / 30
    found["_crowd"] = _jit(lambda b, s: box_ops.suppress(b, s))(crowd, crowd_scores)
    tensors = {
        "match": match(boxes),
        "match_argmax": box_ops.match(boxes[:50], anchors, rule="argmax"),
        **{f"target_{k}": v for k, v in targets.items()},
        **{f"loss_{k}": v for k, v in loss.items()},
        "focal": focal,
        **{f"match_{k}": v for k, v in assigned.items()},
        **{f"objective_{n}_{k}": v for n, d in learned.items() for k, v in d.items()},
        **{f"suppress{n}_{k}": v for n, d in found.items() for k, v in d.items()},
    }
    return {k: keras.ops.convert_to_numpy(v) for k, v in tensors.items()}


def _learn(objective, layout, boxes, labels, codes, logits):
    targets = objective.encode(boxes, labels, layout)
    return objective.loss(targets, {"boxes": codes, "classes": logits}, layout)


def _jit(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function)


if __name__ == "__main__":
    # An import of TensorFlow anywhere on the way is an error here.
    sys.modules["tensorflow"] = None
    np.savez(sys.argv[1], **results())
