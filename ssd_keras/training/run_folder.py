"""A run folder: all that a training run was and is, written so that a crash loses nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.files import write_text


class RunFolder:
    """Names and writes the files of a run.

    settings.json           every value the run uses, and under "used" what "auto" stood for
    labels.txt              class names, a line each
    training_state.npz      weights, optimizer and progress, from which the run goes on
    best.keras, last.keras  detectors: best on the evaluation data, and newest
    history.csv             a row an epoch
    pictures/               curves and predictions
    tensorboard/            the same for TensorBoard
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings_file = self.path / "settings.json"
        self.labels_file = self.path / "labels.txt"
        self.state = self.path / "training_state.npz"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.history_file = self.path / "history.csv"
        self.pictures = self.path / "pictures"
        self.tensorboard = self.path / "tensorboard"

    def open(self, settings: dict, classes: tuple[str, ...]) -> bool:
        """Starts the folder, or checks that it belongs to the same run.

        Args:
            settings: what makes the run this one; anything JSON can hold.
            classes: class names.

        Returns:
            True if a run with these very settings is there already.

        Raises:
            UserError: the folder holds another run, or cannot be written.
        """
        settings = json.loads(json.dumps(settings))
        if self.settings_file.is_file():
            self._check_same_run(settings, classes)
            return True
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--run_dir '{self.path}' is a file: give a folder.")
        try:
            self.pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"Run folder '{self.path}' cannot be made: {error.strerror}."
            ) from error
        write_text(self.labels_file, "".join(f"{name}\n" for name in classes))
        write_text(self.settings_file, json.dumps(settings, indent=2) + "\n")
        return False

    def _check_same_run(self, settings: dict, classes: tuple[str, ...]):
        before = self.settings() | {"classes": self.labels_file.read_text("utf-8").splitlines()}
        settings = settings | {"classes": list(classes)}
        before, settings = _flat(before), _flat(settings)
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            listed = ", ".join(f"{k}={before.get(k)!r} (now {settings[k]!r})" for k in changed[:3])
            raise UserError(
                f"Run folder '{self.path}' was started with {listed}: repeat the values it was "
                "started with to go on with it, or give another --run_dir."
            )

    def write_used(self, used: dict):
        """Adds to the settings what they came to on this machine."""
        settings = self.settings()
        if settings.get("used") != used:
            write_text(self.settings_file, json.dumps(settings | {"used": used}, indent=2) + "\n")

    def settings(self) -> dict:
        """The settings the run was started with."""
        try:
            return json.loads(self.settings_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"'{self.path}' is not a run folder: it has no {self.settings_file.name}."
            ) from None
        except json.JSONDecodeError as error:
            raise UserError(f"'{self.settings_file}' is damaged ({error}).") from error

    def history(self) -> list[dict[str, float]]:
        """The rows of the finished epochs; empty values are left out."""
        if not self.history_file.is_file():
            return []
        with open(self.history_file, newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def write_history(self, rows: list[dict[str, float]]):
        """Writes history.csv anew."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.history_file, text.getvalue())


def _flat(settings: dict) -> dict:
    """The settings with those of the recipe beside the others."""
    return {key: value for key, value in settings.items() if key != "recipe"} | settings.get(
        "recipe", {}
    )
