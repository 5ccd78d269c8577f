"""Starting a detector from another one that is trained already."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.weights.keras_files import LoadReport, load_by_name, read_keras_file


@dataclasses.dataclass(frozen=True)
class StartReport:
    """What a detector took from another one.

    Attributes:
        path: the file.
        layers: see `LoadReport`.
        skipped: layers that predict classes and stayed as they were, because the classes differ.
    """

    path: Path
    layers: LoadReport
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.layers.loaded)} layers start from '{self.path}'"
        if self.skipped:
            text += f"; {len(self.skipped)} that predict classes are new, since the classes differ"
        fresh = [name for name in self.layers.missing if name not in self.skipped]
        if fresh:
            text += f"; {len(fresh)} are not in it and are new ({fresh[0]} ...)"
        return text + "."


def load_detector_weights(detector, path: str | Path) -> StartReport:
    """Fills a detector by layer name from a trained one.

    The layers that predict classes are left as they are unless both have the same classes in the
    same order.

    Args:
        detector: the `Detector` to fill.
        path: a run folder (its best weights) or a `.keras` file.

    Raises:
        UserError: there is no detector at that place, or its backbone is another one.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / n for n in ("best.keras", "last.keras") if (path / n).is_file()), path)
    arrays = read_keras_file(path)
    skipped = ()
    if _classes(path) != list(detector.classes):
        skipped = tuple(detector.box_network.class_layers)
        arrays = {name: value for name, value in arrays.items() if name not in skipped}
    before = detector.get_weights()
    report = load_by_name(detector, arrays)
    wanted = {layer.name for layer in detector.backbone.layers if layer.weights}
    if wanted - set(report.loaded) or report.mismatched:
        detector.set_weights(before)
        raise UserError(_explain(detector, path, report, wanted))
    return StartReport(path, report, skipped)


def _classes(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))["config"]["classes"]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"'{path}' holds no detector: give a run folder or a .keras file of one."
        ) from error


def _explain(detector, path, report: LoadReport, wanted: set[str]) -> str:
    if report.mismatched:
        name, (ours, theirs) = next(iter(report.mismatched.items()))
        reason = f"'{name}' has shapes {ours} here and {theirs} there"
    else:
        lacking = sorted(wanted - set(report.loaded))
        reason = f"it has no layer '{lacking[0]}'"
    return (
        f"'{path}' does not fit '{detector.name}': {reason}. Start from a detector with the same "
        "backbone and width."
    )
