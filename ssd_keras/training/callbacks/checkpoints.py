"""When the state to resume from is written, and what is done on SIGTERM."""

from __future__ import annotations

import signal
import threading
import time

import keras
import numpy as np

from ssd_keras.display import counted
from ssd_keras.keras_compat import sync_weights
from ssd_keras.run_folder import RunFolder
from ssd_keras.training import checkpoint
from ssd_keras.training.callbacks.steps import StepCounter
from ssd_keras.training.callbacks.watches import Explosion

TERMINATED = 128 + signal.SIGTERM


class Checkpoints(keras.callbacks.Callback):
    """Writes the state to resume from every so many minutes, and when the process must end.

    On SIGTERM the step in progress is finished, the state written, and the process ends with exit
    code 143.

    Args:
        folder: the run folder, or None where another process writes it.
        steps: the counter.
        progress: how far the run was when it started or went on.
        minutes: between two checkpoints.
        within_epochs: whether checkpoints are written within an epoch. Several machines would
            have to read their losses at the same moment for it.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        steps: StepCounter,
        progress: checkpoint.Progress,
        minutes: float,
        within_epochs: bool = True,
    ):
        super().__init__()
        self.folder, self.steps, self.progress = folder, steps, progress
        self.minutes, self.within_epochs = minutes, within_epochs
        self.saved_at = time.monotonic()
        self.asked_to_end = False
        self.earlier_handler = None

    def on_train_begin(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            self.earlier_handler = signal.signal(signal.SIGTERM, self._end_soon)

    def on_train_end(self, logs=None):
        self.restore_handler()

    def restore_handler(self):
        """Gives SIGTERM back to whoever handled it before."""
        if self.earlier_handler is not None:
            signal.signal(signal.SIGTERM, self.earlier_handler)
            self.earlier_handler = None

    def _end_soon(self, *_):
        self.asked_to_end = True

    def on_train_batch_end(self, batch, logs=None):
        if self.steps.within_epoch == self.steps.steps_per_epoch:
            return  # the Recorder writes at once
        if self.asked_to_end:
            if self.within_epochs:
                self.save()
            self.end()
        if time.monotonic() - self.saved_at > 60 * self.minutes:
            self.save()

    def save(self):
        """Writes the state, unless a weight is not a number."""
        self.check_weights()
        self.write()

    def write(self):
        """Writes the state, whose weights have been checked."""
        if self.folder is not None:
            progress = checkpoint.Progress(
                self.steps.step, self.progress.rate_factor, self.progress.rollbacks
            )
            half = self.steps.within_epoch < self.steps.steps_per_epoch
            checkpoint.save_state(self.folder.state, self.model, progress, with_means=half)
            self.folder.send()
        self.saved_at = time.monotonic()

    def check_weights(self):
        """Raises `Explosion` if a weight is not a number."""
        sync_weights(self.model)
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise Explosion(
                f"A weight is not a number after step {self.steps.step}: start a new run with a "
                "lower --learning_rate. The weights of the last checkpoint are kept."
            )

    def end(self):
        """Ends the process as SIGTERM asks."""
        written = (
            checkpoint.read_progress(self.folder.state).step if self.folder else self.steps.step
        )
        epoch, within = divmod(written, self.steps.steps_per_epoch)
        print(
            f"\nAsked to end (SIGTERM): the checkpoint holds {counted(epoch, 'epoch')} and "
            f"{counted(within, 'step')}; the same command goes on from there.",
            flush=True,
        )
        self.restore_handler()
        raise SystemExit(TERMINATED)

    def end_if_asked(self):
        """Ends the process if SIGTERM has come; the last checkpoint stays."""
        if self.asked_to_end:
            self.end()


class RestoredMeans(keras.callbacks.Callback):
    """Lets the running means of a half-finished epoch go on where they were."""

    def set_model(self, model):
        super().set_model(model)
        self.values = [keras.ops.convert_to_numpy(v) for v in model.metrics_variables]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in zip(self.model.metrics_variables, self.values, strict=True):
            variable.assign(value)
