"""A run folder: all that a training run was and is, written so that a crash loses nothing.

One on a remote place is worked on in a copy here, see `working_copy`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ssd_keras import locks
from ssd_keras.errors import UserError, missing_place, one_line
from ssd_keras.files import is_remote, write_text
from ssd_keras.labels import check_names, label_text, read_labels
from ssd_keras.reading import exists, read_bytes, read_json, reading
from ssd_keras.working_copy import working_copy

MAX_SETTINGS_BYTES = 4 << 20
MAX_HISTORY_BYTES = 256 << 20
# What the values "auto" came to on the machine at hand, which may change.
USED = "used"
_ADVICE = "Put back a good copy of it, or start a new run with another --run_dir."
_BUSY = "wait until it ends, end it, or give another --run_dir."


class RunFolder:
    """Names and writes the files of a run.

    settings.json           every value the run uses, and under "used" what "auto" stood for
    labels.txt              class names, a line each
    training_state.npz      weights, optimizer and progress, from which the run goes on
    best.keras, last.keras  detectors: best on the evaluation data, and newest
    history.csv             a row an epoch
    pictures/               curves and predictions
    tensorboard/            the same for TensorBoard

    Attributes:
        path: the folder; of one on a remote place its copy here.
        place: how the user names it.

    Raises:
        UserError: it is on a place that nothing here can open.
    """

    def __init__(self, path: str | os.PathLike):
        self._copy = working_copy(path) if is_remote(path) else None
        self.path = self._copy.path if self._copy else Path(path)
        self.place = self._copy.place if self._copy else str(self.path)
        self.settings_file = self.path / "settings.json"
        self.labels_file = self.path / "labels.txt"
        self.state = self.path / "training_state.npz"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.history_file = self.path / "history.csv"
        self.pictures = self.path / "pictures"
        self.curves = self.pictures / "curves.png"
        self.predictions = self.pictures / "predictions.png"
        self.tensorboard = self.path / "tensorboard"

    def fetch(self, *files: Path):
        """Brings files of a remote place here, by default all that a run goes on from.

        Raises:
            UserError: the place cannot be read.
        """
        if self._copy is not None:
            usual = (self.labels_file, self.settings_file, self.history_file, self.best, self.last)
            # The state first: what else there is then is as new as it.
            wanted = files or (self.state, *usual)
            self._copy.fetch(file.relative_to(self.path).as_posix() for file in wanted)

    def send(self):
        """Sends to a remote place what has changed here, last of all what a run goes on from.

        Raises:
            UserError: the place cannot be written, or another run has written to it.
        """
        if self._copy is not None:
            self._copy.send((self.settings_file.name, self.state.name), _BUSY)

    def file(self, name: str) -> Path:
        """A file of the folder by its name; of a remote place, once it has been fetched."""
        self.fetch(self.path / name)
        return self.path / name

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the folder if need be and keeps other runs out of it; who only reads may.

        What a run that was killed left half-written is removed. A remote place cannot be locked;
        that another run has written to it shows when the next checkpoint is sent.

        Raises:
            UserError: another process holds the folder, or it cannot be made.
        """
        self._make()
        with locks.lock(self.path, _BUSY):
            self._remove_leftovers()
            if self._copy is not None:
                self._copy.remove_leftovers(("", self.pictures.name, self.tensorboard.name))
            yield
            self.send()

    def check_free(self):
        """Refuses a folder that another process holds, before anything is computed for it."""
        locks.check_free(self.path, _BUSY)

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
        if exists(self.settings_file):
            self._check_same_run(settings, classes)
            return True
        check_names(classes)
        self._make()
        write_text(self.labels_file, label_text(classes))
        write_text(self.settings_file, json.dumps(settings, indent=2) + "\n")
        return False

    def write_used(self, used: dict):
        """Adds to the settings what they came to on this machine."""
        settings = self.settings()
        if settings.get(USED) != used:
            write_text(self.settings_file, json.dumps(settings | {USED: used}, indent=2) + "\n")

    def settings(self) -> dict:
        """The settings the run was started with.

        Raises:
            UserError: there are none, or their file is damaged.
        """
        if not exists(self.settings_file):
            raise UserError(
                f"'{self.place}' is not a run folder: it has no {self.settings_file.name}."
            )
        settings = read_json(self.settings_file, MAX_SETTINGS_BYTES, _ADVICE, finite=False)
        parts = [settings]
        if isinstance(settings, dict):
            parts += [settings.get("recipe", {}), settings.get(USED, {})]
        with reading(self.settings_file, "settings", _ADVICE):
            if not all(isinstance(part, dict) for part in parts):
                raise ValueError("it is no table of names and values")
        return settings

    def classes(self) -> tuple[str, ...]:
        """The class names of the run.

        Raises:
            UserError: there are none, or their file is damaged.
        """
        return read_labels(self.labels_file, _ADVICE)

    def steps_per_epoch(self) -> int:
        """Steps of an epoch as the run was started.

        Raises:
            UserError: the settings do not say.
        """
        steps = self.settings().get("used", {}).get("steps_per_epoch")
        if type(steps) is not int or steps < 1:
            raise UserError(
                f"'{self.settings_file}' does not say the steps of an epoch (steps_per_epoch is "
                f"{str(steps)[:30]}). {_ADVICE}"
            )
        return steps

    def detector_file(self) -> Path:
        """The best detector there is.

        Raises:
            UserError: there is none yet, or no such folder.
        """
        if not exists(self.path):
            raise missing_place("run folder or .keras file", self.path)
        for file in (self.best, self.last):
            self.fetch(file)
            if exists(file):
                return file
        raise UserError(
            f"Run folder '{self.place}' holds no trained detector (best.keras): let the training "
            "finish its first epoch, or check the path."
        )

    def history(self, epochs: int = 0) -> list[dict[str, float]]:
        """The rows of the finished epochs; empty values are left out.

        Args:
            epochs: how many there must be at least.

        Raises:
            UserError: the file is damaged, or lacks epochs.
        """
        rows = []
        if exists(self.history_file):
            data = read_bytes(self.history_file, MAX_HISTORY_BYTES, advice=_ADVICE)
            with reading(self.history_file, "a history", _ADVICE):
                rows = _parse_history(data.decode("utf-8-sig"))
        if len(rows) < epochs:
            raise UserError(
                f"'{self.history_file}' has {len(rows)} of the {epochs} epochs that are done: put "
                f"back a good copy of it, or remove '{self.state.name}' to start the run anew."
            )
        return rows

    def write_history(self, rows: list[dict[str, float]]):
        """Writes history.csv anew."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.history_file, text.getvalue())

    def _make(self):
        if exists(self.path) and not os.path.isdir(self.path):
            raise UserError(f"--run_dir '{self.path}' is a file: give a folder.")
        try:
            self.pictures.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"Run folder '{self.path}' cannot be made: {one_line(error)}."
            ) from error

    def _remove_leftovers(self):
        """Removes what a killed owner of the lock was writing; others write other files."""
        own = {self.settings_file, self.labels_file, self.state, self.best, self.last}
        own |= {self.history_file, self.curves, self.predictions}
        names = re.compile(r"\.partial-\d+-(" + "|".join(re.escape(f.name) for f in own) + ")")
        for folder in (self.path, self.pictures):
            for left in folder.glob(".partial-*"):
                if names.fullmatch(left.name):
                    with contextlib.suppress(OSError):
                        left.unlink()

    def _check_same_run(self, settings: dict, classes: tuple[str, ...]):
        before = self.settings() | {"classes": list(self.classes())}
        settings = settings | {"classes": list(classes)}
        before, settings = _flat(before), _flat(settings)
        changed = changed_settings(before, settings)
        if changed:
            listed = ", ".join(
                f"{_short(key)}={_value(before, key)} (now {_value(settings, key)})"
                for key in changed[:3]
            )
            raise UserError(
                f"Run folder '{self.place}' was started with {listed}: repeat the values it was "
                "started with to go on with it, or give another --run_dir."
            )


def run_folder_of(detector: str | os.PathLike) -> RunFolder:
    """The run folder that is named, or the folder of a .keras file that is."""
    parent, name = os.path.split(os.fspath(detector))
    if is_remote(detector):
        return RunFolder(parent if name.endswith(".keras") else detector)
    return RunFolder(detector if os.path.isdir(detector) else parent)


def _parse_history(text: str) -> list[dict[str, float]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    for number, found in enumerate(reader, start=1):
        if None in found:
            raise ValueError(f"row {number} has too many values")
        row = {key: float(value) for key, value in found.items() if value}
        if row.get("epoch") != number or not math.isfinite(row.get("loss", math.nan)):
            raise ValueError(f"row {number} is not that of epoch {number}, or has no loss")
        rows.append({**row, "epoch": number})
    return rows


def changed_settings(before: dict, now: dict) -> list[str]:
    """Names of the settings that differ; either side may lack those that have their usual value."""
    before, now = _flat(before), _flat(now)
    keys = [*now, *(key for key in before if key not in now and key != USED)]
    return [key for key in keys if before.get(key) != now.get(key)]


def _flat(settings: dict) -> dict:
    """The settings with those of the recipe beside the others."""
    return {key: value for key, value in settings.items() if key != "recipe"} | settings.get(
        "recipe", {}
    )


def _value(settings: dict, key: str) -> str:
    if key not in settings:
        return "not given"
    return _short(repr(settings[key]))


def _short(text: str) -> str:
    """A value or a name as part of a sentence; a damaged file may hold any."""
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:96]} ..."
