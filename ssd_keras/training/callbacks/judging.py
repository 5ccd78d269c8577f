"""The copy of the detector that is judged, and its mAP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import keras

from ssd_keras import evaluation
from ssd_keras.batch_norm import BatchStatistics
from ssd_keras.detector import Detector
from ssd_keras.keras_compat import sync_weights, weight_averages
from ssd_keras.training.callbacks.steps import StepCounter


class Judged(keras.callbacks.Callback):
    """After each epoch, gives a float32 copy the weights that are to be judged and saved.

    These are the moving averages of the weights where the optimizer keeps them. Batch
    normalisation statistics are measured anew for averaged weights, and as long as their own
    moving averages still hold something of the values they began with.

    Args:
        judged: the copy.
        steps: the counter.
        statistics: measures the statistics; None keeps the moving averages.
        batches: from the number of steps done to what it measures on.
    """

    def __init__(
        self,
        judged: Detector,
        steps: StepCounter,
        statistics: BatchStatistics | None = None,
        batches: Callable[[int], Iterable] | None = None,
    ):
        super().__init__()
        self.judged, self.steps = judged, steps
        self.statistics, self.batches = statistics, batches

    def on_epoch_end(self, epoch, logs=None):
        averaged = copy_weights(self.model, self.judged)
        if self.statistics is not None and self.statistics.lag(self.steps.step, averaged):
            self.statistics.measure(self.batches(self.steps.step))


def copy_weights(trained: keras.Model, judged: keras.Model) -> bool:
    """Copies the weights, or their moving averages where the optimizer keeps them.

    Returns:
        Whether it keeps them.
    """
    sync_weights(trained)
    judged.set_weights(trained.get_weights())
    place = {id(variable): index for index, variable in enumerate(trained.weights)}
    averages = weight_averages(trained.optimizer)
    for variable, average in averages:
        judged.weights[place[id(variable)]].assign(keras.ops.convert_to_numpy(average))
    return bool(averages)


class Evaluation(keras.callbacks.Callback):
    """Adds mAP on the evaluation data to the logs, each `every` epochs and after the last."""

    def __init__(
        self,
        judged: Detector,
        source,
        epochs: int,
        every: int,
        batch_size: int,
        end_if_asked: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self.judged, self.source = judged, source
        self.epochs, self.every, self.batch_size = epochs, every, batch_size
        self.end_if_asked = end_if_asked

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.epochs:
            return
        started = time.monotonic()
        found = evaluation.detect_source(self.judged, self.source, self.batch_size)
        self.end_if_asked()
        result = evaluation.voc_ap(self.source.ground_truth(), found, self.source.classes)
        logs["ap50"] = result["map"]
        logs["evaluation_seconds"] = time.monotonic() - started
