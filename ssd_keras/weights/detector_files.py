"""Starting a detector from another one that is trained already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ssd_keras.box_networks.default_box_network import DefaultBoxNetwork
from ssd_keras.detector import Detector
from ssd_keras.display import join_names
from ssd_keras.errors import UserError
from ssd_keras.objectives.combinations import has_background
from ssd_keras.reading import reading
from ssd_keras.resizing import HALF_PIXEL, check_way
from ssd_keras.weights.class_columns import keep_columns, same_classes
from ssd_keras.weights.keras_archive import count_weights, read_config, weights_up_to
from ssd_keras.weights.keras_files import (
    LoadReport,
    layers_with_weights,
    load_by_name,
    read_keras_file,
)
from ssd_keras.weights.other_sizes import at_size
from ssd_keras.weights.published import detector_file

MOST_NAMED = 10


@dataclasses.dataclass(frozen=True)
class StartReport:
    """What a detector took from another one.

    Attributes:
        path: the file.
        layers: see `LoadReport`.
        skipped: layers that predict classes and stayed as they were, because the classes differ.
        kept: classes whose columns the layers that predict classes have taken, each with its name
            there; empty where the classes are the same in the same order.
        new: classes that it did not know, where others were kept.
    """

    path: Path
    layers: LoadReport
    skipped: tuple[str, ...]
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    new: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{len(self.layers.loaded)} layers start from '{self.path}'"
        if self.kept:
            text += f"; what it knows of {self._list_kept()} is kept"
        if self.new:
            text += (
                f"; {join_names(self.new, MOST_NAMED)} {'is' if len(self.new) == 1 else 'are'} new"
            )
        if self.skipped:
            text += f"; {len(self.skipped)} that predict classes are new, since the classes differ"
        fresh = [name for name in self.layers.missing if name not in self.skipped]
        if fresh:
            text += f"; {len(fresh)} are not in it and are new ({fresh[0]} ...)"
        return text + "."

    def _list_kept(self) -> str:
        names = [
            name if name == theirs else f"{name} (there '{theirs}')"
            for name, theirs in self.kept.items()
        ]
        return join_names(names, MOST_NAMED)


def detector_like(path: str | Path, name: str, classes: Sequence[str]):
    """A new detector with the architecture of a trained one, other classes, maybe another size.

    Args:
        path: how it is named, see `published.detector_file`.
        name: the model name that the trained one must have, but for the size of the image.
        classes: the new class names.

    Returns:
        The detector with random weights, or None if the trained one has another name, or if at
        another size the name alone says all, see `other_sizes.at_size`.

    Raises:
        UserError: there is no detector at that place.
    """
    path = detector_file(path)
    config = _config(path)
    if config["name"] != name:
        with reading(path, "a detector"):
            config = at_size(config, name)
    if config is None:
        return None
    more = (len(classes) + 1) / (len(config["classes"]) + 1)
    network = config["box_network"]
    with reading(path, "a detector"), weights_up_to(int(count_weights(path) * max(1.0, more))):
        network = {**network, "config": {**network["config"], "num_classes": len(classes)}}
        return Detector.from_config({**config, "classes": list(classes), "box_network": network})


def model_of(path: str | Path) -> str:
    """The model name of a trained detector, such as "SSD_MobileNetV2_300".

    Args:
        path: how it is named, see `published.detector_file`.

    Raises:
        UserError: there is no detector of that name.
    """
    return _config(detector_file(path))["name"]


def load_detector_weights(detector, path: str | Path) -> StartReport:
    """Fills a detector by layer name from a trained one.

    Of the layers that predict classes, those classes keep their columns that both have by name,
    see `same_classes`; others are left as they are, and so is all where no class is the same or
    the layers have other shapes. Between an objective with background and one without, columns are
    changed so that a class against background is what it was, see `keep_columns`.

    Args:
        detector: the `Detector` to fill.
        path: how it is named, see `published.detector_file`.

    Raises:
        UserError: there is no detector at that place, or its backbone is another one.
    """
    path = detector_file(path)
    arrays = read_keras_file(path)
    config = _config(path)
    classes = config["classes"]
    skipped, pairs = (), {}
    if classes != list(detector.classes) or _other_columns(detector, config):
        pairs = same_classes(detector.classes, classes)
        heads = _kept_heads(detector, arrays, pairs, config)
        pairs = pairs if heads else {}
        skipped = tuple(name for name in detector.box_network.class_layers if name not in heads)
        arrays = {name: value for name, value in arrays.items() if name not in skipped} | heads
    before = detector.get_weights()
    report = load_by_name(detector, arrays)
    wanted = set(layers_with_weights(detector.backbone))
    if wanted - set(report.loaded) or report.mismatched:
        detector.set_weights(before)
        raise UserError(_explain(detector, path, report, wanted))
    detector.resize = config["resize"]
    kept = {detector.classes[new]: classes[old] for new, old in sorted(pairs.items())}
    new = tuple(name for name in detector.classes if name not in kept) if kept else ()
    return StartReport(path, report, skipped, kept, new)


def _background(detector) -> bool | None:
    """Whether its classes have a column for no object; None if they are not predicted so.

    Without default boxes, as in YOLO, one layer predicts boxes and classes.
    """
    network = detector.box_network
    return network.objective.background if isinstance(network, DefaultBoxNetwork) else None


def _other_columns(detector, config: dict) -> bool:
    """Whether of a detector and a trained one only one has a column for no object."""
    background = _background(detector)
    return background is not None and background != has_background(config["box_network"]["config"])


def _kept_heads(detector, arrays: dict, pairs: dict[int, int], config: dict) -> dict:
    """The layers that predict classes, with the columns of the classes that both have."""
    background = _background(detector)
    if background is None or not pairs:
        return {}
    trained = config["box_network"]["config"]
    counts = (len(detector.classes), len(config["classes"]))
    layers, kept = layers_with_weights(detector), {}
    for name in detector.box_network.class_layers:
        columns = keep_columns(
            layers[name].get_weights(),
            arrays.get(name, ()),
            pairs,
            counts,
            (background, has_background(trained)),
            against_background=trained.get("scores", "softmax") == "softmax",
        )
        if columns:
            kept[name] = columns
    return kept


def _config(path: Path) -> dict:
    config = read_config(path)["config"]
    parts = {key: config.get(key) for key in ("name", "backbone", "box_network", "classes")}
    # Older files do not say.
    parts["resize"] = config.get("resize", HALF_PIXEL)
    kinds = (str, dict, dict, list, str)
    if not all(isinstance(*pair) for pair in zip(parts.values(), kinds, strict=True)):
        raise UserError(f"'{path}' holds no detector: give a run folder or a .keras file of one.")
    check_way(parts["resize"])
    return parts


def _explain(detector, path, report: LoadReport, wanted: set[str]) -> str:
    lacking = sorted(wanted & set(report.missing))
    if lacking:
        reason = f"it has no layer '{lacking[0]}'"
    else:
        name, (ours, theirs) = next(iter(report.mismatched.items()))
        reason = f"'{name}' has shapes {ours} here and {theirs} there"
    return (
        f"'{path}' does not fit '{detector.name}': {reason}. Start from a detector with the same "
        "backbone, width and finest_stride."
    )
