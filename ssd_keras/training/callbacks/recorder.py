"""What is written of each epoch, and which epoch is the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import keras
import numpy as np

from ssd_keras import drawing, figures
from ssd_keras.detector import Detector
from ssd_keras.files import replace
from ssd_keras.run_folder import RunFolder
from ssd_keras.training.callbacks.checkpoints import Checkpoints
from ssd_keras.training.callbacks.steps import duration

CURVES = ("epoch", "loss", "class_loss", "box_loss", "ap50", "learning_rate")
PICTURED_IMAGES = 8
PICTURED_SCORE = 0.4


class Recorder(keras.callbacks.Callback):
    """Writes history, curves, best and last detectors and, last of all, the state to resume from.

    `rows` are those of the epochs already finished. Ends the run when `is_over` says so of them.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        judged: Detector,
        rows: list,
        epochs: int,
        checkpoints: Checkpoints,
        is_over: Callable[[list], bool] = lambda rows: False,
    ):
        super().__init__()
        self.folder, self.judged, self.rows = folder, judged, rows
        self.epochs, self.checkpoints, self.is_over = epochs, checkpoints, is_over

    def on_epoch_end(self, epoch, logs=None):
        # First, so that no weights that are lost take the place of good ones.
        self.checkpoints.check_weights()
        row = {"epoch": epoch + 1}
        row |= {key: float(value) for key, value in logs.items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        if self.folder is not None:
            self._write()
        self.checkpoints.write()
        if self.folder is not None:
            print(self._line(row), flush=True)
        self.checkpoints.end_if_asked()
        if self.is_over(self.rows) and epoch + 1 < self.epochs:
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
    scores = _scores(rows)
    if scores:
        return rows[-1].get("ap50", -math.inf) >= max(scores)
    return rows[-1]["loss"] <= min(row["loss"] for row in rows)


def _scores(rows: list[dict]) -> list[float]:
    """The mAP of the epochs that have one: there is none where no object counts."""
    return [row["ap50"] for row in rows if math.isfinite(row.get("ap50", math.nan))]


def is_stalled(rows: list[dict], patience: int, evaluates: bool = False) -> bool:
    """Whether the last `patience` evaluations brought no best.

    Args:
        rows: of the epochs so far.
        patience: how many; 0: never.
        evaluates: whether some epochs end with an evaluation, by whose mAP is judged, or by the
            loss where it has none. Otherwise each epoch is judged by its loss.
    """
    judged = [row for row in rows if "ap50" in row] if evaluates else rows
    scores = _scores(judged) or [-row["loss"] for row in judged]
    if not patience or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])
