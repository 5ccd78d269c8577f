"""Default boxes that fit the data: which finest map and which smallest box meet most objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from ssd_keras import boxes
from ssd_keras.boxes.coverage import THRESHOLD, best_default_boxes, draw_some
from ssd_keras.complexity import count_macs
from ssd_keras.data import Source
from ssd_keras.data.inspection import resized_boxes
from ssd_keras.errors import UserError
from ssd_keras.names import ModelName
from ssd_keras.presets import BOX_NETWORKS, find_core
from ssd_keras.run_folder import run_folder_of
from ssd_keras.training.building import build
from ssd_keras.training.settings import RunSettings
from ssd_keras.zoo import parse

# Of more objects than these some are drawn.
MOST_OBJECTS = 2000
# Smallest boxes to try, as quantiles of the objects' sides.
QUANTILES = (0.02, 0.05, 0.1, 0.25)
# A share of the objects more that has to be met: by a map that costs more, and by other boxes.
FINER_IS_WORTH, OTHER_IS_WORTH = 0.05, 0.02
# With one of these a detector is built anew, though its name is that of the one it starts from.
ARCHITECTURE = ("width", "backbone", "backbone_weights", "objective", "min_negatives")
ARCHITECTURE += ("model_options",)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Default boxes that were tried.

    Attributes:
        finest_stride: see `ssd_keras.create`, as the next.
        smallest_box: None for the model's own.
        met: share of the objects that some default box has an IoU of 0.5 with.
        macs: multiply-adds of the detector.
    """

    finest_stride: int | None
    smallest_box: float | None
    met: float
    macs: int

    def __str__(self) -> str:
        smallest = "published" if self.smallest_box is None else f"{self.smallest_box:g}"
        stride = "published" if self.finest_stride is None else f"{self.finest_stride}"
        return (
            f"finest stride {stride}, smallest box {smallest}: {self.met:.1%} of the objects are "
            f"met, {self.macs / 1e9:.2f} GMACs"
        )


def fit_default_boxes(settings: RunSettings, source: Source) -> tuple[RunSettings, list[Fit]]:
    """Settings whose default boxes meet the objects of a source, and all that was tried.

    The model's own finest map is left only where a finer one meets `FINER_IS_WORTH` more of the
    objects, its smallest box where another one meets `OTHER_IS_WORTH` more. Values that are given
    stay. The same data and settings give the same choice.

    Args:
        settings: of the run.
        source: the data it is trained on; crowds do not count.

    Returns:
        The settings with `finest_stride` and `smallest_box`, and the fits, the chosen one first.

    Raises:
        UserError: the detector comes with `weights`, has no default boxes, or there is no object.
    """
    if settings.weights:
        raise UserError(
            "--default_boxes=auto chooses them for a new detector, but --weights brings its own: "
            "leave out one of the two."
        )
    fits = [fit for stride in _strides(settings) for fit in _fits(settings, source, stride)]
    best = choose(fits)
    chosen = dataclasses.replace(
        settings, finest_stride=best.finest_stride, smallest_box=best.smallest_box
    )
    return chosen, [best, *(fit for fit in fits if fit is not best)]


def boxes_of_start(model: str, given: Mapping) -> dict:
    """The settings of default boxes of the run that another detector starts from.

    Its heads belong to them, be it that a DSSD takes those of an SSD or that another objective goes
    on with them. Nothing where the user says what the default boxes are, where the start is no run
    of the same core, or where its very architecture is taken (see `ssd_keras.create`).

    Args:
        model: the name of the new detector.
        given: the settings that the user gives, by the names of `RunSettings`.

    Raises:
        UserError: published default boxes are asked for, but that run has others.
    """
    names = ("finest_stride", "smallest_box", "box_scale")
    if not given.get("weights") or any(given.get(name) for name in names):
        return {}
    folder = run_folder_of(given["weights"])
    folder.fetch(folder.settings_file)
    if not folder.settings_file.is_file():
        return {}
    stored = folder.settings()
    found = {name: stored[name] for name in names if stored.get(name)}
    if found and given.get("default_boxes") == "published":
        listed = ", ".join(f"{name}={value}" for name, value in found.items())
        raise UserError(
            f"The detector in '{folder.place}' has other default boxes than the published ones "
            f"({listed}), and its heads belong to them: leave out --default_boxes=published, or "
            "start from --backbone_weights alone."
        )
    ours, theirs = parse(model, given.get("backbone")), _parse_name(stored)
    if theirs is None or ours.backbone != theirs.backbone:
        return {}
    if ours == theirs and not any(_is_given(name, given.get(name)) for name in ARCHITECTURE):
        return {}
    return found


