"""What happens beside the gradient steps: progress, records, evaluation, checkpoints."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable

import keras
import numpy as np

from ssd_keras import drawing, evaluation, figures
from ssd_keras.batch_norm import BatchStatistics
from ssd_keras.data.source import Source, unread_notice
from ssd_keras.data.verdict import MOST_LOST
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.files import replace
from ssd_keras.keras_compat import sync_weights, weight_averages
from ssd_keras.run_folder import RunFolder
from ssd_keras.training import checkpoint

CURVES = ("epoch", "loss", "class_loss", "box_loss", "ap50", "learning_rate")
PROGRESS_SECONDS = 1.0
PROGRESS_SECONDS_WITHOUT_TERMINAL = 60.0
# Far beyond the loss of any detector that learns, random weights included.
EXPLODED = 1e4
PICTURED_IMAGES = 8
PICTURED_SCORE = 0.4
TERMINATED = 128 + signal.SIGTERM


class Explosion(UserError):
    """The loss is not a number, or so large that the run is lost."""


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
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise Explosion(
                f"A weight is not a number after step {self.steps.step}: start a new run with a "
                "lower --learning_rate. The weights of the last checkpoint are kept."
            )
        if self.folder is not None:
            progress = checkpoint.Progress(
                self.steps.step, self.progress.rate_factor, self.progress.rollbacks
            )
            half = self.steps.within_epoch < self.steps.steps_per_epoch
            checkpoint.save_state(self.folder.state, self.model, progress, with_means=half)
            self.folder.send()
        self.saved_at = time.monotonic()

    def end(self):
        """Ends the process as SIGTERM asks."""
        written = (
            checkpoint.read_progress(self.folder.state).step if self.folder else self.steps.step
        )
        epoch, within = divmod(written, self.steps.steps_per_epoch)
        print(
            f"\nAsked to end (SIGTERM): the checkpoint holds {epoch} epochs and {within} steps; "
            "the same command goes on from there.",
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


class Judged(keras.callbacks.Callback):
    """After each epoch, gives a float32 copy the weights that are to be judged and saved.

    These are the moving averages of the weights where the optimizer keeps them. Batch
    normalisation statistics are measured anew for averaged weights, and as long as their own
    moving averages still hold something of the values they began with.

    Args:
        judged: the copy.
        steps: the counter.
        statistics: measures the statistics; None keeps the moving averages.
        batches: what it measures on.
    """

    def __init__(
        self,
        judged: Detector,
        steps: StepCounter,
        statistics: BatchStatistics | None = None,
        batches: Iterable | None = None,
    ):
        super().__init__()
        self.judged, self.steps = judged, steps
        self.statistics, self.batches = statistics, batches

    def on_epoch_end(self, epoch, logs=None):
        averaged = copy_weights(self.model, self.judged)
        if self.statistics is not None and self.statistics.lag(self.steps.step, averaged):
            self.statistics.measure(self.batches)


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


class Recorder(keras.callbacks.Callback):
    """Writes history, curves, best and last detectors and, last of all, the state to resume from.

    `rows` are those of the epochs already finished. Ends the run when `patience` evaluations in a
    row brought nothing better (0: never).
    """

    def __init__(
        self,
        folder: RunFolder | None,
        judged: Detector,
        rows: list,
        epochs: int,
        checkpoints: Checkpoints,
        patience: int = 0,
    ):
        super().__init__()
        self.folder, self.judged, self.rows = folder, judged, rows
        self.epochs, self.checkpoints, self.patience = epochs, checkpoints, patience

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1}
        row |= {key: float(value) for key, value in logs.items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        if self.folder is not None:
            self._write()
        self.checkpoints.save()
        if self.folder is not None:
            print(self._line(row), flush=True)
        self.checkpoints.end_if_asked()
        if is_stalled(self.rows, self.patience) and epoch + 1 < self.epochs:
            self.model.stop_training = True

    def _write(self):
        self.folder.write_history(self.rows)
        if is_best(self.rows):
            replace(self.folder.best, self.judged.save)
        replace(self.folder.last, self.judged.save)
        replace(
            self.folder.curves,
            lambda path: figures.save(figures.training_curves(_with_curves(self.rows)), path),
        )

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


def predictions_picture(detector: Detector, source, batch_size: int) -> np.ndarray:
    """The first readable images of a source, ground truth beside prediction, RGB uint8.

    With the batch size of the evaluation nothing needs to be compiled anew.
    """
    shown = list(itertools.islice(source.readable(), PICTURED_IMAGES))
    images = [image for _, image in shown]
    return drawing.side_by_side(
        images,
        [source.ground_truth()[index] for index, _ in shown],
        detector.detect(images, batch_size=batch_size),
        source.classes,
        score_threshold=PICTURED_SCORE,
    )


def _with_curves(rows: list[dict]) -> list[dict]:
    """The rows without what has no curve worth drawing."""
    return [{name: row[name] for name in row if name in CURVES} for row in rows]


def is_best(rows: list[dict]) -> bool:
    """Whether the newest epoch is the best so far, by mAP where it is measured, else by loss."""
    scores = [row["ap50"] for row in rows if "ap50" in row]
    if scores:
        return "ap50" in rows[-1] and rows[-1]["ap50"] >= max(scores)
    return rows[-1]["loss"] <= min(row["loss"] for row in rows)


def is_stalled(rows: list[dict], patience: int) -> bool:
    """Whether the last `patience` evaluations (epochs where there are none) brought no best."""
    scores = [row["ap50"] for row in rows if "ap50" in row] or [-row["loss"] for row in rows]
    if not patience or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
