"""What happens beside the gradient steps: progress, records, evaluation, checkpoints."""

from __future__ import annotations

import sys
import time

import keras
import numpy as np

from ssd_keras import evaluation, plots
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.training.detection import detect_source
from ssd_keras.training.run_folder import RunFolder, replace

CURVES = ("epoch", "loss", "class_loss", "box_loss", "ap50", "learning_rate")
PROGRESS_SECONDS = 1.0
PROGRESS_SECONDS_WITHOUT_TERMINAL = 60.0


class Progress(keras.callbacks.Callback):
    """Shows how far the epoch is and stops at once when the loss is not a number."""

    def __init__(self, epochs: int, steps_per_epoch: int, batch_size: int):
        super().__init__()
        self.epochs, self.steps_per_epoch, self.batch_size = epochs, steps_per_epoch, batch_size
        self.terminal = sys.stdout.isatty()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.epoch_started = self.shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise UserError(
                f"The loss became {loss} in step {batch + 1} of epoch {self.epoch + 1}. The "
                "learning rate is the usual cause: start a new run with a lower --learning_rate. "
                "The weights of the last finished epoch are kept."
            )
        now = time.monotonic()
        pause = PROGRESS_SECONDS if self.terminal else PROGRESS_SECONDS_WITHOUT_TERMINAL
        if now - self.shown < pause or batch + 1 == self.steps_per_epoch:
            return
        self.shown = now
        rate = (batch + 1) / (now - self.epoch_started)
        steps_left = self.steps_per_epoch * (self.epochs - self.epoch) - batch - 1
        line = (
            f"epoch {self.epoch + 1:>3}/{self.epochs}  step {batch + 1}/{self.steps_per_epoch}  "
            f"loss {loss:.3f}  {rate * self.batch_size:.1f} images/s  "
            f"about {duration(steps_left / rate)} left"
        )
        print(f"\r{line:<78}" if self.terminal else line, end="" if self.terminal else "\n")
        sys.stdout.flush()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.monotonic() - self.epoch_started
        logs["images_per_second"] = self.steps_per_epoch * self.batch_size / logs["seconds"]
        if self.terminal:
            print("\r" + " " * 78 + "\r", end="", flush=True)


class Evaluation(keras.callbacks.Callback):
    """Adds mAP on the evaluation data to the logs, each `every` epochs and after the last."""

    def __init__(self, judged: Detector, source, epochs: int, every: int, batch_size: int):
        super().__init__()
        self.judged, self.source = judged, source
        self.epochs, self.every, self.batch_size = epochs, every, batch_size

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.epochs:
            return
        started = time.monotonic()
        self.judged.set_weights(self.model.get_weights())
        found = detect_source(self.judged, self.source, self.batch_size)
        result = evaluation.voc_ap(self.source.ground_truth(), found, self.source.classes)
        logs["ap50"] = result["map"]
        logs["evaluation_seconds"] = time.monotonic() - started


class Recorder(keras.callbacks.Callback):
    """Writes history, curves, best and last detectors and, last of all, the state to resume from.

    `rows` are those of the epochs already finished.
    """

    def __init__(
        self, folder: RunFolder, judged: Detector, rows: list, epochs: int, steps_per_epoch: int
    ):
        super().__init__()
        self.folder, self.judged, self.rows = folder, judged, rows
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1}
        row |= {key: float(value) for key, value in logs.items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        self.judged.set_weights(self.model.get_weights())
        self.folder.write_history(self.rows)
        if is_best(self.rows):
            replace(self.folder.best, self.judged.save)
        replace(self.folder.last, self.judged.save)
        replace(
            self.folder.pictures / "curves.png",
            lambda path: plots.save(plots.training_curves(_drawn(self.rows)), path),
        )
        replace(self.folder.state, self.model.save_weights)
        print(self._line(row), flush=True)

    def _line(self, row: dict) -> str:
        parts = [
            f"epoch {row['epoch']:>3}/{self.epochs}",
            f"loss {row['loss']:.3f} (class {row['class_loss']:.3f}, box {row['box_loss']:.3f})",
            f"{row['images_per_second']:.1f} images/s",
        ]
        if "ap50" in row:
            parts.append(f"mAP@0.5 {row['ap50']:.3f}")
        seconds = np.median([r["seconds"] for r in self.rows])
        left = seconds * (self.epochs - row["epoch"])
        parts.append(f"about {duration(left)} left" if left else "done")
        return "  ".join(parts)


def _drawn(rows: list[dict]) -> list[dict]:
    """The rows without what has no curve worth drawing."""
    return [{name: row[name] for name in row if name in CURVES} for row in rows]


def is_best(rows: list[dict]) -> bool:
    """Whether the newest epoch is the best so far, by mAP where it is measured, else by loss."""
    scores = [row["ap50"] for row in rows if "ap50" in row]
    if scores:
        return "ap50" in rows[-1] and rows[-1]["ap50"] >= max(scores)
    return rows[-1]["loss"] <= min(row["loss"] for row in rows)


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