def _is_given(name: str, value) -> bool:
    return value not in (None, "", "none", {}) and (name, value) != ("width", 1.0)


def _parse_name(stored: Mapping) -> ModelName | None:
    try:
        return parse(stored.get("model", ""), stored.get("backbone"))
    except UserError:
        return None


def describe(fits: list[Fit]) -> str:
    """What was chosen and what it is chosen over, the fits as `fit_default_boxes` gives them."""
    chosen = fits[0]
    usual = min(fits, key=lambda fit: (fit.macs, fit.smallest_box is not None))
    if chosen == usual:
        return f"Default boxes: the model's own meet the data best. {chosen}."
    return (
        f"Default boxes that fit the data: {chosen}. Instead of {usual}; --default_boxes=published "
        "keeps these."
    )


def choose(fits: Iterable[Fit]) -> Fit:
    """The fit to take: the cheapest and most usual that none is worth its price against."""
    best = None
    for fit in sorted(fits, key=lambda f: (f.macs, f.smallest_box is not None)):
        if best is None:
            best = fit
            continue
        worth = FINER_IS_WORTH if fit.macs > best.macs else OTHER_IS_WORTH
        # Among the boxes of one map whose own were left already, the best one.
        worth = 0.0 if fit.macs == best.macs and best.smallest_box is not None else worth
        if fit.met > best.met + worth:
            best = fit
    return best


def _strides(settings: RunSettings) -> list[int | None]:
    """The strides of the finest map to try, the model's own first."""
    if settings.finest_stride is not None or settings.backbone:
        return [settings.finest_stride]
    name = parse(settings.model)
    if BOX_NETWORKS[name.box_network].joins_maps:
        # It looks at all maps of the core as it is.
        return [None]
    return [None, *find_core(name.backbone).finest_strides[1:]]


def _fits(settings: RunSettings, source: Source, stride: int | None) -> list[Fit]:
    """The fits of one finest map: with the model's own smallest box, and with others."""
    plain = {"backbone_weights": "none", "finest_stride": stride}
    detector = build(dataclasses.replace(settings, **plain), tuple(source.classes))
    network, size = detector.box_network, detector.image_size
    if not len(network.anchors):
        raise UserError(f"'{settings.model}' has no default boxes to choose.")
    objects = _objects(source, size, detector.resize)
    macs = count_macs(detector)
    found = [(settings.smallest_box, network.level_anchors)]
    rule = network.anchor_rule
    if settings.smallest_box is None and hasattr(rule, "with_smallest"):
        for side in _sides(objects, size):
            levels = rule.with_smallest(side).levels(network.level_maps, size)
            found.append((side, [boxes.default_boxes([level]) for level in levels]))
    return [Fit(stride, side, _met(objects, levels), macs) for side, levels in found]


def _objects(source: Source, size: tuple[int, int], way: str) -> np.ndarray:
    """Boxes of the objects in the resized images `[n, 4]`, not too many."""
    parts = [resized_boxes(one, size, way)[one.is_object] for one in source.ground_truth()]
    found = np.concatenate([np.zeros((0, 4), np.float32), *parts])
    if not len(found):
        raise UserError(f"'{source.spec}' has no object to fit default boxes to.")
    return found[draw_some(len(found), MOST_OBJECTS)]


def _sides(objects: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Smallest boxes to try, shares of the shorter side in steps of a thousandth, rising."""
    pixels = np.maximum(objects[:, 2:] - objects[:, :2], 0.0) * size
    sides = np.sqrt(np.prod(pixels, axis=1)) / min(size)
    rounded = np.clip(np.round(np.quantile(sides, QUANTILES), 3), 0.005, 0.4)
    return sorted({float(side) for side in rounded})


def _met(objects: np.ndarray, level_anchors) -> float:
    return float(np.mean(best_default_boxes(objects, level_anchors)[0] >= THRESHOLD))
