"""Batch normalisation statistics that belong to the weights as they are now.

Moving averages trail behind the weights and begin with a variance of 1: after a few hundred steps,
or for averaged weights, they describe another network, and a detector that trained well finds
nothing. Of a random SSD_MobileNet_300 of half the width, trained for 125 steps of 8 images of BCCD,
moving variances were up to 100 times the real ones; after 250 steps mAP@0.5 was 0.006 with the
moving averages, and 0.54 with statistics measured on 2 batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable

import keras
import numpy as np

from ssd_keras.float32 import float32_model
from ssd_keras.jit import jit
from ssd_keras.keras_compat import steps_seen, sync_weights, unscaled_optimizer
from ssd_keras.traversal import leaf_layers

# Training batches that statistics are measured on.
BATCHES = 16


class BatchStatistics:
    """Measures the statistics of a detector's batch normalisations anew.

    Args:
        detector: the detector, in float32.
        frozen: names of batch normalisations that keep their statistics.
    """

    def __init__(self, detector: keras.Model, frozen: Collection[str] = ()):
        norms = _norms(detector)
        self.detector = detector
        self.free = [layer for layer in norms if layer.name not in frozen]
        self.fixed = [layer for layer in norms if layer.name in frozen]
        self.forward = jit(
            lambda trainable, rest, images: detector.stateless_call(
                trainable, rest, images, training=True
            )[1]
        )

    @property
    def horizon(self) -> float:
        """Steps after which nothing of their starting values is left in the moving averages."""
        return max((10 / (1 - layer.momentum) for layer in self.free), default=0.0)

    def lag(self, step: int, averaged: bool) -> bool:
        """Whether the moving averages describe other weights than those of now.

        Args:
            step: training steps done.
            averaged: whether the weights are moving averages themselves.
        """
        return bool(self.free) and (averaged or step < self.horizon)

    def measure(self, batches: Iterable):
        """Sets means and variances to those of all images of `batches`, `(images, _)` each.

        The variance is that within the batches plus that between them.
        """
        if not self.free:
            return
        means, variances = [], []
        with self._as_training_sees_them():
            variables = self.detector.non_trainable_variables
            trainable = [v.value for v in self.detector.trainable_variables]
            rest = [v.value for v in variables]
            place = {id(variable): index for index, variable in enumerate(variables)}
            for images, _ in batches:
                after = self.forward(trainable, rest, np.asarray(images))
                means.append([_of(after, place, layer.moving_mean) for layer in self.free])
                variances.append([_of(after, place, layer.moving_variance) for layer in self.free])
        if not means:
            return
        for index, layer in enumerate(self.free):
            mean = np.stack([batch[index] for batch in means])
            within = np.stack([batch[index] for batch in variances])
            layer.moving_mean.assign(mean.mean(axis=0))
            layer.moving_variance.assign(within.mean(axis=0) + mean.var(axis=0))

    @contextlib.contextmanager
    def _as_training_sees_them(self):
        """With momentum 0 the moving averages after a batch are the statistics of that batch."""
        momenta = [layer.momentum for layer in self.free]
        trained = [layer.trainable for layer in self.fixed]
        for layer in self.free:
            layer.momentum = 0.0
        for layer in self.fixed:
            layer.trainable = False
        try:
            yield
        finally:
            for layer, momentum in zip(self.free, momenta, strict=True):
                layer.momentum = momentum
            for layer, trainable in zip(self.fixed, trained, strict=True):
                layer.trainable = trainable


class MeasuredStatistics(keras.callbacks.Callback):
    """Gives the model of a `fit` the statistics of its weights while moving averages lag.

    At the end of the training, and before whatever looks at the model on the way: validations and
    other callbacks, which must come after this one. Moving averages do not take part in the
    training, so it goes on as it would have. Frozen batch normalisations keep what they have.

    Args:
        batches: gives the images `[B, H, W, 3]` of some training batches.
        on_the_way: whether anything looks at the model before the end.
    """

    def __init__(self, batches: Callable[[], Iterable[np.ndarray]], on_the_way: bool):
        super().__init__()
        self.batches, self.on_the_way = batches, on_the_way
        self.measured_at = None

    def on_test_begin(self, logs=None):
        self._measure(averaged=False)

    def on_epoch_end(self, epoch, logs=None):
        if self.on_the_way:
            self._measure(averaged=False)

    def on_train_end(self, logs=None):
        self._measure(averaged=unscaled_optimizer(self.model.optimizer).use_ema)

    def _measure(self, averaged: bool):
        sync_weights(self.model)
        statistics = _statistics_of(self.model)
        step = steps_seen(self.model.optimizer)
        if self.measured_at == (step, averaged) or not statistics.lag(step, averaged):
            return
        self.measured_at = (step, averaged)
        copy = statistics.detector
        if copy is not self.model:
            copy.set_weights(self.model.get_weights())
        statistics.measure((images, None) for images in self.batches())
        if copy is not self.model:
            _copy_statistics(copy, self.model)


def _statistics_of(model: keras.Model) -> BatchStatistics:
    """What measures a model's statistics; kept, since compiling it anew takes seconds."""
    frozen = frozenset(layer.name for layer in leaf_layers(model) if not layer.trainable)
    kept = model.__dict__.setdefault("_batch_statistics", {})
    if frozen not in kept:
        kept.clear()
        kept[frozen] = BatchStatistics(float32_model(model), frozen)
    return kept[frozen]


def _norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    layers = leaf_layers(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def _copy_statistics(source: keras.Model, target: keras.Model):
    for theirs, ours in zip(_norms(source), _norms(target), strict=True):
        ours.moving_mean.assign(theirs.moving_mean)
        ours.moving_variance.assign(theirs.moving_variance)


def _of(values, place: dict, variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(values[place[id(variable)]])
