"""Every model by its name: `<BoxNetwork>_<Backbone>_<size>`, in two tables to read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from ssd_keras.backbones import mobilenet
from ssd_keras.box_networks import SSD
from ssd_keras.box_networks.anchor_rules import ScaleAnchors
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.weights import load_backbone_weights


@dataclasses.dataclass(frozen=True)
class Core:
    """A row of the table of Core Networks.

    Attributes:
        build: `(image_size, width) -> keras.Model`.
        application: `(width) -> keras.Model`, Keras' own model with its ImageNet weights.
        sizes: smallest and largest image side it is offered for.
    """

    build: Callable[..., keras.Model]
    application: Callable[[float], keras.Model]
    sizes: tuple[int, int] = (96, 1024)


CORES = {
    "MobileNet": Core(
        build=mobilenet,
        application=lambda width: keras.applications.MobileNet(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet"
        ),
    ),
}

BOX_NETWORKS = {"SSD": SSD}

# Names with published or pinned numbers; any other <BoxNetwork>_<Backbone>_<size> of the two
# tables above can be built as well.
MODELS = ("SSD_MobileNet_300",)

MIN_EXTRA_CHANNELS = 16


def list_models() -> tuple[str, ...]:
    """The named models."""
    return MODELS


@dataclasses.dataclass(frozen=True)
class ModelName:
    """A model's name, taken apart."""

    box_network: str
    backbone: str
    size: int


def parse(name: str) -> ModelName:
    """Takes `<BoxNetwork>_<Backbone>_<size>` apart.

    Raises:
        UserError: there is no such box network, backbone or size; names the nearest model.
    """
    match = re.fullmatch(r"([A-Za-z]+)_([A-Za-z0-9]+)_(\d+)", name)
    box_network, backbone, size = match.groups() if match else ("", "", "0")
    hint = did_you_mean(name, MODELS) or f" Known models: {', '.join(MODELS)}."
    if box_network not in BOX_NETWORKS or backbone not in CORES:
        raise UserError(f"There is no model '{name}'.{hint}")
    smallest, largest = CORES[backbone].sizes
    if not smallest <= int(size) <= largest:
        raise UserError(
            f"There is no model '{name}': {backbone} takes images of {smallest} to {largest} px."
        )
    return ModelName(box_network, backbone, int(size))


def create(
    name: str,
    classes: Sequence[str],
    *,
    backbone_weights: str | Path | None = None,
    width: float = 1.0,
    smallest_box: float = 0.1,
    head_kernel: int = 1,
) -> Detector:
    """Builds a detector by its name.

    Args:
        name: `<BoxNetwork>_<Backbone>_<size>`, such as "SSD_MobileNet_300".
        classes: class names, in the order of the labels.
        backbone_weights: "imagenet" (Keras' own file, downloaded if it is not in Keras' cache),
            the path of a weights file, or None for random weights.
        width: multiplier of the backbone's and the extra layers' channels, 0.25 to 1.
        smallest_box: side of the smallest default box, as a share of the image.
        head_kernel: kernel size of the layers that predict boxes and classes, 1 or 3.

    Raises:
        UserError: a name, a class list or a weights file that cannot be used.
    """
    parsed = parse(name)
    if isinstance(classes, str) or not len(classes):
        raise UserError("Give the classes as a list of names, such as ['cat', 'dog'].")
    if not 0.25 <= width <= 1.0:
        raise UserError(f"width must be between 0.25 and 1, got {width}.")
    if not 0.0 < smallest_box < 0.5:
        raise UserError(f"smallest_box must be between 0 and 0.5, got {smallest_box}.")
    core = CORES[parsed.backbone]
    backbone = core.build((parsed.size, parsed.size), width=width)
    if backbone_weights is not None:
        load_backbone_weights(backbone, backbone_weights, lambda: core.application(width))
    extras = ((256, 512), (128, 256), (128, 256), (64, 128))
    box_network = BOX_NETWORKS[parsed.box_network](
        len(classes),
        anchors=ScaleAnchors(smallest=smallest_box),
        extras=[[max(MIN_EXTRA_CHANNELS, int(c * width)) for c in pair] for pair in extras],
        head_kernel=head_kernel,
    )
    return Detector(backbone, box_network, classes, name=name)


def load(path: str | Path) -> Detector:
    """Loads a detector from a run folder (its best weights) or a `.keras` file.

    Raises:
        UserError: there is no detector at that place.
    """
    path = Path(path)
    if path.is_dir():
        for file in (path / "best.keras", path / "last.keras"):
            if file.is_file():
                return load(file)
        raise UserError(
            f"Run folder '{path}' holds no trained detector (best.keras): let the training "
            "finish its first epoch, or check the path."
        )
    if not path.is_file():
        raise UserError(f"'{path}' does not exist: give a run folder or a .keras file.")
    try:
        detector = keras.saving.load_model(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' cannot be loaded as a detector ({_one_line(error)}).") from error
    if not isinstance(detector, Detector):
        raise UserError(f"'{path}' holds a {type(detector).__name__}, not a detector.")
    return detector


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
