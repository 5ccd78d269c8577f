"""What ends a run that is lost: its loss, or its images."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from ssd_keras.data.source import Source, unread_notice
from ssd_keras.data.verdict import MOST_LOST
from ssd_keras.errors import UserError
from ssd_keras.training.callbacks.steps import StepCounter

# Far beyond the loss of any detector that learns, random weights included.
EXPLODED = 1e4


class Explosion(UserError):
    """The loss is not a number, or so large that the run is lost."""


class LossWatch(keras.callbacks.Callback):
    """Raises `Explosion` as soon as the loss is not a number or explodes.

    Args:
        steps: the counter.
        ids_of_batch: from a step to the ids of its images.
        precision: the dtype policy of the training.
    """

    def __init__(
        self, steps: StepCounter, ids_of_batch: Callable[[int], list[str]], precision: str
    ):
        super().__init__()
        self.steps, self.ids_of_batch, self.precision = steps, ids_of_batch, precision
        self.mean = 0.0

    def on_train_batch_end(self, batch, logs=None):
        count, before = self.steps.within_epoch, self.mean
        self.mean = float(logs["loss"])
        # Keras gives the mean since the epoch began; after a restart the first is a mean itself.
        loss = self.mean if batch == 0 else self.mean * count - before * (count - 1)
        if not np.isfinite(self.mean):
            loss = self.mean
        if not np.isfinite(loss) or loss > EXPLODED:
            raise Explosion(self._message(loss))

    def _message(self, loss: float) -> str:
        step = self.steps.step - 1
        epoch, within = divmod(step, self.steps.steps_per_epoch)
        ids = ", ".join(self.ids_of_batch(step))
        half = (
            " Or a number beyond the 65504 of float16: --precision=mixed_bfloat16 or float32 goes "
            "further."
            if self.precision == "mixed_float16"
            else ""
        )
        return (
            f"The loss became {loss:g} in step {within + 1} of epoch {epoch + 1}. The learning "
            f"rate is the usual cause: start a new run with a lower --learning_rate, or let "
            f"--on_nan=rollback lower it.{half} Or an annotation: ssd-keras check-data looks at "
            f"all of them; the images of this batch were {ids}. The weights of the last "
            "checkpoint are kept."
        )


class ReadWatch(keras.callbacks.Callback):
    """Ends the run when more of its images turn out unreadable than may be lost of a data set."""

    def __init__(self, source: Source, share: float = MOST_LOST):
        super().__init__()
        self.source, self.share = source, share

    def on_train_batch_end(self, batch, logs=None):
        lost = len(self.source.unread)
        if lost > self.share * len(self.source) or lost == len(self.source):
            raise UserError(
                f"{unread_notice(self.source)}. Too few are left to train on: see "
                "ssd-keras check-data."
            )
