"""How many steps are done, and what is shown of it."""

from __future__ import annotations

import sys
import time

import keras

PROGRESS_SECONDS = 1.0
PROGRESS_SECONDS_WITHOUT_TERMINAL = 60.0


class StepCounter(keras.callbacks.Callback):
    """Counts the steps of the whole run, and says that the first one takes its time.

    `step` is how many are done; it must be the first of the callbacks.
    """

    def __init__(self, step: int, steps_per_epoch: int):
        super().__init__()
        self.step, self.steps_per_epoch = step, steps_per_epoch
        self.started = False

    def on_train_batch_begin(self, batch, logs=None):
        if not self.started:
            self.started = True
            print(
                "Preparing the first step: nothing moves for 10 to 60 seconds while "
                f"{keras.backend.backend()} traces the network ...",
                flush=True,
            )

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1

    @property
    def within_epoch(self) -> int:
        """Steps done in the epoch of the newest step, 1 to steps_per_epoch."""
        return (self.step - 1) % self.steps_per_epoch + 1


class ProgressLine(keras.callbacks.Callback):
    """Shows how far the epoch is."""

    def __init__(self, steps: StepCounter, epochs: int, batch_size: int):
        super().__init__()
        self.steps, self.epochs, self.batch_size = steps, epochs, batch_size
        self.terminal = sys.stdout.isatty()

    def on_epoch_begin(self, epoch, logs=None):
        self.first = self.steps.step
        self.epoch_started = self.shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        now, per_epoch = time.monotonic(), self.steps.steps_per_epoch
        pause = PROGRESS_SECONDS if self.terminal else PROGRESS_SECONDS_WITHOUT_TERMINAL
        if now - self.shown < pause or self.steps.within_epoch == per_epoch:
            return
        self.shown = now
        rate = (self.steps.step - self.first) / (now - self.epoch_started)
        steps_left = per_epoch * self.epochs - self.steps.step
        line = (
            f"epoch {self.steps.step // per_epoch + 1:>3}/{self.epochs}  "
            f"step {self.steps.within_epoch}/{per_epoch}  loss {float(logs['loss']):.3f}  "
            f"{rate * self.batch_size:.1f} images/s  about {duration(steps_left / rate)} left"
        )
        print(f"\r{line:<78}" if self.terminal else line, end="" if self.terminal else "\n")
        sys.stdout.flush()

    def on_epoch_end(self, epoch, logs=None):
        done = self.steps.step - self.first
        seconds = time.monotonic() - self.epoch_started
        logs["images_per_second"] = done * self.batch_size / seconds
        logs["seconds"] = seconds * self.steps.steps_per_epoch / done
        if self.terminal:
            print("\r" + " " * 78 + "\r", end="", flush=True)


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
